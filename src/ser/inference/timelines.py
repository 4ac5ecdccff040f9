"""Timelines of emotions for other programs: Praat TextGrid, WebVTT and Audacity labels."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

from ser.audio.sniff import SUFFIXES
from ser.errors import UserError
from ser.inference.prediction import Failure, Prediction, Segment
from ser.inference.settings import Format
from ser.system.atomic import write_text

DIGITS = 3  # of seconds: a millisecond


class Interval(NamedTuple):
    """An emotion from `start` to `end` seconds; the text is empty between segments."""

    start: float
    end: float
    text: str
    probability: float = 0.0


def find_intervals(prediction: Prediction) -> list[Interval]:
    """The segments of a prediction in whole milliseconds; a recording without windows is one."""
    whole = Segment(
        0.0,
        prediction.seconds,
        prediction.emotion or "(not confident)",
        max(prediction.probabilities.values()),
    )
    intervals = [
        Interval(round(each.start, DIGITS), round(each.end, DIGITS), each.emotion, each.probability)
        for each in (prediction.segments if prediction.windows else [whole])
    ]
    return [each for each in intervals if each.start < each.end]


def fill_gaps(intervals: Sequence[Interval], end: float) -> Iterator[Interval]:
    """The intervals, with empty ones between them, from 0 to `end` seconds."""
    reached = 0.0
    for each in intervals:
        if reached < each.start:
            yield Interval(reached, each.start, "")
        yield each
        reached = each.end
    if reached < end:
        yield Interval(reached, end, "")


def write_textgrid(channels: Sequence[Prediction]) -> str:
    """The long text format of Praat, with one interval tier per channel."""
    end = max(round(each.seconds, DIGITS) for each in channels)
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        f"xmin = 0\nxmax = {end}",
        "tiers? <exists>",
        f"size = {len(channels)}",
        "item []:",
    ]
    for number, each in enumerate(channels, 1):
        intervals = list(fill_gaps(find_intervals(each), end))
        lines += [
            f"    item [{number}]:",
            '        class = "IntervalTier"',
            f'        name = "{name_channel(each) or "emotion"}"',
            f"        xmin = 0\n        xmax = {end}",
            f"        intervals: size = {len(intervals)}",
        ]
        for place, (start, stop, text, _) in enumerate(intervals, 1):
            quoted = text.replace('"', '""')
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {start}\n            xmax = {stop}",
                f'            text = "{quoted}"',
            ]
    return "\n".join(lines) + "\n"


def write_vtt(channels: Sequence[Prediction]) -> str:
    """WebVTT cues such as "angry 81%"; the voice of a cue is its channel."""
    cues = ["WEBVTT\n"]
    for (start, end, text, probability), channel in in_order(channels):
        voice = f"<v {channel}>" if channel else ""
        cues.append(
            f"{stamp(start)} --> {stamp(end)}\n{voice}{html.escape(text)} {probability:.0%}\n"
        )
    return "\n".join(cues)


def write_audacity(channels: Sequence[Prediction]) -> str:
    """Lines of start, end and label, separated by tabs; a label begins with its channel."""
    lines = [
        f"{start:.6f}\t{end:.6f}\t{f'{channel}: ' if channel else ''}{text}\n"
        for (start, end, text, _), channel in in_order(channels)
    ]
    return "".join(lines)


def in_order(channels: Sequence[Prediction]) -> list[tuple[Interval, str]]:
    """The intervals of all channels with the names of these, by start."""
    found = [(each, name_channel(of)) for of in channels for each in find_intervals(of)]
    return sorted(found, key=lambda item: item[0].start)


def name_channel(prediction: Prediction) -> str:
    return "" if prediction.channel is None else f"channel {prediction.channel}"


def stamp(seconds: float) -> str:
    minutes, milliseconds = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"


@dataclass(frozen=True)
class Timeline:
    """A format: its suffix, and the text for the channels of one recording."""

    suffix: str
    render: Callable[[Sequence[Prediction]], str]


TIMELINES: Mapping[Format, Timeline] = {
    Format.textgrid: Timeline(".TextGrid", write_textgrid),
    Format.vtt: Timeline(".vtt", write_vtt),
    Format.audacity: Timeline(".txt", write_audacity),
}


class TimelineWriter:
    """Writes the timeline of one recording to a stream when it is complete.

    Raises UserError for a second recording.
    """

    def __init__(self, timeline: Timeline, stream: TextIO | None = None) -> None:
        self.timeline, self.stream = timeline, stream
        self.channels: list[Prediction] = []

    def write(self, result: Prediction | Failure) -> None:
        if isinstance(result, Failure):  # reported on standard error
            return
        if self.channels and not same_recording(self.channels[-1], result):
            self.finish()
        self.channels.append(result)

    def finish(self) -> None:
        """Write the recording whose channels are known; another one follows."""
        refuse_several()

    def close(self) -> None:
        if self.channels and self.stream is not None:
            self.stream.write(self.timeline.render(self.channels))
            self.stream.flush()


def refuse_several() -> NoReturn:
    """Raise UserError: one stream or file holds the timeline of one recording."""
    raise UserError("there are several recordings: write one file each with --output=FOLDER")


class FileWriter(TimelineWriter):
    """Writes the timeline of one recording to a file."""

    def __init__(self, timeline: Timeline, path: Path) -> None:
        super().__init__(timeline)
        self.path = path

    def close(self) -> None:
        if self.channels:
            write_text(self.path, self.timeline.render(self.channels))


class FolderWriter(TimelineWriter):
    """Writes one file per recording, with its name, into a folder.

    A second recording of the same name gets the number 2: `a/01.wav` and `b/01.wav` become
    `01.vtt` and `01-2.vtt`.
    """

    def __init__(self, timeline: Timeline, folder: Path) -> None:
        super().__init__(timeline)
        self.folder, self.written = folder, set[str]()

    def finish(self) -> None:
        write_text(self.folder / self.choose_name(), self.timeline.render(self.channels))
        self.channels = []

    def choose_name(self) -> str:
        """The name of the recording, with a number if another recording has the same name."""
        path = Path(self.channels[0].path or "recording")
        stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
        name, suffix = stem, self.timeline.suffix
        numbers = count(2)
        while name + suffix in self.written:
            name = f"{stem}-{next(numbers)}"
        self.written.add(name + suffix)
        return name + suffix

    def close(self) -> None:
        if self.channels:
            self.finish()


def open_timelines(timeline: Timeline, output: Path) -> TimelineWriter:
    """The writer of one file, if the suffix is that of the format, or of a folder of files."""
    if output.suffix.lower() == timeline.suffix.lower() and not output.is_dir():
        output.parent.mkdir(parents=True, exist_ok=True)
        return FileWriter(timeline, output)
    if output.exists() and not output.is_dir():
        raise UserError(
            f"--output={output} is a file: name a folder or a file that ends in {timeline.suffix}"
        )
    output.mkdir(parents=True, exist_ok=True)
    return FolderWriter(timeline, output)


def same_recording(first: Prediction, second: Prediction) -> bool:
    """Whether two results are channels of one recording."""
    channels = first.channel, second.channel
    return first.path == second.path and None not in channels and channels[0] != channels[1]
