"""Cross-validation over speakers, by published folds or by our own."""

import logging

import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from ser.config.split import SplitConfig
from ser.corpora import CORPORA, Fold, corpus_names
from ser.errors import UserError
from ser.preparation.grouping import at_least_one, by_corpus, draw_groups

log = logging.getLogger(__name__)


def split_by_fold(table: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """One fold of speakers for testing, some of the other speakers for validation.

    A corpus with fewer than three speakers is for training only in every fold; one with fewer
    speakers than folds is tested in as many folds as it has speakers. A published fold may also fix
    the validation speakers, and leave utterances out.
    """

    def share_out(corpus: pd.DataFrame) -> pd.Series:
        fold = find_fold(corpus, config)
        tested = corpus["speaker"].isin(fold.test)
        if fold.val:
            parts = pd.Series("train", index=corpus.index)
            parts = parts.mask(corpus["speaker"].isin(fold.val), "val").mask(tested, "test")
        else:
            sizes = {"val": at_least_one(config.val * corpus["speaker"].nunique())}
            parts = draw_groups(corpus[~tested], sizes, config)
            parts = parts.reindex(corpus.index, fill_value="test")
        return parts.mask(corpus["id"].isin(fold.excluded), "")

    return by_corpus(table, config, share_out, "speaker")


def find_fold(corpus: pd.DataFrame, config: SplitConfig) -> Fold:
    """The fold of the settings: a published one, or one of a stratified k-fold of our own.

    It is empty if the corpus has fewer folds. Raises UserError if every emotion has fewer
    utterances than there are folds.
    """
    name = str(corpus["corpus"].iloc[0])
    if config.scheme is not None:
        folds = find_published(name, config)
        return with_corpus(name, folds[config.fold - 1]) if config.fold <= len(folds) else Fold(())
    count = min(config.folds, corpus["speaker"].nunique())
    if config.fold > count:
        return Fold(())
    if corpus["emotion"].value_counts().max() < count:
        raise UserError(
            f"split.folds={config.folds}: every emotion of {name} has fewer than {count}"
            " utterances; use fewer folds or more data"
        )
    kfold = StratifiedGroupKFold(count, shuffle=True, random_state=config.seed)
    folds = list(kfold.split(corpus, corpus["emotion"], corpus["speaker"]))
    return Fold(tuple(corpus["speaker"].iloc[folds[config.fold - 1][1]].unique()))


def find_published(name: str, config: SplitConfig) -> tuple[Fold, ...]:
    """The published folds of a corpus; raises UserError if the scheme has none."""
    published = CORPORA[name].folds if name in corpus_names() else {}
    if config.scheme is None or config.scheme not in published:
        raise UserError(f"split.scheme={config.scheme} has no folds of {name}; remove one of them")
    return published[config.scheme]


def with_corpus(name: str, fold: Fold) -> Fold:
    """The fold with speakers and ids as a manifest has them, prefixed with the corpus."""

    def full(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{name}/{each}" for each in names)

    return Fold(full(fold.test), full(fold.val), full(fold.excluded))


def log_coverage(table: pd.DataFrame, config: SplitConfig) -> None:
    """Warn if cleaning left out utterances of a published split."""
    if config.scheme is None:
        return
    used = table.loc[table["split"] != "", "corpus"].value_counts()
    for name, count in used.items():
        corpus = CORPORA[str(name)] if name in corpus_names() else None
        folds = () if corpus is None else corpus.folds.get(config.scheme, ())
        if corpus is None or not folds:  # without published folds, for training only
            continue
        excluded = folds[config.fold - 1].excluded if config.fold <= len(folds) else ()
        published = corpus.files - len(excluded)
        if count < published:
            log.warning(
                "split.scheme=%s: %s of the %s published utterances of %s are used (see"
                " dropped.csv; data.deduplicate=false keeps identical recordings)",
                *(config.scheme, f"{count:,}", f"{published:,}", corpus.title),
            )
