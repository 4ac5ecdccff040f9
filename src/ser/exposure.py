"""How much of a part the model met in training: its speakers, its sentences, copies of it.

Identical recordings are dropped, and near-duplicates are found, when the manifest is built
(`ser.near_duplicates`); the splits by speaker and by corpus fail where one is in two parts.
"""

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Exposure:
    """Counts in the judged part, and how many of them training had as well.

    `near_copies` are recordings of which training had a near-duplicate. `foreign` is data from
    elsewhere, whose speakers may have had another name in training.
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
        return bool(self.seen_speakers or self.near_copies)

    def describe(self) -> str:
        """One sentence for the headline."""
        if self.speakers == 0:
            who = "Who speaks is not known, nor whether training heard them"
        elif self.speakers == 1 and not self.foreign:
            who = f"Its only speaker was {'' if self.seen_speakers else 'not '}heard in training"
        elif self.seen_speakers == 0 and self.foreign:
            who = f"None of its {self.speakers} speakers has the name of one heard in training"
        elif self.seen_speakers == 0:
            who = f"None of its {self.speakers} speakers was heard in training"
        elif self.seen_speakers == self.speakers:
            who = f"All of its {self.speakers} speakers were heard in training"
        else:
            who = f"{self.seen_speakers} of its {self.speakers} speakers were heard in training"
        said = ""
        if self.sentences:
            said = f"; of its {self.sentences} sentences, training heard {self.seen_sentences}"
        if self.sentences == 1:
            heard = "heard there, too" if self.seen_sentences else "not heard there"
            said = f"; its only sentence was {heard}"
        copies = ""
        if self.near_copies:
            copies = f"; {self.near_copies} of {self.recordings} recordings were heard there, too"
        return f"{who}{said}{copies}."


def examine(part: pd.DataFrame, train: pd.DataFrame, *, foreign: bool = False) -> Exposure:
    """Compare the utterances of a part with those of training; both are rows of a manifest."""
    sentences, speakers = spoken(part), set(part["speaker"]) - {""}
    return Exposure(
        speakers=len(speakers),
        seen_speakers=len(speakers & set(train["speaker"])),
        sentences=len(sentences),
        seen_sentences=len(sentences & spoken(train)),
        recordings=len(part),
        near_copies=int(part["recording"].isin({*train["recording"], *train["content"]}).sum()),
        foreign=foreign,
    )


def spoken(utterances: pd.DataFrame) -> set[tuple[str, str]]:
    """What is said, as far as known; sentence 01 of one corpus is not that of another."""
    known = utterances[utterances["sentence"] != ""]
    return set(zip(known["corpus"], known["sentence"], strict=True))
