"""How the utterances are split into train, val and test."""

from dataclasses import dataclass
from enum import StrEnum

from ser.config.fields import require_file, setting
from ser.corpora import CORPORA, corpus_names, schemes
from ser.errors import require


class SplitKind(StrEnum):
    stratified = "stratified"
    speaker = "speaker"
    sentence = "sentence"
    speaker_sentence = "speaker_sentence"
    cross_speaker = "cross_speaker"
    corpus = "corpus"
    folds = "folds"
    table = "table"


FOLDS = 5


class Part(StrEnum):
    train = "train"
    val = "val"
    test = "test"


@dataclass
class SplitConfig:
    kind: SplitKind = setting(SplitKind.stratified, "|".join(SplitKind))
    val: float = setting(
        0.2, "share of the validation part; not of a table, a scheme with its own, or a manifest"
    )
    test: float = setting(
        0.1, "share of the test part; kind=stratified|speaker|sentence|speaker_sentence only"
    )
    seed: int = setting(0, "seed of the split alone, so that `seed` can vary for one split")
    held_out: list[str] = setting([], "kind=corpus: corpora used for testing only")
    train_speakers: list[str] = setting(
        [], "kind=cross_speaker: speakers to train and validate on; []: all others"
    )
    test_speakers: list[str] = setting([], "kind=cross_speaker: speakers to test on")
    folds: int = setting(FOLDS, "kind=folds: number of folds over speakers")
    fold: int = setting(1, "kind=folds: the test fold, from 1")
    scheme: str | None = setting(
        None, "kind=folds: published folds, " + ", ".join(schemes(CORPORA))
    )
    manifest: str | None = setting(
        None, "manifest.csv of an earlier run, whose split is used again; replaces kind"
    )

    def __post_init__(self) -> None:
        for key, share in (("split.val", self.val), ("split.test", self.test)):
            require(0 < share < 1, key, share, "a share between 0 and 1")
        total = self.val + self.test
        require(total < 1, "split.val+split.test", total, "must leave a training part")
        require(0 <= self.seed < 2**32, "split.seed", self.seed, "from 0 to 2**32 - 1")
        by_corpus = self.kind == SplitKind.corpus
        rule = "name the corpora to test on: split.held_out=[savee]"
        require(bool(self.held_out) or not by_corpus, "split.held_out", "[]", rule)
        across = self.kind == SplitKind.cross_speaker
        rule = "name the speakers to test on: split.test_speakers=[YAF]"
        require(bool(self.test_speakers) or not across, "split.test_speakers", "[]", rule)
        both = sorted(set(self.train_speakers) & set(self.test_speakers))
        require(not both, "split.train_speakers", both, "are in split.test_speakers too")
        require(self.folds >= 2, "split.folds", self.folds, "at least 2")
        require(self.fold >= 1, "split.fold", self.fold, "at least 1")
        fits = self.scheme is not None or self.fold <= self.folds
        require(fits, "split.fold", self.fold, f"from 1 to {self.folds}")

    @property
    def described(self) -> str:
        """The setting that decides how the data are split."""
        return f"split={self.kind}" if self.manifest is None else f"split.manifest={self.manifest}"

    def check_files(self) -> None:
        """Raise UserError for an unknown scheme or fold, or a missing manifest.

        Also for a setting of another kind of split, which checkpoints of earlier versions may have.
        """
        require_file("split.manifest", self.manifest)
        if self.manifest is None:  # which replaces kind
            for key, kind, given in (
                ("held_out", SplitKind.corpus, self.held_out),
                ("train_speakers", SplitKind.cross_speaker, self.train_speakers),
                ("test_speakers", SplitKind.cross_speaker, self.test_speakers),
                ("fold", SplitKind.folds, self.fold > 1),
                ("folds", SplitKind.folds, self.folds != FOLDS),
            ):
                rule = f"has no effect without split={kind}"
                require(not given or self.kind == kind, f"split.{key}", getattr(self, key), rule)
        if self.scheme is None:
            return
        known = schemes(CORPORA)
        if self.scheme not in known:  # perhaps of an installed corpus, not imported yet
            known = schemes(corpus_names())
        rule = f"choose one of {', '.join(known)}"
        require(self.scheme in known, "split.scheme", self.scheme, rule)
        last = max(len(corpus.folds.get(self.scheme, ())) for corpus in CORPORA.values())
        require(self.fold <= last, "split.fold", self.fold, f"from 1 to {last}")
        rule = f"has no effect with split.scheme={self.scheme}, which has its own folds"
        require(self.folds == FOLDS, "split.folds", self.folds, rule)
        used = self.kind == SplitKind.folds or self.manifest is not None
        require(used, "split.scheme", self.scheme, "has no effect without split=folds")
