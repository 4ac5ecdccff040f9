import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.config.augment import CHANGES, AugmentConfig
from ser.data.augment import Augmentation, build_transforms

SPEECH = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)


def change(config: AugmentConfig, epoch: int = 0, row: int = 0, seed: int = 0) -> np.ndarray:
    return Augmentation(config, seed, 8.0)(SPEECH, epoch, row)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_depends_on_seed_epoch_and_row_only(kind):
    options: dict[str, Any] = {kind: 1.0}
    config = AugmentConfig(**options)
    one = change(config)
    random.seed(5)
    np.random.seed(5)
    np.testing.assert_array_equal(change(config), one)
    others = [change(config, epoch=1), change(config, row=1), change(config, seed=1)]
    for each in [SPEECH, *others]:
        assert len(each) != len(one) or np.abs(each - one).max() > 1e-3
    assert one.dtype == np.float32
    assert np.isfinite(one).all()


def test_the_global_generators_are_restored():
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    change(AugmentConfig(noise=1.0, gain=1.0))
    assert (random.random(), np.random.rand()) == expected


def test_by_default_nothing_changes():
    config = AugmentConfig()
    assert not config.active
    assert build_transforms(config) == []
    np.testing.assert_array_equal(change(config), SPEECH)


def test_a_change_happens_with_its_probability():
    config = AugmentConfig(gain=0.3)
    changed = sum(not np.array_equal(change(config, row=row), SPEECH) for row in range(300))
    assert 60 < changed < 120


def test_noise_has_the_asked_ratio():
    noise = change(AugmentConfig(noise=1.0, noise_snr=[10.0, 10.0])) - SPEECH
    ratio = 10 * np.log10(np.mean(SPEECH**2) / np.mean(noise**2))
    assert ratio == pytest.approx(10, abs=0.2)


def test_speed_changes_the_length_within_its_limits():
    lengths = {len(change(AugmentConfig(speed=1.0), row=row)) for row in range(5)}
    assert len(lengths) > 1
    assert all(32_000 / 1.12 < length < 32_000 / 0.88 for length in lengths)


def test_a_crop_is_a_part_of_the_utterance_within_the_maximum():
    crop = AugmentConfig(crop=1.0, crop_share=0.5)
    part = change(crop)
    assert 16_000 <= len(part) < 32_000
    start = int(np.flatnonzero(part[0] == SPEECH)[0])
    np.testing.assert_array_equal(SPEECH[start : start + len(part)], part)
    starts = {float(Augmentation(crop, 0, 0.25)(SPEECH, 0, row)[0]) for row in range(5)}
    assert len(starts) > 1
    assert len(Augmentation(crop, 0, 0.25)(SPEECH, 0, 0)) == 4000


def test_recorded_noise_and_rooms_can_be_used(tmp_path: Path):
    impulse = np.zeros(8000)
    impulse[[0, 1000]] = 1.0
    soundfile.write(tmp_path / "impulse.wav", impulse / 2, 16_000)
    for options in (
        {"reverb": 1.0, "reverb_folder": str(tmp_path)},
        {"noise": 1.0, "noise_folder": str(tmp_path)},
    ):
        changed = change(AugmentConfig(**options))
        assert len(changed) == len(SPEECH)
        assert np.abs(changed - SPEECH).max() > 1e-3
