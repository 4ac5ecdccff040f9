"""Windows of a stream are the windows of the same audio as a recording."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from ser.inference.live_windows import LiveWindows
from ser.inference.settings import WindowConfig
from ser.inference.windows import cut_blocks


def push_all(samples, rate, config, sizes):
    stream, windows, start = LiveWindows(rate, config), [], 0
    for size in sizes:
        windows += stream.push(samples[start : start + size])
        start += size
    windows += stream.push(samples[start:])
    return windows + list(stream.finish())


@settings(deadline=None, max_examples=60)
@given(
    length=st.integers(0, 40_000),
    window=st.floats(0.25, 1.5),
    hop=st.floats(0.1, 1),
    sizes=st.lists(st.integers(0, 9_000), max_size=8),
)
def test_a_stream_in_any_pieces_has_the_windows_of_the_recording(length, window, hop, sizes):
    config = WindowConfig(window, min(hop, window))
    samples = np.random.default_rng(length).uniform(-1, 1, length).astype(np.float32)
    expected = list(cut_blocks([samples], config))
    found = push_all(samples, 16_000, config, sizes)
    assert [each.start for each in found] == [each.start for each in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.waveform, other.waveform)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_stream_at_another_rate_is_resampled(rate):
    time = np.arange(4 * rate) / rate
    samples = (0.5 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    whole = soxr.resample(samples, rate, 16_000)
    windows = push_all(samples, rate, WindowConfig(1, 1), [rate // 10] * 40)
    assert [each.start for each in windows] == [0, 1, 2, 3]
    middle = windows[1].waveform
    np.testing.assert_allclose(middle, whole[16_000:32_000], atol=2e-3)


def test_memory_does_not_grow_with_the_stream():
    stream = LiveWindows(16_000, WindowConfig(1, 0.5))
    for _ in range(100):
        list(stream.push(np.zeros(16_000, np.float32)))
    assert sum(map(len, stream._slider._parts)) <= 32_000
