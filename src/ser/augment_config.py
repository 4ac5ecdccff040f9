"""The settings of augmentation: how likely each change is, and how large."""

from dataclasses import dataclass
from pathlib import Path

from ser.setting import require, setting

CHANGES = ("crop", "speed", "pitch", "reverb", "noise", "gain", "shift")


@dataclass
class AugmentConfig:
    """Of the training part only; the probability of each change is 0 unless it is asked for."""

    crop: float = setting(0.0, "probability of keeping a random stretch of an utterance")
    crop_share: float = setting(0.7, "how much of it at least")
    speed: float = setting(0.0, "probability of another speed at the same pitch")
    speed_change: float = setting(0.1, "up to this share faster or slower")
    pitch: float = setting(0.0, "probability of another pitch at the same speed")
    pitch_semitones: float = setting(2.0, "up to so many up or down; pitch carries emotion")
    reverb: float = setting(0.0, "probability of a simulated room, or of a recorded one")
    reverb_folder: str | None = setting(None, "impulse responses in place of simulated rooms")
    noise: float = setting(0.0, "probability of noise: white, or from recordings")
    noise_folder: str | None = setting(None, "recordings of noise in place of white noise")
    noise_snr: list[float] = setting([5.0, 30.0], "least and largest signal-to-noise ratio in dB")
    gain: float = setting(0.0, "probability of another level; normalisation undoes it, if on")
    gain_db: float = setting(6.0, "up to so many dB louder or softer")
    shift: float = setting(0.0, "probability of a shift in time, silence moving in")
    shift_seconds: float = setting(0.2, "up to so far")

    def __post_init__(self) -> None:
        for key in CHANGES:
            chance = getattr(self, key)
            require(0 <= chance <= 1, f"data.augment.{key}", chance, "a probability from 0 to 1")
        for key in ("crop_share", "speed_change"):
            share = getattr(self, key)
            require(0 < share < 1, f"data.augment.{key}", share, "a share between 0 and 1")
        for key, largest in (("pitch_semitones", 24), ("gain_db", 60), ("shift_seconds", 60)):
            size = getattr(self, key)
            require(0 < size <= largest, f"data.augment.{key}", size, f"above 0, up to {largest}")
        snr = self.noise_snr
        ordered = len(snr) == 2 and -40 <= snr[0] <= snr[1] <= 100
        require(ordered, "data.augment.noise_snr", snr, "two ratios in dB, the least first")
        for key in ("reverb_folder", "noise_folder"):
            folder = getattr(self, key)
            known = folder is None or Path(folder).expanduser().is_dir()
            require(known, f"data.augment.{key}", folder, "no such folder")

    @property
    def longest(self) -> float:
        """What the length of an utterance may be multiplied by."""
        return 1 / (1 - self.speed_change) if self.speed > 0 else 1.0

    @property
    def active(self) -> bool:
        return any(getattr(self, key) > 0 for key in CHANGES)
