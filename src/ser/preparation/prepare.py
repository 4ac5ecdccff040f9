"""From settings to a split manifest: locate, scan, label, decode, clean, split.

Nothing here needs torch, so preparing data starts fast and needs little memory.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser.audio.cache import AudioCache
from ser.audio.near_duplicates import group_recordings
from ser.config.data import DataConfig
from ser.config.split import SplitConfig
from ser.corpora import CORPORA, Corpus, download, ravdess, synthetic
from ser.errors import UserError
from ser.preparation import labels as labelling
from ser.preparation import splits
from ser.preparation.leaks import warn_of_sentences
from ser.preparation.manifest import (
    CORPUS_COLUMNS,
    Manifest,
    PreparationError,
    Reason,
    deduplicate,
    measure,
    refuse_drops,
)
from ser.preparation.scan import add_demographics, explain_none, scan_corpus
from ser.preparation.table import scan_table

log = logging.getLogger(__name__)
MOST_COMPARED = 50_000  # utterances; the time grows with their number, about 1 ms each
MOST_LOST = 0.1  # share of files; if more are left out unexpectedly, it is logged
EXPECTED = (Reason.MIRROR, Reason.OFF_GRAMMAR, Reason.LEFT_OUT, Reason.AMBIGUOUS)


def prepare(
    data: DataConfig,
    split: SplitConfig,
    cache: AudioCache | None = None,
    scanned: Manifest | None = None,
) -> Manifest:
    """The manifest that a run trains on; `scanned` is the result of `check`, if it was called.

    Everything that can be checked without decoding is checked first. After an interruption, or
    while another run does the same, only missing work is done. Raises UserError for what the user
    can fix, and PreparationError, with the manifest so far, once files were decoded.
    """
    scanned = check(data, split) if scanned is None else scanned
    built = clean(scanned, data, open_cache(data, cache))
    if data.strict:
        refuse_drops(built)
    try:
        manifest = splits.assign(built, split, data.labels)
    except UserError as error:
        reasons = f" {built.describe_dropped()}." if len(built.dropped) else ""
        raise PreparationError(f"{str(error).rstrip('.')}.{reasons}", built) from error
    warn_of_losses(built)
    if data.synthetic is None:  # tones have no words
        warn_of_sentences(manifest.utterances)
    return manifest


def check(data: DataConfig, split: SplitConfig) -> Manifest:
    """The labelled manifest before anything is decoded, checked against the split.

    Raises UserError for unknown labels, labels and maps without effect, and for splits that these
    data cannot have, such as a fold that does not exist.
    """
    if data.table is None:
        splits.check_names(data.corpora, split)
    manifest = labelling.label(scan(data, check_use=True), data)
    labelling.check_effects(manifest, data)
    kept = manifest.utterances["emotion"].isin(data.label_space)
    splits.check_possible(manifest.utterances[kept], split)
    return manifest


def build(data: DataConfig, cache: AudioCache | None = None) -> Manifest:
    """The cleaned manifest of all data that the settings name, not split yet."""
    return clean(labelling.label(scan(data), data), data, open_cache(data, cache))


def open_cache(data: DataConfig, cache: AudioCache | None) -> AudioCache:
    return AudioCache(Path(data.cache_dir)) if cache is None else cache


def clean(manifest: Manifest, data: DataConfig, cache: AudioCache) -> Manifest:
    """The manifest with its files decoded, without unusable files, duplicates and excluded rows."""
    manifest = deduplicate(measure(manifest, cache), contents=data.deduplicate)
    manifest = labelling.leave_out(manifest, data)
    table = manifest.utterances.sort_values("id", ignore_index=True)
    if table.empty:
        raise PreparationError(
            f"no utterance is left; {manifest.describe_dropped()}. See data.labels,"
            " data.ambiguous and data.label_map.",
            manifest,
        )
    return replace(manifest, utterances=group_copies(table, data, cache))


def scan(data: DataConfig, *, check_use: bool = False) -> Manifest:
    """The metadata of all files by their names and tables, and the origin of each corpus.

    The table comes first, because it is checked before anything is downloaded. With `check_use`,
    an entry of `data.label_map` without effect is an error.
    """
    tables = [] if data.table is None else [scan_table(data.table, data, check_use=check_use)]
    if data.synthetic is not None:
        synthetic.check_stand_ins(data.corpora)
    parts, origins = [], []
    for name in data.corpora:
        corpus = ravdess.select(data.ravdess_channel) if name == "ravdess" else CORPORA[name]
        source, part = scan_complete(corpus, data)
        if (file := data.demographics.get(name)) is not None:
            part = add_demographics(part, corpus, Path(file).expanduser())
        facts = (name, corpus.title, source.origin, str(source.folder), corpus.files)
        origins.append((*facts, corpus.licence, corpus.citation))
        parts.append(part)
    for table in tables:
        named = pd.concat([table.utterances["corpus"], table.dropped["corpus"]]).unique()
        for name in named[~np.isin(named, data.corpora)]:
            origins.append((name, name, "your table", str(data.table), 0, "", ""))
        parts.append(table)
    return Manifest(
        pd.concat([part.utterances for part in parts], ignore_index=True),
        pd.concat([part.dropped for part in parts], ignore_index=True),
        pd.DataFrame(origins, columns=pd.Index(CORPUS_COLUMNS)),
    )


def scan_complete(corpus: Corpus, data: DataConfig) -> tuple[download.CorpusSource, Manifest]:
    """The files of a corpus; a download in which some are missing is repeated once.

    Raises PreparationError if there is no file of the corpus.
    """
    source = locate(corpus, data)
    part = scan_corpus(corpus, source.folder)
    found = part.utterances["id"].nunique()
    if source.version and found < corpus.files:
        source = download.download_again(corpus, source, found)
        part = scan_corpus(corpus, source.folder)
    if part.utterances.empty:
        raise PreparationError(explain_none(corpus, source.folder, part.dropped), part)
    if data.paths.get(corpus.name) and len(part.dropped) > len(part.utterances):
        log.warning(
            "data.paths.%s=%s: %s of %s files are not named as those of %s, such as %s. Name the"
            " folder that holds this corpus alone",
            *(corpus.name, source.folder, f"{len(part.dropped):,}"),
            f"{len(part.dropped) + len(part.utterances):,}",
            *(corpus.title, part.dropped["path"].iloc[0]),
        )
    return source, part


def locate(corpus: Corpus, data: DataConfig) -> download.CorpusSource:
    """The folder of a corpus, which is downloaded, unpacked or synthesised first if necessary."""
    if data.synthetic is not None:
        folder = synthetic.ensure_corpora(Path(data.synthetic))
        return download.CorpusSource(folder / corpus.name, "synthetic")
    path, version = data.paths.get(corpus.name), data.versions.get(corpus.name)
    return download.locate(corpus, path, version, Path(data.cache_dir) / "unpacked")


def group_copies(table: pd.DataFrame, data: DataConfig, cache: AudioCache) -> pd.DataFrame:
    """The utterances with one `recording` for all near-duplicates, if they are searched for."""
    if data.near_duplicates is None and len(table) > MOST_COMPARED:
        log.warning(
            "Near-duplicates among %s utterances are not searched for, which would take about %d"
            " minutes; data.near_duplicates=true does it",
            f"{len(table):,}",
            round(len(table) / 60_000),
        )
        return table
    if data.near_duplicates is False:
        return table
    recordings = group_recordings(table["content"].tolist(), cache)
    return table.assign(recording=table["content"].map(recordings))


def warn_of_losses(manifest: Manifest) -> None:
    """Log why many files were left out against expectation, although the split is possible."""
    odd = manifest.dropped[~manifest.dropped["reason"].isin(EXPECTED)]
    if len(odd) > MOST_LOST * (len(odd) + len(manifest.utterances)):
        log.warning("%s", replace(manifest, dropped=odd).describe_dropped())
