"""Anybody's own corpus: a table of files and their emotions."""

from pathlib import Path

import numpy as np
import pandas as pd

from ser.data_config import DataConfig, Part
from ser.labels import LABELS
from ser.manifest import DROPPED_COLUMNS, Manifest, Reason
from ser.scan import complete

NUMBERS = ("start", "end", "agreement")
ENDLESS = (np.inf, -np.inf)
KNOWN = ("path", "emotion", "speaker", "gender", "sentence", "split", "corpus", "perceived")


def scan_table(path: Path, data: DataConfig) -> Manifest:
    """The utterances of a CSV or TSV table, a row each; files are relative to its folder.

    `path` and `emotion` are needed; `speaker`, `gender`, `sentence`, `split`, `corpus` (else the
    name of the table), `start` and `end` (seconds), `perceived` (what listeners heard, ties as
    angry:fear) and `agreement` (0 to 1) are read where they are there. Raises ValueError, which
    names the row, for what cannot be used.
    """
    table = read_table(path)
    spelled = table["emotion"].copy()
    table["emotion"] = map_labels(spelled, data)
    check_rows(table.assign(spelled=spelled), path, data)
    table["perceived"] = [map_winners(heard, data) for heard in table["perceived"]]
    table["corpus"] = table["corpus"].mask(table["corpus"] == "", path.stem)
    known = table["speaker"] != ""
    table["speaker"] = (table["corpus"] + "/" + table["speaker"]).where(known, "")
    span = "#" + table["start"].map(spell) + "-" + table["end"].map(spell)
    whole = table[["start", "end"]].isna().all(axis=1)
    table["id"] = table["corpus"] + "/" + table["path"] + span.mask(whole, "")
    folder = path.absolute().parent
    table["path"] = table["path"].map({name: str(folder / name) for name in table["path"].unique()})
    nothing = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    manifest = Manifest(complete(table.rename(columns={"emotion": "intended"})), nothing)
    left_out = np.where(table["emotion"] == "", Reason.LEFT_OUT.value, "")
    details = "data.label_map leaves out " + spelled
    return manifest.drop(pd.Series(left_out, table.index, dtype="str"), details)


def read_table(path: Path) -> pd.DataFrame:
    """The columns that mean something here, all of them: text stripped, numbers or NaN."""
    try:
        table = pd.read_csv(
            path,
            sep="\t" if path.suffix == ".tsv" else ",",
            dtype="str",
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except ValueError as error:  # what pandas and the decoder raise are all of this kind
        raise ValueError(f"data.table={path} cannot be read as CSV: {error}") from error
    table.columns = table.columns.str.strip().str.lower()
    for name in ("path", "emotion"):
        if name not in table:
            raise ValueError(
                f"data.table={path} has no column {name!r}, only {', '.join(table.columns)}"
            )
    if table.empty:
        raise ValueError(f"data.table={path} has no rows")
    table = table.reindex(columns=[*KNOWN, *NUMBERS], fill_value="")
    table = table.apply(lambda column: column.str.strip())
    for name in NUMBERS:
        numbers = pd.to_numeric(table[name].mask(table[name] == ""), errors="coerce")
        refuse(numbers.isna() & (table[name] != ""), table, path, f"{name} {{{name}}} is no number")
        table[name] = numbers.astype(float)
    return table


def spell(seconds: float) -> str:
    return "" if np.isnan(seconds) else f"{seconds:.6f}".rstrip("0").rstrip(".")


def map_labels(spelled: pd.Series, data: DataConfig) -> pd.Series:
    """The emotions by our names, case aside; empty where data.label_map leaves one out."""
    return spelled.map({name: map_label(name, data) for name in spelled.unique()})


def map_label(name: str, data: DataConfig) -> str:
    for spelling in (name, name.lower()):
        if spelling in data.label_map:
            return data.label_map[spelling] or ""
    return name if name in data.label_space else name.lower()


def map_winners(heard: str, data: DataConfig) -> str:
    """What listeners heard by our names; what data.label_map leaves out keeps its own."""
    return ":".join(map_label(name, data) or name for name in heard.split(":")) if heard else ""


def check_rows(table: pd.DataFrame, path: Path, data: DataConfig) -> None:
    """Raise ValueError for the first row that says something impossible."""
    known = [*dict.fromkeys([*data.label_space, *LABELS, *data.merge])]
    strange = ~table["emotion"].isin([*known, ""]) | (table["spelled"] == "")
    refuse(table["path"] == "", table, path, "path is empty")
    odd = table["path"].str.contains(r"[\x00-\x1f]", regex=True)
    refuse(odd, table, path, "path {path!r} holds a line break or the like; rename the file")
    heard = {
        words: all(map_label(name, data) in ("", *known) for name in words.split(":"))
        for words in table["perceived"].unique()
    }
    unknown = "perceived {perceived!r} is none of " + ", ".join(known) + ", nor several as a:b"
    refuse(~table["perceived"].map(heard), table, path, unknown)
    names = [*dict.fromkeys(table.loc[strange, "spelled"])]
    unmapped = "emotion {spelled!r} is none of " + ", ".join(known)
    if len(names) > 1:
        also = ", ".join(map(repr, names[1:5])).replace("{", "{{").replace("}", "}}")
        unmapped += f" (nor is {also})"
    unmapped += ": say what it is with 'data.label_map={{{spelled}: ...}}' (null leaves it out)"
    refuse(strange & table["spelled"].isin(names[:1]), table, path, unmapped)
    parts = ", ".join(Part)
    refuse(~table["split"].isin([*Part, ""]), table, path, f"split {{split!r}} is none of {parts}")
    endless = table["start"].isin(ENDLESS) | table["end"].isin(ENDLESS)
    refuse(endless, table, path, "start {start} or end {end} is no number of seconds")
    refuse(table["start"] < 0, table, path, "start {start} is before the beginning")
    backwards = table["end"] <= table["start"].fillna(0)
    refuse(backwards, table, path, "end {end} is not after start {start}")
    share = table["agreement"].isna() | table["agreement"].between(0, 1)
    refuse(~share, table, path, "agreement {agreement} is not from 0 to 1")


def refuse(wrong: pd.Series, table: pd.DataFrame, path: Path, problem: str) -> None:
    """Raise ValueError for the first wrong row; `problem` may name its columns in braces."""
    if not wrong.any():
        return
    row = int(wrong.to_numpy().argmax())
    fields = {str(name): value for name, value in table.iloc[row].items()}
    others = f", as in {wrong.sum() - 1:,} other rows" if wrong.sum() > 1 else ""
    # The header is row 1, as in an editor or a spreadsheet.
    raise ValueError(f"data.table={path}, row {row + 2}{others}: {problem.format(**fields)}")
