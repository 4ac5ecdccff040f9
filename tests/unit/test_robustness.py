import numpy as np
import pytest

from ser.robustness import (
    DISTURBANCES,
    Point,
    Robustness,
    add_noise,
    amplify,
    cut,
    limit_band,
    measure,
    reverberate,
)

TIME = np.arange(16_000) / 16_000


def tone(frequency: float) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)


def power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("level", [30, 0])
def test_noise_has_the_ratio_asked_for(level):
    noisy = add_noise(tone(440), level, generator())
    ratio = 10 * np.log10(power(tone(440)) / power(noisy - tone(440)))
    assert ratio == pytest.approx(level, abs=0.01)


def test_a_telephone_passes_its_band_and_nothing_else():
    loss = {
        frequency: 10 * np.log10(power(limit_band(tone(frequency), 3400, generator())) / 0.125)
        for frequency in (100, 1000, 6000)
    }
    assert loss[1000] == pytest.approx(0, abs=0.5)
    assert loss[100] < -25
    assert loss[6000] < -25


def test_reverberation_goes_on_after_the_sound_and_falls_by_60_db_in_its_time():
    click = np.zeros(16_000, np.float32)
    click[0] = 1
    tail = reverberate(click, 0.5, generator())
    assert tail[0] == pytest.approx(1)
    assert np.sum(tail[1:] ** 2) == pytest.approx(0.5, rel=0.05)  # at one second, 1
    early, late = power(tail[800:1600]), power(tail[4800:5600])  # 0.25 s apart: half of 60 dB
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1)


def test_a_recorder_clips_what_is_loud_and_rounds_what_is_quiet():
    loud = amplify(tone(100), 20, generator())
    assert np.abs(loud).max() == 1
    assert np.mean(np.abs(loud) > 0.99) > 0.8
    quiet = amplify(tone(100), -80, generator())
    assert len(np.unique(quiet)) == 5  # 0.5 * 1e-4 * 32768 is 1.6: from -2 to 2


def test_a_cut_keeps_the_middle_and_never_lengthens():
    samples = np.arange(16_000, dtype=np.float32)
    np.testing.assert_array_equal(cut(samples, 0.5, generator()), samples[4000:12000])
    assert len(cut(samples, 2.0, generator())) == 16_000


def test_every_level_is_measured_and_shown():
    labels = np.array([0, 1, 0, 1])

    def predict(name: str | None, level: float) -> np.ndarray:
        wrong = name == "noise" and level <= 5
        return np.eye(2)[1 - labels if wrong else labels]

    found = measure(predict, labels, ("sad", "calm"))
    assert found.undisturbed.uar == 1
    assert [point.uar for point in found.curves["noise"]] == [1, 1, 1, 0, 0]
    assert all(len(found.curves[name]) == len(each.levels) for name, each in DISTURBANCES.items())
    rows = found.tabulate().rows
    assert ["White noise", "5 dB SNR", "0.0%", "0.0%"] in rows
    assert len(found.draw().axes) == len(DISTURBANCES)


def test_a_disturbed_reading_depends_on_seed_and_content_alone(tmp_path, write_tone):
    import pandas as pd

    from ser.cache import AudioCache
    from ser.robustness import DisturbedAudio

    sources = pd.DataFrame(
        {"path": [str(write_tone(tmp_path / "a.wav"))], "start": 0.0, "end": 0.0}
    )
    cache = AudioCache(tmp_path / "cache")
    contents = cache.add(sources)["content"].tolist()
    first = DisturbedAudio(cache, "noise", 10, seed=0).recordings(contents)[0]
    again = DisturbedAudio(cache, "noise", 10, seed=0).recordings([*contents, *contents])[1]
    np.testing.assert_array_equal(first, again)
    other = DisturbedAudio(cache, "noise", 10, seed=1).recordings(contents)[0]
    assert not np.array_equal(first, other)


def test_plain_values_can_be_written_down():
    import json

    point = Point(0.0, 0.5, 0.5)
    plain = Robustness(3, point, {"noise": [point]}).to_plain()
    assert json.loads(json.dumps(plain)) == plain
