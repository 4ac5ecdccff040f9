"""The user's own corpus: a table of files and their emotions."""

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ser.config.data import TABLE_COLUMNS, DataConfig
from ser.errors import UserError, amount
from ser.preparation.label_map import LabelMap
from ser.preparation.manifest import DROPPED_COLUMNS, Manifest, Reason
from ser.preparation.scan import complete
from ser.preparation.tables.files import (
    explain_address,
    extract,
    find_file,
    locate_files,
    tried_folders,
    with_slashes,
)
from ser.preparation.tables.names import PART_WORDS
from ser.preparation.tables.raw import SPACE, clean, is_missing
from ser.preparation.tables.reader import Table, read_table

log = logging.getLogger(__name__)
NUMBERS = ("start", "end", "agreement", "duration")
TIME = r":|day|^-?P.*T|^[\d.,]+ ?(?:s|sec|ms)$"
GENDERS = {"m": "male", "male": "male", "man": "male", "f": "female", "female": "female",
           "w": "female", "woman": "female"}  # fmt: skip
UNUSED = "unused"  # the word for no part
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Times are in days if all are below a quarter of a second, and one is below a millisecond.
LONGEST_DAYS, SHORTEST = 0.25, 1e-3
FIRST = 100  # files; if none of them exists, the folder is probably wrong


def scan_table(source: str | Path, data: DataConfig, *, check_use: bool = False) -> Manifest:
    """The utterances of a table, one per row.

    The columns `path` and `emotion` are required. The others of `TABLE_COLUMNS` are optional:
    `corpus` is the name of the table if missing, `start` and `end` are in seconds, `perceived`
    holds the listeners' votes (ties as angry:fear), `agreement` is from 0 to 1. With `check_use`,
    an entry of `data.label_map` without effect is an error. Raises UserError, which names the row,
    for what cannot be used.
    """
    table = read_table(source, TABLE_COLUMNS, data.columns)
    rows = read_rows(table)
    labels = LabelMap(data)
    spelled = spell_labels(rows["emotion"], labels)
    check_labels(rows.assign(emotion=spelled), table, labels)
    if check_use:
        voted = [word for votes in rows["perceived"].unique() for word in votes.split(":")]
        labels.check_used([*spelled.unique(), *filter(None, voted)])
    check_rows(rows, table)
    rows["emotion"] = spelled.map({word: labels[word] for word in spelled.unique()})
    rows["perceived"] = rows["perceived"].map(
        {votes: labels.winners(votes) for votes in rows["perceived"].unique()}
    )
    rows = identify_rows(rows, table, Path(data.cache_dir))
    nothing = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
    whole = complete(rows.rename(columns={"emotion": "intended"}))
    manifest = Manifest(whole.reset_index(drop=True), nothing)
    left_out = np.where(rows["emotion"] == "", Reason.LEFT_OUT.value, "")
    details = pd.Series("data.label_map leaves out " + spelled.to_numpy(dtype=str), dtype="str")
    return manifest.drop(pd.Series(left_out, dtype="str"), details)


def read_rows(table: Table) -> pd.DataFrame:
    """All columns of `TABLE_COLUMNS`, with "" or NaN for what is missing; numbers as floats."""
    rows = table.rows.reindex(columns=[*TABLE_COLUMNS, "duration"], fill_value="")
    for name in table.rows.columns.difference(["path", "emotion", *NUMBERS]):
        rows[name] = clean(rows[name])
    rows["path"] = rows["path"].str.strip(SPACE).mask(is_missing(rows["path"]), "")
    genders = {word: GENDERS.get(word.casefold(), word) for word in rows["gender"].unique()}
    rows["gender"] = rows["gender"].map(genders)
    parts = {word: str(PART_WORDS.get(word.casefold(), word)) for word in rows["split"].unique()}
    rows["split"] = rows["split"].map(parts)
    for name in NUMBERS:
        known = name in table.rows
        rows[name] = read_numbers(clean(rows[name]), name, table) if known else np.nan
    refuse_days(rows[["start", "end", "duration"]], table)
    ends = rows["start"] + rows["duration"]
    return rows.assign(end=rows["end"].fillna(ends)).drop(columns="duration")


def refuse_days(times: pd.DataFrame, table: Table) -> None:
    """Raise UserError for times in days, as pandas writes timedeltas to Excel."""
    positive = times.where(times > 0)
    if positive.max().max() < LONGEST_DAYS:
        refuse(
            (positive < SHORTEST).any(axis=1),
            *(times, table),
            lambda row: (
                f"{' and '.join(f'{key} {value:.3g}' for key, value in row.dropna().items())} look"
                " like days, as pandas writes timedeltas to Excel; write seconds instead, the"
                " `.dt.total_seconds()` of these columns"
            ),
        )


def read_numbers(words: pd.Series, name: str, table: Table) -> pd.Series:
    """A column as floats.

    Seconds may also be times such as 00:00:01.5, 0:01.5, 0 days 00:00:01.5, P0DT0H0M1.5S, 1.5s or
    1500 ms. Numbers and times may have a decimal comma.
    """
    numbers = pd.to_numeric(words.mask(words == ""), errors="coerce").astype(float)
    odd = numbers.isna() & (words != "")
    if odd.any():
        comma = words[odd].str.replace(r"^([+-]?\d+),(\d+)$", r"\1.\2", regex=True)
        numbers[odd] = pd.to_numeric(comma, errors="coerce")
        times = odd & words.str.contains(TIME, regex=True) & (name != "agreement")
        points = words[times].str.replace(r"(days?),\s*", r"\1 ", regex=True)  # str(timedelta)
        points = points.str.replace(r",(\d+S?)$", r".\1", regex=True)
        points = points.str.replace(r"^(\d+:\d\d(\.\d+)?)$", r"00:\1", regex=True)
        points = points.mask(points.str.contains(","))  # pandas would leave the comma out
        numbers[times] = pd.to_timedelta(points, errors="coerce").dt.total_seconds()
    wrong = numbers.isna() & (words != "")
    form = "a number" if name == "agreement" else "seconds or a time such as 0:01:02.5"
    refuse(wrong, words.to_frame(name), table, lambda row: f"{name} {row[name]!r} is not {form}")
    return numbers


def spell_labels(column: pd.Series, labels: LabelMap) -> pd.Series:
    """Labels as the table spells them; "" if missing, unless the word itself is a known label."""
    words = {
        word: word if word in labels else clean_word for word, clean_word in
        zip(column.unique(), clean(pd.Series(column.unique())), strict=True)
    }  # fmt: skip
    return column.map(words).str.strip(SPACE)


def check_labels(rows: pd.DataFrame, table: Table, labels: LabelMap) -> None:
    """Raise UserError for labels that are unknown or missing, with a command that maps them."""
    known = {word: word in labels for word in rows["emotion"].unique()}
    unknown = [word for word, is_known in known.items() if not is_known]
    votes_of = [word for votes in rows["perceived"].unique() for word in votes.split(":") if votes]
    present = [*known, *votes_of]

    def explain(row: Any) -> str:
        named = f"emotion {row['emotion']!r} is unknown" if row["emotion"] else "emotion is missing"
        return f"{named}; {labels.explain_unknown(unknown, present)}"

    refuse(~rows["emotion"].map(known).astype(bool), rows, table, explain)
    voted = {
        votes: not votes or all(word in labels for word in votes.split(":"))
        for votes in rows["perceived"].unique()
    }

    def explain_votes(row: Any) -> str:
        odd = [word for word in row["perceived"].split(":") if word not in labels]
        return (
            f"perceived {row['perceived']!r} is not a label, or several such as angry:fear;"
            f" {labels.explain_unknown(odd, present)}"
        )

    refuse(~rows["perceived"].map(voted).astype(bool), rows, table, explain_votes)


def check_rows(rows: pd.DataFrame, table: Table) -> None:
    """Raise UserError for the first row that cannot be right."""
    if table.audio is None:
        refuse(rows["path"] == "", rows, table, lambda row: "path is missing")
    odd = {path: CONTROL.search(path) is not None for path in rows["path"].unique()}
    refuse(
        rows["path"].map(odd).astype(bool), rows, table,
        lambda row: f"path {row['path']!r} holds a line break or another control character;"
        " rename the file",
    )  # fmt: skip
    if table.audio is None:
        hints = {path: explain_address(path) for path in rows["path"].unique()}
        remote = rows["path"].map(hints) != ""
        refuse(remote, rows, table, lambda row: f"path {row['path']}: {hints[row['path']]}")
    endless = rows[["start", "end"]].isin([np.inf, -np.inf]).any(axis=1)
    refuse(
        endless, rows, table, lambda row: f"start {row['start']} or end {row['end']} is infinite"
    )
    refuse(rows["start"] < 0, rows, table, lambda row: f"start {row['start']} is negative")
    starts = rows["start"].fillna(0.0)
    refuse(rows["end"] <= starts, rows.assign(start=starts), table,
           lambda row: f"end {row['end']} is not after start {row['start']}")  # fmt: skip
    share = rows["agreement"].isna() | rows["agreement"].between(0, 1)
    refuse(~share, rows, table, lambda row: f"agreement {row['agreement']} is not from 0 to 1")


def identify_rows(rows: pd.DataFrame, table: Table, cache_dir: Path) -> pd.DataFrame:
    """The rows with their corpus, speaker, id and file; recordings inside the table are extracted.

    Raises UserError if none of the first FIRST files exists.
    """
    rows["corpus"] = rows["corpus"].mask(rows["corpus"] == "", table.name)
    rows["speaker"] = name_speakers(rows)
    if table.audio is not None:
        recordings = extract(table.audio, cache_dir / "tables")
        files = locate_files((file for _, file in recordings), table.folder)
        rows["path"] = [name for name, _ in recordings]
        located = {name: files[file] for name, file in recordings}
    else:
        check_files(rows["path"].unique()[:FIRST], table)
        located = locate_files(rows["path"], table.folder)
    slashed = rows["path"].map({path: with_slashes(path) for path in rows["path"].unique()})
    span = "#" + rows["start"].map(show_seconds) + "-" + rows["end"].map(show_seconds)
    whole = rows[["start", "end"]].isna().all(axis=1)
    rows["id"] = rows["corpus"] + "/" + slashed + span.mask(whole, "")
    rows["path"] = rows["path"].map(located)
    return rows


def name_speakers(rows: pd.DataFrame) -> pd.Series:
    """The speakers with their corpus, which a manifest.csv used as a table has already."""
    pairs = rows[["corpus", "speaker"]].drop_duplicates()
    full = {
        (corpus, speaker): f"{corpus}/{speaker.removeprefix(f'{corpus}/')}" if speaker else ""
        for corpus, speaker in pairs.itertuples(index=False, name=None)
    }
    same = pd.Series(sorted(set(full.values()) - {""}), dtype="str")
    alike = same.groupby(same.str.casefold()).agg(list)
    if len(alike) < len(same):
        first = next(names for names in alike if len(names) > 1)
        log.warning(
            "Speakers whose names differ in case only are different speakers: %s; if they are one,"
            " write the names alike",
            " and ".join(first),
        )
    keys = zip(rows["corpus"], rows["speaker"], strict=True)
    return pd.Series([full[key] for key in keys], rows.index, dtype="str")


def check_files(paths: Iterable[str], table: Table) -> None:
    """Raise UserError if none of the first files exists, with the folders that were tried."""
    bases = (str(table.folder), str(Path.cwd()))
    paths = list(paths)
    if not any(find_file(path, bases) for path in paths):
        raise UserError(
            f"{table.source}: {paths[0]} does not exist, nor does any other of the first"
            f" {len(paths)} files; relative paths were looked up in {tried_folders(table.folder)}"
        )


def show_seconds(seconds: float) -> str:
    return "" if np.isnan(seconds) else f"{seconds:.6f}".rstrip("0").rstrip(".")


def refuse(
    wrong: pd.Series, rows: pd.DataFrame, table: Table, explain: Callable[[Any], str]
) -> None:
    """Raise UserError for the first wrong row, named by its number in an editor."""
    if not wrong.any():
        return
    position = int(wrong.to_numpy().argmax())
    others = f" and {amount(int(wrong.sum()) - 1, 'other row')}" if wrong.sum() > 1 else ""
    row = rows.iloc[position]
    raise UserError(f"{table.source}, row {rows.index[position]}{others}: {explain(row)}")
