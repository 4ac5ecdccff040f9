"""Random changes to the waveforms of the training part, by audiomentations (Jordal et al.).

They depend on the seed, the epoch, the utterance and how often it was drawn before in that epoch.
They do not depend on the number of loader processes or on whether the run was resumed.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.config.augment import AugmentConfig
from ser.errors import optional_dependency


class Augmentation:
    """Random crop, speed, pitch, reverberation, noise, gain and shift, each by its probability.

    Raises UserError if a library that the settings need is not installed.
    """

    def __init__(self, config: AugmentConfig, seed: int, max_seconds: float) -> None:
        self.config, self.seed = config, seed
        self.max_samples = round(max_seconds * SAMPLE_RATE)
        self.transforms = build_transforms(config)

    def __call__(self, waveform: Waveform, epoch: int, row: int, repeat: int = 0) -> Waveform:
        """The augmented waveform (time,) of a row of the training part in an epoch.

        `repeat` counts how often the row was drawn before in that epoch.
        """
        entropy = np.random.SeedSequence((self.seed, epoch, row, repeat))
        changed = self.crop(waveform, np.random.default_rng(entropy))
        with seeded(int(entropy.generate_state(1)[0])):
            for transform in self.transforms:
                changed = transform(changed, sample_rate=SAMPLE_RATE)
        return np.asarray(changed, np.float32)

    def crop(self, waveform: Waveform, generator: np.random.Generator) -> Waveform:
        """A random part of the waveform, no longer than `data.max_seconds`."""
        if generator.random() >= self.config.crop:
            return waveform
        whole = len(waveform)
        kept = min(round(whole * generator.uniform(self.config.crop_share, 1)), self.max_samples)
        start = int(generator.integers(whole - kept + 1))
        return waveform[start : start + kept]


def build_transforms(config: AugmentConfig) -> list[Any]:
    """The transforms with a probability above 0, in the order in which sound meets them."""
    with optional_dependency("augment"):
        import audiomentations
    low, high = config.noise_snr
    speed, pitch, shift = config.speed_change, config.pitch_semitones, config.shift_seconds
    transforms = {
        "speed": lambda: audiomentations.TimeStretch(
            min_rate=1 - speed, max_rate=1 + speed, leave_length_unchanged=False, p=config.speed
        ),
        "pitch": lambda: audiomentations.PitchShift(
            min_semitones=-pitch, max_semitones=pitch, p=config.pitch
        ),
        "reverb": lambda: build_reverb(config),
        "noise": lambda: (
            audiomentations.AddGaussianSNR(min_snr_db=low, max_snr_db=high, p=config.noise)
            if config.noise_folder is None
            else audiomentations.AddBackgroundNoise(
                sounds_path=Path(config.noise_folder).expanduser(),
                min_snr_db=low,
                max_snr_db=high,
                p=config.noise,
            )
        ),
        "gain": lambda: audiomentations.Gain(
            min_gain_db=-config.gain_db, max_gain_db=config.gain_db, p=config.gain
        ),
        "shift": lambda: audiomentations.Shift(
            min_shift=-shift, max_shift=shift, shift_unit="seconds", rollover=False, p=config.shift
        ),
    }
    return [build() for name, build in transforms.items() if getattr(config, name) > 0]


def build_reverb(config: AugmentConfig) -> Any:
    """Reverberation by recorded impulse responses or, without a folder of them, simulated rooms.

    Raises UserError if the library that simulates rooms is not installed.
    """
    import audiomentations

    if config.reverb_folder is not None:
        folder = Path(config.reverb_folder).expanduser()
        return audiomentations.ApplyImpulseResponse(ir_path=folder, p=config.reverb)
    with optional_dependency("augment"):
        import pyroomacoustics  # noqa: F401  (audiomentations imports it at the first use only)
    # Image sources only: ray tracing takes twenty times as long and cannot be seeded.
    return audiomentations.RoomSimulator(
        use_ray_tracing=False, max_order=10, leave_length_unchanged=True, p=config.reverb
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which audiomentations 0.43 uses, and restore them afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
