"""Examples and how they are joined into a batch."""

import numpy as np
import pytest
import torch

from ser.data.dataset import Example, collate
from ser.data.sampler import SampleIndex
from ser.models.families.base import PADDING, SILENCE, SPEECH
from ser.models.inputs import normalize


def examples(*lengths: int, weight: float = 1.0) -> list[Example]:
    return [
        Example(np.ones(length, np.float32), 3, SampleIndex(row, weight=weight), length / 16_000)
        for row, length in enumerate(lengths)
    ]


def test_a_batch_is_padded_on_the_right_and_masked():
    batch = collate(examples(5000, 6000, weight=0.5))
    assert batch["input_values"].shape == (2, 6400)  # a multiple of 0.1 s
    assert batch["attention_mask"].sum(1).tolist() == [5000, 6000]
    assert batch["input_values"][0, 5000:].abs().sum() == 0
    assert batch["input_values"][0, :5000].min() == 1
    assert batch["labels"].tolist() == [3, 3]
    assert batch["rows"] == [0, 1]
    assert batch["seconds"] == pytest.approx(11_000 / 16_000)
    assert batch["weight"] == 0.5


def test_a_clip_shorter_than_the_receptive_field_counts_as_a_quarter_second():
    batch = collate(examples(10))
    assert batch["input_values"].shape == (1, 4800)
    assert batch["attention_mask"].sum() == 4000


def test_hidden_states_are_padded_and_their_silence_is_marked():
    states = [np.ones((frames, 2, 4), np.float16) for frames in (3, 6)]
    given = [
        Example(each, row, SampleIndex(row), 1.0, spoken)
        for row, (each, spoken) in enumerate(zip(states, (2, 6), strict=True))
    ]
    batch = collate(given, least=0, grid=5)
    assert batch["input_values"].shape == (2, 10, 2, 4)
    first, second = batch["attention_mask"].tolist()
    assert first == [SPEECH] * 2 + [SILENCE] + [PADDING] * 7
    assert second == [SPEECH] * 6 + [PADDING] * 4


@pytest.mark.parametrize(("scale", "offset"), [(0.1, 0.0), (1e-4, 0.3), (0.5, -0.2)])
def test_waveforms_are_normalised_as_the_feature_extractor_does(scale, offset):
    from transformers import Wav2Vec2FeatureExtractor

    waveform = np.random.default_rng(0).normal(offset, scale, 16_000).astype(np.float32)
    before = waveform.copy()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(waveform, sampling_rate=16_000).input_values[0]
    np.testing.assert_allclose(normalize(waveform), expected, atol=1e-4)
    np.testing.assert_array_equal(waveform, before)


def test_silence_stays_silence_when_it_is_normalised():
    assert torch.from_numpy(normalize(np.zeros(100, np.float32))).abs().max() == 0
