"""How much of a part was seen in training: its speakers, its sentences, copies of its recordings.

Identical recordings are dropped and near-duplicates are found when the manifest is built
(`ser.audio.near_duplicates`). Splits by speaker and by corpus fail if something is in two parts.
"""

from dataclasses import dataclass

import pandas as pd

from ser.metrics.sentences import UNKNOWN, name_sentences

NOUNS = {"train": "Training", "val": "Validation"}  # all other parts are for testing


@dataclass(frozen=True)
class TrainTestOverlap:
    """Counts in the evaluated part, and how many of them are in the training part too.

    `near_copies` are recordings with a near-duplicate in training. `foreign` data is not from the
    corpora of the training, so a speaker may have had another name there.
    """

    speakers: int
    seen_speakers: int
    sentences: int
    seen_sentences: int
    recordings: int
    near_copies: int
    foreign: bool = False

    @property
    def flatters(self) -> bool:
        """Whether scores are higher than for new speakers and recordings."""
        return bool(self.seen_speakers or self.near_copies)

    def describe(self, part: str = "test") -> str:
        """The counts in words, for a part of the data."""
        noun = NOUNS.get(part, "Test")
        names = " (compared by name)" if self.foreign else ""
        words = [f"{noun} speakers seen in training: unknown."]
        if self.speakers:
            seen = f"{self.seen_speakers:,} of {self.speakers:,}"
            words = [f"{noun} speakers seen in training{names}: {seen}."]
        if self.sentences:
            seen = f"{self.seen_sentences:,} of {self.sentences:,}"
            words.append(f"{noun} sentences seen in training: {seen}.")
        if self.near_copies:
            copies = f"{self.near_copies:,} of {self.recordings:,}"
            words.append(f"{noun} recordings with a near-duplicate in training: {copies}.")
        return " ".join(words)


def examine(part: pd.DataFrame, train: pd.DataFrame, *, foreign: bool = False) -> TrainTestOverlap:
    """Compare the utterances of a part with those of training; both are rows of a manifest."""
    sentences, speakers = set(name_sentences(part)) - {UNKNOWN}, set(part["speaker"]) - {""}
    return TrainTestOverlap(
        speakers=len(speakers),
        seen_speakers=len(speakers & set(train["speaker"])),
        sentences=len(sentences),
        seen_sentences=len(sentences & set(name_sentences(train))),
        recordings=len(part),
        near_copies=int(part["recording"].isin({*train["recording"], *train["content"]}).sum()),
        foreign=foreign,
    )
