"""The settings of the data and of its split: which utterances, which labels, which parts."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ser.augment_config import AugmentConfig
from ser.corpora import CORPORA
from ser.labels import LABELS
from ser.setting import group, require, setting, suggest


class Padding(StrEnum):
    dynamic = "dynamic"
    uniform = "uniform"


class LabelSource(StrEnum):
    intended = "intended"
    perceived = "perceived"


class Ambiguous(StrEnum):
    keep = "keep"
    drop = "drop"


class Sampling(StrEnum):
    shuffled = "shuffled"
    balanced = "balanced"


class SplitKind(StrEnum):
    stratified = "stratified"
    speaker = "speaker"
    corpus = "corpus"
    folds = "folds"
    table = "table"


class Part(StrEnum):
    train = "train"
    val = "val"
    test = "test"


@dataclass
class DataConfig:
    corpora: list[str] = setting(list(CORPORA), "which corpora are merged")
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "a local copy, read in place of a download"
    )
    versions: dict[str, int | None] = setting(
        dict.fromkeys(CORPORA), "Kaggle version to use; null: the newest"
    )
    table: str | None = setting(
        None, "your own corpus: CSV with path, emotion[, speaker, split, start, end, ...]"
    )
    label_map: dict[str, str | None] = setting(
        {}, "emotions of the table by our names: {anger: angry}; null leaves one out"
    )
    labels: list[str] = setting([], "the classes, in this order; []: all eight, after data.merge")
    merge: dict[str, str] = setting({}, "emotions that count as another: {calm: neutral}")
    votes: dict[str, str | None] = setting(
        {"cremad": None}, "what listeners heard: a copy of CREMA-D's summaryTable.csv"
    )
    label_by: LabelSource = setting(
        LabelSource.intended, "perceived: what listeners heard, where that is known"
    )
    ambiguous: Ambiguous = setting(
        Ambiguous.keep, "drop: leave out what listeners agree on less than min_agreement"
    )
    min_agreement: float = setting(
        1.0, "0 to 1; of CREMA-D 1: most heard this emotion, 0.5: this and one other"
    )
    near_duplicates: bool | None = setting(
        None, "look for re-encoded or trimmed copies; null: among up to 50,000 utterances"
    )
    strict: bool = setting(False, "an error instead of leaving any file out")
    synthetic: str | None = setting(
        None, "folder of synthetic stand-ins (written when missing) read in place of the corpora"
    )
    cache_dir: str = setting(
        "~/.cache/ser",
        "decoded audio, shared by runs; SER_CACHE in the environment moves it",
    )
    max_seconds: float = setting(8.0, "longer utterances are trimmed to this")
    padding: Padding = setting(Padding.dynamic, "dynamic: to the batch; uniform: to max_seconds")
    sampling: Sampling = setting(
        Sampling.shuffled, "balanced: each emotion as often, drawn with replacement"
    )
    augment: AugmentConfig = group(AugmentConfig)
    batch_size: int = setting(16, "utterances a batch, per device")
    max_batch_seconds: float | None = setting(
        None, "in place of batch_size: so much audio a batch, padding included, per device"
    )
    num_workers: int = setting(
        0, "loader processes; reading the cache costs well under 1 ms a clip"
    )

    def __post_init__(self) -> None:
        self.check_sources()
        self.check_labels()
        within = 0.25 <= self.max_seconds <= 3600
        require(within, "data.max_seconds", self.max_seconds, "from 0.25 s to an hour")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        budget = self.max_batch_seconds
        fits = budget is None or self.max_seconds <= budget < 1e6
        rule = f"null, or at least data.max_seconds={self.max_seconds}, and finite"
        require(fits, "data.max_batch_seconds", budget, rule)
        balanced = self.sampling == Sampling.balanced
        rule = "draws batches of data.batch_size only; leave data.max_batch_seconds out"
        free = not balanced or self.max_batch_seconds is None
        require(free, "data.sampling", self.sampling, rule)
        require(self.num_workers >= 0, "data.num_workers", self.num_workers, "0 or more")

    def check_sources(self) -> None:
        known = list(CORPORA)
        rule = f"name some of {', '.join(known)}, or your own data.table=FILE.csv"
        require(bool(self.corpora) or self.table is not None, "data.corpora", "[]", rule)
        named = {"corpora": self.corpora, "paths": self.paths, "versions": self.versions}
        for key, names in named.items():
            for name in names:
                rule = f"there is only {', '.join(known)}{suggest(str(name), known).rstrip('?')}"
                require(isinstance(name, str) and name in CORPORA, f"data.{key}", name, rule)
        repeated = len(set(self.corpora)) < len(self.corpora)
        require(not repeated, "data.corpora", self.corpora, "names a corpus twice")
        for name in self.corpora:
            folder = self.paths.get(name)
            require(is_folder_or_none(folder), f"data.paths.{name}", folder, "no such folder")
        for name, version in self.versions.items():
            require(version is None or version >= 1, f"data.versions.{name}", version, "from 1")
        for key, path in (("table", self.table), *((f"votes.{k}", v) for k, v in votes_of(self))):
            found = path is None or Path(path).expanduser().is_file()
            require(found, f"data.{key}", path, "no such file")
        require(bool(self.cache_dir), "data.cache_dir", "''", "name a folder")
        mixed = self.synthetic is not None and self.table is not None
        rule = "cannot be mixed with data.synthetic, which nobody spoke"
        require(not mixed, "data.table", self.table, rule)

    def check_labels(self) -> None:
        for name, other in self.merge.items():
            free = bool(self.labels) or self.table is not None
            rule = f"there is only {', '.join(LABELS)}"
            require(free or name in LABELS, "data.merge", name, rule)
            require(other not in self.merge, "data.merge", other, "is merged into another itself")
        for name in self.labels:
            rule = f"is merged into {self.merge.get(name)}; name that"
            require(name not in self.merge, "data.labels", name, rule)
        repeated = len(set(self.labels)) < len(self.labels)
        require(not repeated, "data.labels", self.labels, "names a class twice")
        require(len(self.label_space) > 1, "data.labels", self.label_space, "name at least two")
        share = self.min_agreement
        require(0 < share <= 1, "data.min_agreement", share, "above 0, up to 1")
        judged = self.table is not None or any(path for _, path in votes_of(self))
        rule = "needs votes: data.votes.cremad=FILE, or a data.table with agreement and perceived"
        dropping = self.ambiguous == Ambiguous.drop
        require(judged or not dropping, "data.ambiguous", self.ambiguous, rule)
        heard = self.label_by == LabelSource.perceived
        require(judged or not heard, "data.label_by", self.label_by, rule)

    @property
    def label_space(self) -> list[str]:
        """The classes in the order of their labels."""
        return self.labels or list(dict.fromkeys(self.merge.get(name, name) for name in LABELS))


def votes_of(data: DataConfig) -> list[tuple[str, str | None]]:
    for name in data.votes:
        rule = f"votes are known of {', '.join(k for k, c in CORPORA.items() if c.read_votes)} only"
        known = name in CORPORA and CORPORA[name].read_votes is not None
        require(known, "data.votes", name, rule)
    return list(data.votes.items())


@dataclass
class SplitConfig:
    kind: SplitKind = setting(
        SplitKind.stratified,
        "stratified: by label; speaker: none in two parts; corpus; folds; table: your column",
    )
    val: float = setting(0.2, "share of the validation part")
    test: float = setting(0.1, "share of the test part; the rest is for training")
    seed: int = setting(0, "of the split alone, so that `seed` can vary over one split")
    held_out: list[str] = setting([], "kind=corpus: the corpora that are only for testing")
    folds: int = setting(5, "kind=folds: how many, over speakers")
    fold: int = setting(1, "kind=folds: the fold to test on, from 1")
    scheme: str | None = setting(None, "kind=folds: published folds, emobox or luna_jimenez")
    reuse: str | None = setting(
        None, "split.from=MANIFEST.csv: the parts of an earlier run; it is stored under this name"
    )

    def __post_init__(self) -> None:
        for key, share in (("split.val", self.val), ("split.test", self.test)):
            require(0 < share < 1, key, share, "a share between 0 and 1")
        total = self.val + self.test
        require(total < 1, "split.val+split.test", total, "must leave something for training")
        require(0 <= self.seed < 2**32, "split.seed", self.seed, "from 0 to 2**32 - 1")
        by_corpus = self.kind == SplitKind.corpus
        rule = "name the corpora to test on: split.held_out=[savee]"
        require(bool(self.held_out) or not by_corpus, "split.held_out", "[]", rule)
        require(self.folds >= 2, "split.folds", self.folds, "at least 2")
        schemes = sorted({scheme for corpus in CORPORA.values() for scheme in corpus.folds})
        rule = f"there is only {', '.join(schemes)}"
        require(self.scheme is None or self.scheme in schemes, "split.scheme", self.scheme, rule)
        last = self.folds
        if self.scheme is not None:
            last = max(len(corpus.folds.get(self.scheme, ())) for corpus in CORPORA.values())
        require(1 <= self.fold <= last, "split.fold", self.fold, f"from 1 to {last}")
        found = self.reuse is None or Path(self.reuse).expanduser().is_file()
        require(found, "split.from", self.reuse, "no such file")


def is_folder_or_none(path: str | None) -> bool:
    return path is None or (bool(path.strip()) and Path(path).expanduser().is_dir())
