"""Settings of the data: corpora, labels, the user's table, batches."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ser.config.augment import AugmentConfig
from ser.config.fields import group, require_file, require_speeds, setting
from ser.config.mapping import as_mapping
from ser.corpora import CORPORA, MERGED, corpus_names
from ser.corpora.archive import is_archive
from ser.corpora.emotions import LABELS, SYNONYMS
from ser.corpora.ravdess import Channel, select
from ser.errors import UserError, require, suggest, suggest_path

HUB = "hf:/"  # begins the name of a data set on the Hugging Face hub
# Columns of a table, by our names.
TABLE_COLUMNS = ("path", "emotion", "speaker", "gender", "age", "race", "ethnicity", "sentence",
           "intensity", "split", "corpus", "perceived", "start", "end", "agreement")  # fmt: skip


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


@dataclass
class DataConfig:
    corpora: list[str] = setting(list(MERGED), "corpora to merge")
    paths: dict[str, str | None] = setting(
        {}, "local copy of a corpus, a folder or a ZIP file: data.paths.tess=FOLDER"
    )
    versions: dict[str, int | None] = setting(
        {}, "Kaggle version of a corpus, else the newest: data.versions.tess=1"
    )
    ravdess_channel: Channel = setting(Channel.speech, "speech, song or both")
    table: str | None = setting(
        None, "your own corpus: a CSV, Parquet, Excel or JSON table, a folder, or hf://OWNER/NAME"
    )
    columns: Any = setting(
        {}, "columns of the table by our names: {path: file_name, emotion: label}"
    )
    label_map: Any = setting(
        {}, "maps labels of the table to classes: {anger: angry}, or a YAML file; null: leave out"
    )
    labels: list[str] = setting([], "the classes, in this order; []: all eight after data.merge")
    merge: Any = setting({}, "merge an emotion into another: {calm: neutral}, or a YAML file")
    votes: dict[str, str | None] = setting(
        {"cremad": None}, "listeners' votes: a copy of CREMA-D's summaryTable.csv"
    )
    demographics: dict[str, str | None] = setting(
        {"cremad": None},
        "age, race and ethnicity of the speakers: a copy of CREMA-D's VideoDemographics.csv",
    )
    label_by: LabelSource = setting(
        LabelSource.intended, "perceived: use the listeners' majority as the label if it is known"
    )
    ambiguous: Ambiguous = setting(
        Ambiguous.keep, "drop: leave out utterances below data.min_agreement"
    )
    min_agreement: float = setting(
        1.0,
        "above 0, up to 1; CREMA-D: 1 if the majority vote is the label, 0.5 if it shares a tie",
    )
    deduplicate: bool = setting(
        True, "false: keep identical recordings and label conflicts, as published file lists do"
    )
    near_duplicates: bool | None = setting(
        None, "search for re-encoded or trimmed copies; null: up to 50,000 utterances"
    )
    strict: bool = setting(False, "fail instead of leaving any file out")
    synthetic: str | None = setting(
        None, "folder of generated test corpora, created if missing; replaces the real corpora"
    )
    cache_dir: str = setting("~/.cache/ser", "folder of decoded audio; SER_CACHE sets the default")
    max_seconds: float = setting(
        8.0,
        "seconds; longer utterances are trimmed in training, and predicted in windows",
    )
    padding: Padding = setting(
        Padding.dynamic, "dynamic: to the longest of the batch; uniform: to data.max_seconds"
    )
    speeds: list[float] = setting(
        [1.0], "model.fit: fit the head to copies of the training part at these speeds: [0.9,1,1.1]"
    )
    sampling: Sampling = setting(
        Sampling.shuffled, "balanced: draw every class equally often, with replacement"
    )
    augment: AugmentConfig = group(AugmentConfig)
    batch_size: int = setting(16, "utterances per batch and device")
    max_batch_seconds: float | None = setting(
        None, "seconds of audio per batch and device, padding included; replaces batch_size"
    )
    num_workers: int | None = setting(
        None, "loader processes; 0: none; null: up to 4 with augmentation, else none"
    )

    def __post_init__(self) -> None:
        for name in ("columns", "label_map", "merge"):
            setattr(self, name, as_mapping(f"data.{name}", getattr(self, name)))
        self.check_sources()
        self.check_labels()
        self.check_votes()
        self.check_demographics()
        within = 0.25 <= self.max_seconds <= 3600
        require(within, "data.max_seconds", self.max_seconds, "from 0.25 s to an hour")
        require(self.batch_size >= 1, "data.batch_size", self.batch_size, "at least 1")
        budget = self.max_batch_seconds
        fits = budget is None or self.max_seconds <= budget < 1e6
        rule = f"null, or at least data.max_seconds={self.max_seconds}, and finite"
        require(fits, "data.max_batch_seconds", budget, rule)
        require_speeds("data.speeds", self.speeds)
        balanced = self.sampling == Sampling.balanced
        rule = "works with data.batch_size only; remove data.max_batch_seconds"
        free = not balanced or self.max_batch_seconds is None
        require(free, "data.sampling", self.sampling, rule)
        workers = self.num_workers
        require(workers is None or workers >= 0, "data.num_workers", workers, "0 or more")

    def check_sources(self) -> None:
        if not self.corpora and self.table is None:  # only then are installed corpora looked up
            known = ", ".join(corpus_names())
            raise UserError(
                f"data.corpora=[] and no table: set data.table=FILE.csv, or choose from {known}"
            )
        repeated = len(set(self.corpora)) < len(self.corpora)
        require(not repeated, "data.corpora", self.corpora, "a corpus is named twice")
        for name, version in self.versions.items():
            require(version is None or version >= 1, f"data.versions.{name}", version, "1 or more")
        require(bool(self.cache_dir), "data.cache_dir", "''", "name a folder")
        mixed = self.synthetic is not None and self.table is not None
        rule = "cannot be combined with data.synthetic"
        require(not mixed, "data.table", self.table, rule)

    def check_labels(self) -> None:
        for name, other in self.merge.items():
            require(other is not None, "data.merge", name, "name the emotion to merge it into")
            require(other not in self.merge, "data.merge", other, "is itself merged into another")
        for name in self.labels:
            rule = f"is merged into {self.merge.get(name)}; use that name"
            require(name not in self.merge, "data.labels", name, rule)
        repeated = len(set(self.labels)) < len(self.labels)
        require(not repeated, "data.labels", self.labels, "a class is named twice")
        require(len(self.label_space) > 1, "data.labels", self.label_space, "at least two classes")

    def check_demographics(self) -> None:
        known = [name for name, corpus in CORPORA.items() if corpus.read_demographics is not None]
        for name in self.demographics:
            require(name in known, "data.demographics", name, f"choose from {', '.join(known)}")

    def check_votes(self) -> None:
        voted = [name for name, corpus in CORPORA.items() if corpus.read_votes is not None]
        for name in self.votes:
            require(name in voted, "data.votes", name, f"votes exist for {', '.join(voted)} only")
        share = self.min_agreement
        require(0 < share <= 1, "data.min_agreement", share, "above 0, up to 1")
        known = self.table is not None or any(self.votes.values())
        rule = "needs votes: data.votes.cremad=FILE, or a data.table with agreement and perceived"
        drops = self.ambiguous == Ambiguous.drop
        require(known or not drops, "data.ambiguous", self.ambiguous, rule)
        perceived = self.label_by == LabelSource.perceived
        require(known or not perceived, "data.label_by", self.label_by, rule)

    def check_files(self) -> None:
        """Raise UserError for missing files, unknown corpora and settings without effect.

        A checkpoint is not checked in this way: the machine that loads it may lack the corpora.
        """
        self.check_names()
        self.check_channel()
        for name in self.corpora if self.synthetic is None else []:
            self.check_copy(name)
        self.check_table()
        for name, path in self.votes.items():
            require_file(f"data.votes.{name}", path)
        for name, path in self.demographics.items():
            key = f"data.demographics.{name}"
            require_file(key, path, f"no such file; {key}=null goes without it")
        self.augment.check_files()

    @property
    def is_local(self) -> bool:
        """Whether all data have local copies, which can be checked without a network."""
        copies = all(self.paths.get(name) for name in self.corpora)
        remote = self.table is not None and self.table.startswith(HUB)
        return copies and not remote and self.synthetic is None

    def check_names(self) -> None:
        """Raise UserError for unknown corpora, and for labels that these corpora cannot have."""
        for key in ("corpora", "paths", "versions"):
            check_corpora(f"data.{key}", getattr(self, key))
        if self.table is None and set(self.corpora) <= set(MERGED):
            for name in self.merge:
                require(name in LABELS, "data.merge", name, describe_labels(name, LABELS))
            merged = [*dict.fromkeys(self.merge.get(name, name) for name in LABELS)]
            for name in self.labels:
                require(name in merged, "data.labels", name, describe_labels(name, merged))

    def check_channel(self) -> None:
        """Raise UserError for a vocal channel of RAVDESS if RAVDESS is not used."""
        used = "ravdess" in self.corpora and self.synthetic is None
        rule = "has no effect without the real data.corpora=[ravdess]"
        default = self.ravdess_channel == Channel.speech
        require(used or default, "data.ravdess_channel", self.ravdess_channel, rule)

    def check_copy(self, name: str) -> None:
        """Raise UserError if a corpus can neither be found nor downloaded."""
        path = self.paths.get(name)
        if path is None:
            corpus = select(self.ravdess_channel) if name == "ravdess" else CORPORA[name]
            corpus.check_available()
            return
        require_copy(name, path)

    def check_table(self) -> None:
        """Raise UserError for a missing table, unknown columns, or settings without a table."""
        if self.table is None:
            for name in ("columns", "label_map"):
                mapping = getattr(self, name)
                require(not mapping, f"data.{name}", mapping, "has no effect without data.table")
            return
        missing = not self.table.startswith(HUB) and not Path(self.table).expanduser().exists()
        rule = "no such file or folder; write hf://OWNER/NAME for a data set of the hub"
        require(not missing, "data.table", self.table, rule)
        for name, header in self.columns.items():
            rule = f"map our names to those of the table; ours are {', '.join(TABLE_COLUMNS)}"
            swapped = f" (did you mean {header}: {name}?)" if header in TABLE_COLUMNS else ""
            require(name in TABLE_COLUMNS, "data.columns", name, rule + swapped)
            require(bool(header), "data.columns", name, "name a column of the table")
        self.check_label_map()

    def check_label_map(self) -> None:
        """Raise UserError if a label is mapped to something that is not a class."""
        known = [*dict.fromkeys([*self.label_space, *LABELS, *self.merge])]
        for name, label in self.label_map.items():
            rule = f"{label} is not a class; {describe_labels(label or '', known)}"
            if name in known and label not in known:
                rule += f" (labels of the table come first: {{{label}: {name}}})"
            require(label is None or label in known, "data.label_map", name, rule)

    @property
    def label_space(self) -> list[str]:
        """The classes in the order of their labels."""
        return self.labels or list(dict.fromkeys(self.merge.get(name, name) for name in LABELS))


def check_corpora(key: str, names: Iterable[str]) -> None:
    """Raise UserError for a name that is no corpus, not even of an installed package."""
    known = corpus_names()
    for name in names:
        rule = f"choose from {', '.join(known)}{suggest(name, known)}"
        require(name in known, key, name, rule)


def require_copy(name: str, path: str) -> None:
    """Raise UserError if the copy of a corpus is neither a folder nor a ZIP file."""
    local = Path(path).expanduser()
    exists = bool(path.strip()) and (local.is_dir() or is_archive(local))
    rule = f"no such folder or ZIP file{suggest_path(path)}"
    if local.is_file():
        rule = "it is not a whole ZIP file; copy or download it again, or unpack it"
    require(exists, f"data.paths.{name}", path, rule)


def describe_labels(word: str, known: list[str] | tuple[str, ...]) -> str:
    """The known labels, with the one that is probably meant."""
    meant = SYNONYMS.get(word.casefold(), "")
    hint = f"; did you mean {meant}?" if meant in known else suggest(word, list(known))
    return f"choose from {', '.join(known)}{hint}"
