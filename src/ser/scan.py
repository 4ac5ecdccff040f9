"""What files a corpus folder holds, and what their names say of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser.corpora import Corpus, Utterance
from ser.files import list_files, printable
from ser.manifest import DROPPED_COLUMNS, STATED, Manifest, Reason


def scan_corpus(corpus: Corpus, folder: Path) -> Manifest:
    """The utterances of a corpus in a folder; names off the grammar are dropped."""
    rows, dropped, root = [], [], folder.absolute()
    for path in list_files(root):
        shown = printable(str(path))
        try:
            if shown != str(path) or not shown.isprintable():
                raise ValueError("its name is no UTF-8, or holds a line break; rename it")
            utterance = corpus.parse(path.relative_to(root))
        except ValueError as error:
            dropped.append((shown, corpus.name, "", "", Reason.OFF_GRAMMAR.value, str(error)))
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
