"""Recordings to try a model on: the user's own, validation recordings of its run, or tones."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import soundfile

from ser.audio.recording import SAMPLE_RATE
from ser.corpora import CORPORA
from ser.corpora.emotions import Emotion
from ser.corpora.synthetic import SyntheticClip, speak
from ser.errors import UserError
from ser.inference.load import find_checkpoint
from ser.inference.predictor import Predictor
from ser.inference.run_clips import validation_rows
from ser.inference.sources import is_audio
from ser.models.checkpoint import run_folder
from ser.system.files import list_files, printable

MOST = 12  # examples on the page
# Licences under which a person who has the corpus may play its recordings: beginnings of names.
LOCAL_USE = ("CC ", "Open Database License")


@dataclass(frozen=True)
class Example:
    """A recording that the demo offers: what it is, and its content as an audio file.

    `read` raises OSError if the file has gone.
    """

    name: str
    read: Callable[[], bytes]


def find_examples(predictor: Predictor, ckpt: str | Path, folder: Path | None) -> list[Example]:
    """Examples that fit the model: from `folder`, from its run, or tones for a model of tones.

    Raises UserError for a folder without recordings.
    """
    if folder is not None:
        return folder_examples(folder)
    if predictor.synthetic:
        return synthetic_examples(predictor.labels)
    checkpoint = find_checkpoint(ckpt)
    return [] if checkpoint is None else run_examples(run_folder(checkpoint))


def folder_examples(folder: Path) -> list[Example]:
    """The first recordings of a folder by name."""
    if not folder.is_dir():
        raise UserError(f"--examples={folder}: no such folder.")
    found = [path for path in list_files(folder) if is_audio(path.relative_to(folder))]
    if not found:
        raise UserError(f"--examples={folder}: it holds no recordings.")
    return [
        Example(printable(str(path.relative_to(folder))), path.read_bytes)
        for path in sorted(found)[:MOST]
    ]


def run_examples(run: Path) -> list[Example]:
    """A validation recording per emotion, named after what was acted or voted."""
    return [
        Example(f"{emotion}, {CORPORA[corpus].title}", path.read_bytes)
        for emotion, corpus, path in validation_recordings(run)
    ]


def validation_recordings(run: Path) -> list[tuple[str, str, Path]]:
    """One emotion, corpus and path of a validation recording in a run folder for each emotion.

    Only whole files that still exist, and of corpora whose licence permits local use. Empty if the
    run folder or its manifest does not exist.
    """
    found: dict[str, tuple[str, str, Path]] = {}
    for row in filter(is_offered, validation_rows(run)):
        found.setdefault(row["emotion"], (row["emotion"], row["corpus"], Path(row["path"])))
    return list(found.values())[:MOST]


def is_offered(row: dict[str, str]) -> bool:
    """Whether a row of a manifest has an emotion, and may be played."""
    corpus = CORPORA.get(row.get("corpus", ""))
    return corpus is not None and corpus.licence.startswith(LOCAL_USE) and bool(row.get("emotion"))


def synthetic_examples(labels: Sequence[str]) -> list[Example]:
    """A tone per emotion, as in the synthetic corpora."""
    emotions = [emotion for emotion in Emotion if emotion.value in labels] or list(Emotion)
    return [Example(f"{emotion} (tones)", partial(write_tone, emotion)) for emotion in emotions]


def write_tone(emotion: Emotion) -> bytes:
    """A synthetic utterance as a WAV file."""
    waveform = speak(
        SyntheticClip(f"demo/{emotion}", "demo", "female", emotion, "demo", SAMPLE_RATE)
    )
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, SAMPLE_RATE, format="WAV")
    return buffer.getvalue()
