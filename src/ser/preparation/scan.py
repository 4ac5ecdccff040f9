"""Finds the files of a corpus folder and parses their names."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser.corpora import CORPORA, Corpus, Utterance
from ser.errors import UserError
from ser.preparation.manifest import DROPPED_COLUMNS, STATED, Manifest, Reason
from ser.system.files import list_files, printable

log = logging.getLogger(__name__)
SHOWN = 3  # names in a message


def scan_corpus(corpus: Corpus, folder: Path) -> Manifest:
    """The utterances of a corpus in a folder; files with other names are dropped."""
    rows, dropped, root = [], [], folder.absolute()
    parse = corpus.parser(root)
    for path in list_files(root):
        shown = printable(str(path))
        try:
            if shown != str(path) or not shown.isprintable():
                raise UserError("the name is not UTF-8 or holds a control character; rename it")
            utterance = parse(path.relative_to(root))
        except ValueError as error:
            dropped.append((shown, corpus.name, "", "", Reason.OFF_GRAMMAR.value, str(error)))
        else:
            rows.append(vars(utterance) | {"path": str(path)})
    columns = [*Utterance.__dataclass_fields__, "path"]
    table = pd.DataFrame(rows, columns=pd.Index(columns)).rename(columns={"emotion": "intended"})
    known = table["speaker"] != ""
    table["speaker"] = (corpus.name + "/" + table["speaker"]).where(known, "")
    table["id"] = corpus.name + "/" + table["id"]
    table["intended"] = table["intended"].astype(str)
    return Manifest(
        complete(table.assign(corpus=corpus.name)),
        pd.DataFrame(dropped, columns=pd.Index(DROPPED_COLUMNS)),
    )


def add_demographics(manifest: Manifest, corpus: Corpus, file: Path) -> Manifest:
    """The manifest with age, race and ethnicity of the speakers that a published table lists."""
    if corpus.read_demographics is None:
        return manifest
    table, known = manifest.utterances, corpus.read_demographics(file)
    names = table["speaker"].str.removeprefix(f"{corpus.name}/")
    if not names.isin(known.keys()).any():
        log.warning("%s describes none of the speakers of %s", file, corpus.title)
    columns = {
        column: names.map({name: facts[column] for name, facts in known.items()})
        for column in ("age", "race", "ethnicity")
    }
    stated = {column: values.fillna(table[column]) for column, values in columns.items()}
    return replace(manifest, utterances=table.assign(**stated))


def explain_none(corpus: Corpus, folder: Path, dropped: pd.DataFrame) -> str:
    """Why a folder holds no file of a corpus: what was expected and what was found."""
    expected = f", such as {corpus.example}" if corpus.example else ""
    message = f"{folder} (data.paths.{corpus.name}) has no file of {corpus.title}{expected}"
    if dropped.empty:
        return f"{message}; it has no files at all."
    paths = [Path(path) for path in dropped["path"]]
    suffixes = Counter(path.suffix.lower() or "no suffix" for path in paths)
    counts = ", ".join(f"{number:,} {suffix}" for suffix, number in suffixes.most_common(SHOWN))
    names = ", ".join(path.name for path in paths[:SHOWN])
    reason = dropped["detail"].value_counts().idxmax()
    other = guess_corpus([path.relative_to(folder.absolute()) for path in paths])
    if other is not None and other.name != corpus.name:
        setting = f"data.corpora=[{other.name}] data.paths.{other.name}={folder}"
        hint = f". They look like {other.title}: use {setting}"
    else:
        archive = ".zip" in suffixes
        hint = ". Unpack the ZIP files, or name one of them as the path" if archive else ""
    return f"{message}; its {len(paths):,} files ({counts}) are {names}, ... ({reason}){hint}."


def guess_corpus(paths: list[Path]) -> Corpus | None:
    """The corpus whose file names these are, if it can be told from the names."""
    for corpus in CORPORA.values():
        for path in paths[:100]:
            try:
                if corpus.parse is not None and corpus.parse(path):
                    return corpus
            except ValueError:
                continue
    return None


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all columns of STATED; unknown ones are empty."""
    empty: dict[str, Any] = dict.fromkeys(("agreement", "start", "end"), np.nan)
    table = table.assign(emotion=table["intended"])
    missing = {name: empty.get(name, "") for name in STATED if name not in table}
    return table.assign(**missing)[list(STATED)]
