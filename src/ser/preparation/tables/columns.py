"""Which column of a table means what: named in `data.columns`, or guessed from usual names."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from ser.audio.sniff import SUFFIXES, locate
from ser.config.data import TABLE_COLUMNS
from ser.errors import UserError, suggest
from ser.preparation.tables.raw import RawTable, show_columns, simplify

# Usual names in order of preference, simplified; our own name comes before all of them.
ALIASES = {
    "path": "filename filepath file audiofilepath audiopath audiofile audiofilename audio wavpath"
    " wavfile wavfilename wav recording clip clippath fname fullpath relativepath uri",
    "emotion": "emotionlabel emotionclass emoclass emo label labels labelname class classname"
    " category target emotions",
    "speaker": "speakerid spkr spkrid spkid spk speakername actor actorid clientid subject"
    " subjectid participant participantid userid",
    "gender": "sex speakergender spkrgender actorsex",
    "age": "speakerage actorage",
    "race": "speakerrace actorrace",
    "ethnicity": "speakerethnicity actorethnicity ethnicgroup",
    "sentence": "sentenceid sent text transcript transcription utterancetext words normalizedtext",
    "intensity": "emotionintensity intensitylevel",
    "split": "splitset subset partition set part datasplit usage",
    "corpus": "dataset database db",
    "perceived": "perceivedemotion",
    "start": "starttime begin begintime onset segmentstart segstart tstart starttimestamp",
    "end": "endtime stop stoptime segmentend segend tend endtimestamp",
    "agreement": "rateragreement",
    "duration": "dur length seconds segmentduration",
}
# Names that mean a start and an end only together.
PAIRS = (("xmin", "xmax"), ("tmin", "tmax"), ("t0", "t1"), ("t1", "t2"), ("from", "to"))
TIMES = ("start", "end", "duration", "offset")
SECONDS = ("s", "sec", "secs", "second", "seconds", "insec", "inseconds", "ssmsec", "hhmmssms")
MILLISECONDS = ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds", "inms")
MICROSECONDS = ("us", "usec", "microseconds")
UNITS = ("", *SECONDS, *MILLISECONDS, *MICROSECONDS)
NAMED_UNITS = {1.0: "", 1e-3: " in ms", 1e-6: " in µs"}
SimpleNames = Mapping[str, str]
"""Headers by their simplified names."""
COUNTS = ("sample", "samples", "samp", "frame", "frames")


def known_names(chosen: Mapping[str, str | None]) -> set[str]:
    """All simplified names by which a header is recognised."""
    usual = {alias for names in ALIASES.values() for alias in names.split()}
    return {
        *TABLE_COLUMNS,
        *usual,
        *(each + unit for name in TIMES for each in names_of(name) for unit in UNITS),
        *(simplify(name or "") for name in chosen.values()),
    }


def match_columns(
    table: RawTable, chosen: Mapping[str, str | None]
) -> tuple[dict[str, str], str | None]:
    """Our names with the columns of the table that have their meaning, and a note on the guesses.

    Raises UserError if a chosen column is missing.
    """
    found = {name: find_chosen(table, name, header or "") for name, header in chosen.items()}
    free = by_simple_name(each for each in table.header if each not in found.values())
    if "path" not in found and (audio := find_audio(table, free)):
        found["path"] = audio
    for name in TABLE_COLUMNS:
        if name not in found and (header := guess(name, free)):
            found[name] = header
    match_times(found, free)
    refuse_counts(table, found, free)
    return found, describe_guesses(found, chosen)


def by_simple_name(headers: Iterable[str]) -> SimpleNames:
    """The columns by their simplified names; the first of those that are alike."""
    return {simplify(each): each for each in reversed([*headers]) if each}


def find_audio(table: RawTable, free: SimpleNames) -> str | None:
    """The column with recordings in it, by its name or by its first row that is not empty.

    Bytes that are not recordings, such as embeddings, are taken only if no column is named like a
    path. None if there are no bytes.
    """
    columns = [name for name in table.header if name in free.values() and name in table.audio]
    if named := guess("path", by_simple_name(columns)):
        return named
    for name in columns:
        content, path = next(filter(any, table.audio[name].read()), (None, ""))
        named = not content and Path(path).suffix.lower() in SUFFIXES
        if named or locate(io.BytesIO(content or b""))[0] is not None:
            return name
    return None if guess("path", free) else next(iter(columns), None)


def match_times(found: dict[str, str], free: SimpleNames) -> None:
    """Add a duration beside a start, and an offset that is a start or, beside an onset, an end.

    Pairs such as xmin and xmax are a start and an end.
    """
    for first, last in PAIRS:
        start, end = find_time(first, free), find_time(last, free)
        picture = first == "xmin" and "ymin" in free  # with boxes
        if start and end and not picture and not {"start", "end"} & found.keys():
            found |= {"start": start, "end": end}
    duration, offset = guess("duration", free), guess("offset", free)
    if offset and "end" not in found and simplify(found.get("start", "")) == "onset":
        found["end"] = offset
    elif offset and duration and "start" not in found:
        found["start"] = offset
    if duration and "start" in found and "end" not in found:
        found["duration"] = duration


def refuse_counts(table: RawTable, found: Mapping[str, str], free: SimpleNames) -> None:
    """Raise UserError for a start or end in samples or frames, whose seconds are not known."""
    for name in ("start", "end"):
        counted = {f"{alias}{unit}" for alias in names_of(name) for unit in COUNTS}
        counted |= {"frameoffset", "sampleoffset"} if name == "start" else set()
        matches = counted & free.keys()
        if name not in found and matches:
            raise UserError(
                f"the table {table.name} has a column {free[min(matches)]!r}, which counts samples"
                f" or frames: divide it by their rate and call it {name}, or remove it to use whole"
                " files"
            )


def seconds_per_unit(header: str) -> float:
    """The factor to seconds of a column of times, by the unit at the end of its name."""
    name = simplify(header)
    if name.endswith(("ssmsec", "ssms")):  # of ELAN: seconds with decimals
        return 1.0
    return 1e-6 if name.endswith(MICROSECONDS) else 1e-3 if name.endswith(MILLISECONDS) else 1.0


def find_chosen(table: RawTable, name: str, header: str) -> str:
    """The column that `data.columns` or `--adapt` names, also with other case or punctuation.

    Raises UserError if there is none, or more than one.
    """
    for same in (str, str.casefold, simplify):
        matches = [each for each in table.header if same(each) == same(header)]
        if len(matches) == 1:
            return matches[0]
    hint = suggest(header, table.header)
    raise UserError(
        f"the table {table.name} has no column {header!r} for the {name}, only"
        f" {show_columns(table.header)}{hint}"
    )


def guess(name: str, free: SimpleNames) -> str | None:
    """The column that has our name or, else, the most usual of the other names."""
    found = (find_time(each, free) if name in TIMES else free.get(each) for each in names_of(name))
    return next(filter(None, found), None)


def names_of(name: str) -> tuple[str, ...]:
    """Our name and the usual other ones, simplified."""
    return name, *ALIASES.get(name, "").split()


def find_time(simple: str, free: SimpleNames) -> str | None:
    """The column of this simplified name, which may end with its unit: `start_ms`."""
    return next((free[simple + unit] for unit in UNITS if simple + unit in free), None)


def describe_guesses(found: Mapping[str, str], chosen: Mapping[str, str | None]) -> str | None:
    """A note on the columns that were found under a usual name; None if there are none."""
    guessed = {
        name: header
        for name, header in found.items()
        if name not in chosen and header.strip().casefold() != name
    }
    if not guessed:
        return None
    pairs = ", ".join(
        f"{name} from {header!r}" + NAMED_UNITS[seconds_per_unit(header) if name in TIMES else 1.0]
        for name, header in guessed.items()
    )
    change = "to change that, rename columns, or set data.columns in training"
    return f"columns by their usual names: {pairs} ({change})"
