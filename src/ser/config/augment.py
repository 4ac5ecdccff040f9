"""Settings of waveform augmentation: the probability and the size of each change."""

from dataclasses import dataclass

from ser.config.fields import require_folder, setting
from ser.errors import require

CHANGES = ("crop", "speed", "pitch", "reverb", "noise", "gain", "shift")


@dataclass
class AugmentConfig:
    """Augmentation of the training part. All probabilities are 0 by default."""

    crop: float = setting(0.0, "probability of a random crop")
    crop_share: float = setting(0.7, "minimum share of the utterance that a crop keeps")
    speed: float = setting(0.0, "probability of another tempo at the same pitch")
    speed_change: float = setting(0.1, "maximum change of the tempo, as a share")
    pitch: float = setting(0.0, "probability of another pitch at the same tempo")
    pitch_semitones: float = setting(2.0, "maximum pitch shift in semitones")
    reverb: float = setting(0.0, "probability of reverberation")
    reverb_folder: str | None = setting(None, "impulse responses; null: simulated rooms")
    noise: float = setting(0.0, "probability of added noise")
    noise_folder: str | None = setting(None, "noise recordings; null: white noise")
    noise_snr: list[float] = setting([5.0, 30.0], "minimum and maximum signal-to-noise ratio in dB")
    gain: float = setting(0.0, "probability of another level; undone by waveform normalisation")
    gain_db: float = setting(6.0, "maximum change of the level in dB")
    shift: float = setting(0.0, "probability of a shift in time, filled with silence")
    shift_seconds: float = setting(0.2, "maximum shift in seconds")

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
        require(ordered, "data.augment.noise_snr", snr, "two ratios in dB, the smaller one first")

    def check_files(self) -> None:
        """Raise UserError for a missing folder."""
        for key in ("reverb_folder", "noise_folder"):
            require_folder(f"data.augment.{key}", getattr(self, key))

    @property
    def longest(self) -> float:
        """The largest factor by which an utterance can become longer."""
        return 1 / (1 - self.speed_change) if self.speed > 0 else 1.0

    @property
    def changes(self) -> list[str]:
        """The changes that are in use."""
        return [key for key in CHANGES if getattr(self, key) > 0]

    @property
    def active(self) -> bool:
        return bool(self.changes)
