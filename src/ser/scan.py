"""What files a corpus folder holds, and what their names say of them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser.corpora import Corpus, Utterance
from ser.manifest import DROPPED_COLUMNS, STATED, Manifest, Reason


def scan_corpus(corpus: Corpus, folder: Path) -> Manifest:
    """The utterances of a corpus in a folder; names off the grammar are dropped."""
    rows, dropped, root = [], [], folder.absolute()
    for path in list_files(root):
        try:
            utterance = corpus.parse(path.relative_to(root))
        except ValueError as error:
            dropped.append((str(path), corpus.name, "", "", Reason.OFF_GRAMMAR.value, str(error)))
        else:
            rows.append(vars(utterance) | {"path": str(path)})
    columns = [*Utterance.__dataclass_fields__, "path"]
    table = pd.DataFrame(rows, columns=pd.Index(columns)).rename(columns={"emotion": "intended"})
    for name in ("id", "speaker"):
        table[name] = corpus.name + "/" + table[name]
    table["intended"] = table["intended"].astype(str)
    return Manifest(
        complete(table.assign(corpus=corpus.name)),
        pd.DataFrame(dropped, columns=pd.Index(DROPPED_COLUMNS)),
    )


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all columns that a manifest states, empty where nothing is known."""
    empty: dict[str, Any] = dict.fromkeys(("agreement", "start", "end"), np.nan)
    table = table.assign(emotion=table["intended"])
    missing = {name: empty.get(name, "") for name in STATED if name not in table}
    return table.assign(**missing)[list(STATED)]


def list_files(folder: Path) -> list[Path]:
    """Every file below a folder, sorted; linked folders are entered, each only once.

    Raises OSError for a folder that cannot be listed: its files would be missed in silence.
    """

    def stop(error: OSError) -> None:
        raise error

    files, seen = [], set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=stop):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        files.extend(Path(parent, name) for name in names)
    return sorted(files)
