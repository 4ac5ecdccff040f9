"""Utterances as examples, and examples as batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import pandas as pd
import torch
from torch.utils.data import Dataset

from ser.audio.cache import AudioCache
from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.audio.resample import change_speed
from ser.data.augment import Augmentation
from ser.data.sampler import SampleIndex
from ser.models.families.base import SILENCE, SPEECH
from ser.models.hidden_states import HiddenStates
from ser.models.inputs import GRID, MIN_SAMPLES, normalize, pad
from ser.models.state_cache import StateReader


class Batch(TypedDict):
    """Padded inputs (batch, time) with their mask and labels (batch,).

    For hidden states, time counts frames and the inputs are (batch, time, layers, size). `rows`
    are rows of the part; `seconds` is the audio in the batch without padding; `weight` is the
    weight of the batch in its optimiser step. The last three stay on the CPU.
    """

    input_values: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    rows: list[int]
    seconds: float
    weight: float


@dataclass(frozen=True)
class Example:
    """One utterance, ready for the network: samples (time,), or hidden states.

    Hidden states are (frames, layers, size), of which those from `spoken` on are silence.
    """

    input_values: Waveform | HiddenStates
    label: int
    index: SampleIndex
    seconds: float
    spoken: int | None = None


class UtteranceDataset(Dataset[Example]):
    """The utterances of one part, read from the audio cache.

    Each waveform is played at `speed`, trimmed to `max_seconds` and, if the backbone needs it,
    normalised on its own before any padding, as in prediction.
    """

    def __init__(
        self,
        utterances: pd.DataFrame,
        labels: Sequence[str],
        cache: AudioCache,
        max_seconds: float,
        *,
        normalizes: bool,
        augmentation: Augmentation | None = None,
        speed: float = 1.0,
    ) -> None:
        self.contents = utterances["content"].tolist()
        self.recordings = cache.recordings(self.contents)
        self.labels = utterances["emotion"].map(labels.index).tolist()
        self.seconds = (utterances["seconds"] / speed).clip(upper=max_seconds).to_numpy()
        self.max_samples = round(max_seconds * SAMPLE_RATE)
        self.normalizes, self.augmentation, self.speed = normalizes, augmentation, speed

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: SampleIndex) -> Example:
        row = index.row
        waveform = change_speed(self.recordings[row], self.speed)
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, index.epoch, row, index.repeat)
        waveform = waveform[: self.max_samples]
        values = normalize(waveform) if self.normalizes else waveform
        return Example(values, self.labels[row], index, float(self.seconds[row]))


class HiddenStateDataset(Dataset[Example]):
    """The same utterances as hidden states, read from their cache."""

    def __init__(self, utterances: UtteranceDataset, states: StateReader) -> None:
        self.utterances, self.states = utterances, states

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: SampleIndex) -> Example:
        row, utterances = index.row, self.utterances
        stored = self.states.read(utterances.contents[row])
        seconds = float(utterances.seconds[row])
        values = stored.states.copy()
        return Example(values, utterances.labels[row], index, seconds, stored.spoken)


def collate(
    examples: list[Example], samples: int = 0, least: int = MIN_SAMPLES, grid: int = GRID
) -> Batch:
    """Join examples into a batch; see `ser.models.inputs.pad` for the arguments."""
    values, mask = pad([example.input_values for example in examples], samples, least, grid)
    if all(example.spoken is not None for example in examples):
        spoken = torch.tensor([example.spoken or 0 for example in examples])
        after = torch.arange(mask.shape[1]) >= spoken[:, None]
        mask = torch.where(after & (mask == SPEECH), SILENCE, mask)
    return Batch(
        input_values=values,
        attention_mask=mask,
        labels=torch.tensor([example.label for example in examples]),
        rows=[example.index.row for example in examples],
        seconds=sum(example.seconds for example in examples),
        weight=examples[0].index.weight,
    )
