"""How much of a part the model met in training: its speakers, its sentences, near copies of it.

Identical recordings are never in two parts (`ser.manifest`, `ser.splits`). A near copy is the same
recording once more: encoded, resampled, trimmed or scaled otherwise. It is looked for among
recordings of one speaker and of about one length, by correlating their log-mel pictures.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from ser.audio import SAMPLE_RATE, AudioCache, Waveform

# Measured on RAVDESS: a second take by one actor reaches 0.971 at most (58 pairs); copies at half
# the sample rate, trimmed by 20 ms, or with noise at 30 dB are above 0.993 (80 each).
NEAR = 0.985
SAME_LENGTH = 0.02  # as a share
EXAMINED = 2000  # utterances of the part at most: a seeded sample of a larger one
BANDS, SLOTS = 40, 64


@dataclass(frozen=True)
class Exposure:
    """Counts in the judged part, and how many of them training had as well.

    `examined` utterances were compared with training recordings of their speakers, and
    `near_copies` of them have a near copy there.
    """

    speakers: int
    seen_speakers: int
    sentences: int
    seen_sentences: int
    examined: int
    near_copies: int

    def describe(self) -> str:
        """One sentence for the headline."""
        if self.seen_speakers == 0:
            who = f"None of its {self.speakers} speakers was heard in training"
        elif self.seen_speakers == self.speakers:
            who = f"All of its {self.speakers} speakers were heard in training"
        else:
            who = f"{self.seen_speakers} of its {self.speakers} speakers were heard in training"
        said = ""
        if self.sentences:
            said = f"; {self.seen_sentences} of its {self.sentences} sentences were, too"
        copies = ""
        if self.near_copies:
            copies = f"; {self.near_copies} of {self.examined} recordings have a near copy there"
        return f"{who}{said}{copies}."


def examine(part: pd.DataFrame, train: pd.DataFrame, audio: AudioCache, seed: int = 0) -> Exposure:
    """Compare the utterances of a part with those of training; both are rows of a manifest."""
    sentences, seen = spoken(part), spoken(train)
    speakers = set(part["speaker"])
    familiar = part[part["speaker"].isin(set(train["speaker"]))]
    sample = familiar.sample(min(EXAMINED, len(familiar)), random_state=seed)
    return Exposure(
        speakers=len(speakers),
        seen_speakers=len(speakers & set(train["speaker"])),
        sentences=len(sentences),
        seen_sentences=len(sentences & seen),
        examined=len(sample),
        near_copies=len(find_near_copies(sample, train, audio)),
    )


def spoken(utterances: pd.DataFrame) -> set[tuple[str, str]]:
    """What is said, as far as known; sentence 01 of one corpus is not that of another."""
    known = utterances[utterances["sentence"] != ""]
    return set(zip(known["corpus"], known["sentence"], strict=True))


def find_near_copies(
    sample: pd.DataFrame, train: pd.DataFrame, audio: AudioCache
) -> dict[str, str]:
    """The id in `train` of a near copy of each utterance in `sample` that has one, by its id."""

    @cache
    def look(content: str) -> np.ndarray:
        return fingerprint(audio.read(content))

    copies = {}
    columns = ["id", "content", "seconds"]
    by_speaker = {name: rows[columns] for name, rows in train.groupby("speaker")}
    for speaker, rows in sample.groupby("speaker"):
        known = by_speaker[speaker]
        lengths = known["seconds"].to_numpy(float)
        for name, content, seconds in rows[columns].to_numpy():
            close = known[np.abs(lengths / seconds - 1) <= SAME_LENGTH]
            for other, candidate, _ in close.to_numpy():
                if look(content) @ look(candidate) > NEAR:
                    copies[name] = other
                    break
    return copies


def fingerprint(waveform: Waveform) -> np.ndarray:
    """A unit vector of the log-mel picture (bands * slots,) of a waveform (time,), centred."""
    from librosa.feature import melspectrogram  # seconds of import

    padded = np.pad(waveform, (0, max(0, SLOTS * 160 - len(waveform))))
    bands = melspectrogram(
        y=padded, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=BANDS, fmin=80, fmax=3800
    )
    loudness = 10 * np.log10(np.maximum(bands, bands.max() * 1e-6 + 1e-12))
    edges = np.linspace(0, loudness.shape[1], SLOTS, endpoint=False).astype(int)
    slots = np.add.reduceat(loudness, edges, axis=1) / np.diff([*edges, loudness.shape[1]])
    centred = (slots - slots.mean()).ravel()
    return (centred / max(float(np.linalg.norm(centred)), 1e-12)).astype(np.float32)
