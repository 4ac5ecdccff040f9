"""Kaldi data folders: `wav.scp` and, by utterance, `utt2emo`, `utt2spk`, `text`, `segments`."""

from functools import partial
from pathlib import Path

from ser.errors import UserError
from ser.preparation.tables.delimited import pick
from ser.preparation.tables.raw import RawTable, text_frame

EMOTIONS = ("utt2emo", "utt2emotion", "utt2label", "emotion")
HEADER = ("path", "emotion", "speaker", "gender", "sentence", "start", "end")


def is_kaldi(folder: Path) -> bool:
    return (folder / "wav.scp").is_file()


def read_kaldi(folder: Path) -> RawTable:
    """One row per utterance. Relative paths start at the working directory, as in Kaldi.

    Raises UserError for a recording that is the output of a command.
    """
    recordings = read_map(folder / "wav.scp")
    for name, path in recordings.items():
        if path.endswith("|"):
            raise UserError(f"{folder}/wav.scp: {name} is the output of a command, not a file")
    segments = {name: line.split() for name, line in read_map(folder / "segments").items()}
    spans = segments or {name: [name, "", ""] for name in recordings}
    emotions = next((folder / name for name in EMOTIONS if (folder / name).is_file()), None)
    labels = read_map(emotions) if emotions is not None else {}
    speakers, words = read_map(folder / "utt2spk"), read_map(folder / "text")
    genders = read_map(folder / "spk2gender")
    rows = []
    for name, span in spans.items():
        if len(span) != 3 or span[0] not in recordings:
            raise UserError(
                f"{folder}/segments: {name} needs a recording of wav.scp, start and end"
            )
        speaker = speakers.get(name, "")
        rows.append([recordings[span[0]], labels.get(name, ""), speaker, genders.get(speaker, ""),
                     words.get(name, ""), *span[1:]])  # fmt: skip
    header = [name for name in HEADER if name != "emotion" or emotions is not None]
    frame = text_frame(HEADER, rows, range(1, len(rows) + 1))
    return RawTable(folder.absolute().name, folder.absolute(), header, partial(pick, frame))


def read_map(file: Path) -> dict[str, str]:
    """The lines of a file by their first word; empty if there is no such file.

    Raises UserError if it is not UTF-8, as Kaldi requires, or gives one name two values.
    """
    if not file.is_file():
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 ({error}); convert it") from error
    found = dict[str, str]()
    for number, line in enumerate(text.split("\n"), 1):
        name, *rest = line.split(maxsplit=1) or [""]
        value = rest[0].strip() if rest else ""
        if name and found.setdefault(name, value) != value:
            raise UserError(f"{file}, line {number}: {name} has another value in a line before")
    return found
