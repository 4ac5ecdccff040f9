"""From settings to a split manifest: locate, scan, label, decode, clean, split.

Nothing here needs torch, so preparing data starts fast and needs little memory.
"""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ser import download, labelling, splits, synthetic
from ser.cache import AudioCache
from ser.corpora import CORPORA, Corpus
from ser.data_config import DataConfig, SplitConfig
from ser.manifest import CORPUS_COLUMNS, Manifest, deduplicate, measure, refuse_drops
from ser.near_duplicates import group_recordings
from ser.scan import scan_corpus
from ser.table import scan_table

log = logging.getLogger(__name__)
MOST_COMPARED = 50_000  # utterances; the time grows with their number, about 1 ms each


def prepare(data: DataConfig, split: SplitConfig) -> Manifest:
    """The manifest that a run trains on.

    After an interruption, or while another run does the same, only what is not done yet is done.
    Raises ValueError or OSError, in one sentence, for what the user can mend.
    """
    built = build(data, AudioCache(Path(data.cache_dir)))
    if data.strict:
        refuse_drops(built)
    return splits.assign(built, split, data.labels)


def build(data: DataConfig, cache: AudioCache) -> Manifest:
    """The cleaned manifest of all that the settings name, not yet split."""
    manifest = labelling.label(scan(data), data)
    manifest = deduplicate(measure(manifest, cache))
    manifest = labelling.leave_out(manifest, data)
    table = manifest.utterances.sort_values("id", ignore_index=True)
    if table.empty:
        raise ValueError("no utterance is left: see data.labels, data.ambiguous, data.label_map")
    return replace(manifest, utterances=group_copies(table, data, cache))


def scan(data: DataConfig) -> Manifest:
    """What the names of all files say, and where the corpora come from."""
    parts, origins = [], []
    for name in data.corpora:
        corpus = CORPORA[name]
        source, part = scan_complete(corpus, data)
        facts = (name, corpus.title, source.origin, str(source.folder), corpus.files)
        origins.append((*facts, corpus.licence, corpus.citation))
        parts.append(part)
    if data.table is not None:
        path = Path(data.table).expanduser()
        parts.append(scan_table(path, data))
        origins.append((path.stem, path.stem, "your table", str(path), 0, "", ""))
    return Manifest(
        pd.concat([part.utterances for part in parts], ignore_index=True),
        pd.concat([part.dropped for part in parts], ignore_index=True),
        pd.DataFrame(origins, columns=pd.Index(CORPUS_COLUMNS)),
    )


def scan_complete(corpus: Corpus, data: DataConfig) -> tuple[download.Origin, Manifest]:
    """The files of a corpus; a download in which some are missing is repeated once.

    Raises ValueError where there is none at all.
    """
    source = locate(corpus, data)
    part = scan_corpus(corpus, source.folder)
    found = part.utterances["id"].nunique()
    if source.version and found < corpus.files:
        source = download.download_again(corpus, source, found)
        part = scan_corpus(corpus, source.folder)
    if part.utterances.empty:
        raise ValueError(
            f"{source.folder} holds no file named as in {corpus.title}; see"
            f" data.paths.{corpus.name}"
        )
    return source, part


def locate(corpus: Corpus, data: DataConfig) -> download.Origin:
    """Where a corpus lies, downloaded or synthesised first where that is asked for."""
    if data.synthetic is not None:
        folder = synthetic.ensure_corpora(Path(data.synthetic))
        return download.Origin(folder / corpus.name, "synthetic")
    return download.locate(corpus, data.paths.get(corpus.name), data.versions.get(corpus.name))


def group_copies(table: pd.DataFrame, data: DataConfig, cache: AudioCache) -> pd.DataFrame:
    """The utterances with `recording` the same for near-duplicates, where they are looked for."""
    if data.near_duplicates is None and len(table) > MOST_COMPARED:
        log.warning(
            "Near-duplicates among %s utterances are not looked for, which would take about %d"
            " minutes: data.near_duplicates=true does it",
            f"{len(table):,}",
            round(len(table) / 60_000),
        )
        return table
    if data.near_duplicates is False:
        return table
    recordings = group_recordings(table["content"].tolist(), cache)
    return table.assign(recording=table["content"].map(recordings))
