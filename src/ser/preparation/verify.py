"""Finds files whose content changed although their size and modification time did not."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ser.audio.examine import examine
from ser.system.parallel import on_all_cores
from ser.system.progress import progress_bar

SHARE = 64  # files for a core at once
Row = tuple[str, str, float, float, str]  # id, path, start, end and content


@dataclass(frozen=True)
class ChangedFile:
    """A file whose decoded samples are not those of the manifest; `problem` says how."""

    id: str
    path: str
    problem: str


def verify(utterances: pd.DataFrame) -> list[ChangedFile]:
    """Decode every file of a manifest again and return those with other samples.

    The cache recognises files by path, size and modification time; this finds what it cannot see.
    """
    table = utterances[["id", "path", "start", "end", "content"]]
    whole = table.fillna({"start": 0.0, "end": 0.0})  # as the cache describes whole files
    rows = list(whole.itertuples(index=False, name=None))
    shares = (rows[first : first + SHARE] for first in range(0, len(rows), SHARE))
    found: list[ChangedFile] = []
    with progress_bar("files") as progress:
        task = progress.add_task("Verifying audio", total=len(rows))
        for changed in on_all_cores(find_changed, shares, len(rows)):
            found += changed
            progress.update(task, advance=min(SHARE, len(rows) - progress.tasks[task].completed))
    return found


def find_changed(rows: list[Row]) -> list[ChangedFile]:
    """Those of the rows whose file cannot be decoded any more or has other samples."""
    changed = []
    for name, path, start, end, content in rows:
        clip, _ = examine(Path(path), start, end)
        if clip.fault:
            changed.append(ChangedFile(name, path, f"{clip.fault}: {clip.detail}".rstrip(": ")))
        elif clip.content != content:
            changed.append(ChangedFile(name, path, "other samples"))
    return changed
