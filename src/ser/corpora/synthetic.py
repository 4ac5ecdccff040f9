"""Synthetic stand-ins for RAVDESS, CREMA-D, TESS and SAVEE, for the quickstart and the tests.

The clips are not speech. Each is a harmonic source with formants. Pitch, pitch range, rate,
spectral tilt, jitter and contour depend on the emotion; register and vocal tract depend on the
speaker. A good score on these files shows that the code works and nothing else. Names, folders and
sample rates are those of the real corpora, with a sample of their oddities. The length of a clip
does not depend on its emotion.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.corpora import cremad, ravdess, savee, tess
from ser.corpora.emotions import Emotion
from ser.errors import UserError
from ser.system.atomic import locked, writing_folder
from ser.system.progress import progress_bar

VERSION = "Synthetic audio, version 1.\n"
NOTICE = f"""{VERSION}Generated tones, named like the files of RAVDESS, CREMA-D, TESS and SAVEE, for
trying out the software. They are not speech, and results on them say nothing about people.
"""
# Peterson and Barney (1952): the first three formants of men, in Hz.
FORMANTS = {"a": (730, 1090, 2440), "e": (530, 1840, 2480), "i": (270, 2290, 3010),
            "o": (570, 840, 2410), "u": (300, 870, 2240)}  # fmt: skip


@dataclass(frozen=True)
class Manner:
    """How an emotion is rendered: pitch as a factor, range and slope in semitones, rate in
    syllables per second, tilt in dB per octave, jitter as a share of the pitch.
    """

    pitch: float
    range: float
    slope: float
    rate: float
    tilt: float
    jitter: float


MANNERS = {
    Emotion.NEUTRAL: Manner(1.00, 1.5, -2, 4.2, -12, 0.003),
    Emotion.HAPPY: Manner(1.35, 6.0, 1, 5.2, -8, 0.004),
    Emotion.SAD: Manner(0.85, 1.5, -5, 2.8, -15, 0.015),
    Emotion.ANGRY: Manner(1.20, 3.5, -6, 6.0, -4, 0.020),
    Emotion.FEAR: Manner(1.65, 1.5, 2, 7.0, -12, 0.035),
    Emotion.DISGUST: Manner(0.80, 4.0, -3, 3.0, -6, 0.030),
    Emotion.SURPRISE: Manner(1.40, 3.0, 12, 4.0, -9, 0.004),
    Emotion.CALM: Manner(0.92, 0.5, 0, 1.8, -20, 0.001),
}


@dataclass(frozen=True)
class SyntheticClip:
    """One file to write: path below the folder of the corpora, sample rate in Hz."""

    path: str
    speaker: str
    gender: str
    emotion: Emotion
    sentence: str
    sample_rate: int


def ensure_corpora(folder: Path) -> Path:
    """The folder with the synthetic corpora, which are written if they are missing.

    Raises UserError if the folder holds something else; nothing in it is changed.
    """
    folder = folder.expanduser().absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        notice = folder / "SYNTHETIC.txt"
        if notice.is_file() and notice.read_text(encoding="utf-8").startswith(VERSION):
            return folder
        if folder.exists():
            raise UserError(
                f"data.synthetic={folder} exists and holds something else; choose another folder"
            )
        with writing_folder(folder) as draft:
            write_corpora(draft)
    return folder


def check_stand_ins(names: Iterable[str]) -> None:
    """Raise UserError for a corpus without a synthetic stand-in."""
    for name in names:
        if name not in STAND_INS:
            raise UserError(
                f"data.corpora={name}: data.synthetic has stand-ins for {', '.join(STAND_INS)} only"
            )


def write_corpora(folder: Path) -> None:
    """Write all stand-ins and their oddities into a new folder."""
    clips = [clip for plan in STAND_INS.values() for clip in plan()]
    with progress_bar("clips") as progress:
        for clip in progress.track(clips, description="Writing synthetic corpora"):
            path = folder / clip.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_clip(path, change_rate(speak(clip), clip.sample_rate), clip.sample_rate)
    add_oddities(folder)
    (folder / "SYNTHETIC.txt").write_text(NOTICE, encoding="utf-8")


def plan_ravdess() -> Iterator[SyntheticClip]:
    for actor in range(1, 11):
        gender = "male" if actor % 2 else "female"
        for code, emotion in ravdess.EMOTIONS.items():
            for take in ("01-01", "01-02", "02-01", "02-02"):
                path = f"ravdess/Actor_{actor:02}/03-01-{code}-01-{take}-{actor:02}.wav"
                yield SyntheticClip(path, f"ravdess/{actor}", gender, emotion, take[:2], 48_000)


def plan_cremad() -> Iterator[SyntheticClip]:
    for actor in range(1001, 1011):
        gender = "female" if str(actor) in cremad.WOMEN else "male"
        for code, emotion in cremad.EMOTIONS.items():
            for sentence in ("IEO", "TIE", "DFA", "WSI"):
                path = f"cremad/AudioWAV/{actor}_{sentence}_{code}_XX.wav"
                yield SyntheticClip(path, f"cremad/{actor}", gender, emotion, sentence, 16_000)


def plan_tess() -> Iterator[SyntheticClip]:
    for speaker in ("OAF", "YAF"):
        for code, emotion in tess.EMOTIONS.items():
            for word in ("back", "bite", "food", "germ", "neat", "youth"):
                folder = f"tess/TESS Toronto emotional speech set data/{speaker}_{emotion}"
                path = f"{folder}/{speaker}_{word}_{code}.wav"
                yield SyntheticClip(path, f"tess/{speaker}", "female", emotion, word, 24_414)


def plan_savee() -> Iterator[SyntheticClip]:
    for speaker in savee.SPEAKERS:
        for code, emotion in savee.EMOTIONS.items():
            for number in range(1, 5):
                path = f"savee/ALL/{speaker}_{code}{number:02}.wav"
                yield SyntheticClip(path, f"savee/{speaker}", "male", emotion, f"{number}", 44_100)


STAND_INS: dict[str, Callable[[], Iterator[SyntheticClip]]] = {
    "ravdess": plan_ravdess,
    "cremad": plan_cremad,
    "tess": plan_tess,
    "savee": plan_savee,
}


def add_oddities(folder: Path) -> None:
    """Add a sample of the irregular files of the real copies; see each module of `ser.corpora`."""
    actor = folder / "ravdess/Actor_01"
    mono, rate = soundfile.read(actor / "03-01-02-01-01-02-01.wav")
    write_clip(actor / "03-01-02-01-01-02-01.wav", np.column_stack([mono, mono]), rate)
    other = folder / "ravdess/Actor_07/03-01-03-01-02"
    shutil.copy(f"{other}-01-07.wav", f"{other}-02-07.wav")
    mirror = folder / "ravdess/audio_speech_actors_01-24/Actor_02"
    shutil.copytree(folder / "ravdess/Actor_02", mirror)
    cremad_folder = folder / "cremad/AudioWAV"
    shutil.copy(cremad_folder / "1006_TIE_HAP_XX.wav", cremad_folder / "1006_TIE_NEU_XX.wav")
    write_clip(cremad_folder / "1008_WSI_SAD_XX.wav", np.zeros(16_000), 16_000)
    (cremad_folder / "1010_IEO_ANG_XX (1).wav").write_bytes(
        (cremad_folder / "1010_IEO_ANG_XX.wav").read_bytes()
    )
    odd = next((folder / "tess").rglob("YAF_germ_angry.wav"))
    mono, rate = soundfile.read(odd)
    write_clip(odd, mono, rate, kind="AIFF")


def write_clip(path: Path, samples: np.ndarray, sample_rate: int, kind: str = "WAV") -> None:
    """Write samples in 16 bits. An error is that of the system, which libsndfile does not tell."""
    buffer = BytesIO()
    soundfile.write(buffer, samples, sample_rate, format=kind, subtype="PCM_16")
    path.write_bytes(buffer.getbuffer())


def generator_of(*words: str) -> np.random.Generator:
    """A generator seeded by the words alone, the same on every machine."""
    digest = hashlib.blake2b("/".join(words).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def speak(clip: SyntheticClip) -> Waveform:
    """About a second of audio (time,) at 16 kHz."""
    voice, take = generator_of(clip.speaker), generator_of(clip.path)
    male = clip.gender == "male"
    register = voice.uniform(95, 130) if male else voice.uniform(175, 230)
    tract = voice.uniform(0.95, 1.05) * (1.0 if male else 1.17)
    manner = MANNERS[clip.emotion]
    time = np.arange(round(take.uniform(0.9, 1.3) * SAMPLE_RATE)) / SAMPLE_RATE
    position = time / time[-1]
    beat = manner.rate * take.uniform(0.93, 1.07) * time
    semitones = manner.slope * (position - 0.5) + manner.range * 0.5 * np.sin(np.pi * beat)
    wobble = np.interp(time, time[::80], take.normal(0, manner.jitter, len(time[::80])))
    pitch = register * manner.pitch * take.uniform(0.95, 1.05) * 2 ** (semitones / 12)
    pitch *= 1 + wobble
    vowels = generator_of(clip.sentence).choice(list(FORMANTS), 16)
    syllable = np.minimum(beat.astype(int), 15)
    formants = np.array([FORMANTS[vowel] for vowel in vowels])[syllable].T * tract
    samples = harmonics(pitch, formants, manner.tilt) * (0.25 + np.abs(np.sin(np.pi * beat)))
    fade = np.minimum(1, np.minimum(position, 1 - position) * 20)
    samples = samples * fade / np.abs(samples).max() * take.uniform(0.2, 0.7)
    return (samples + take.normal(0, 0.002, len(time))).astype(np.float32)


def harmonics(pitch: np.ndarray, formants: np.ndarray, tilt: float) -> np.ndarray:
    """A source of 30 harmonics of `pitch` (time,) in Hz, shaped by `formants` (3, time) in Hz."""
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    samples = np.zeros_like(pitch)
    for number in range(1, 31):
        frequency = number * pitch
        gain = 10 ** (tilt * np.log2(number) / 20) * (frequency < 0.45 * SAMPLE_RATE)
        resonance = sum(1 / (1 + ((frequency - centre) / 120) ** 2) for centre in formants)
        samples += gain * (0.05 + resonance) * np.sin(number * phase)
    return samples


def change_rate(waveform: Waveform, sample_rate: int) -> Waveform:
    if sample_rate == SAMPLE_RATE:
        return waveform
    return soxr.resample(waveform, SAMPLE_RATE, sample_rate)
