from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.audio.decode import OpenRecording, decode, load
from ser.audio.examine import examine
from ser.audio.recording import SAMPLE_RATE, Fault
from ser.audio.resample import resample


def test_stereo_is_mixed_to_the_mean_of_its_channels(tmp_path):
    left, right = np.full(800, 0.5), np.full(800, 0.1)
    soundfile.write(tmp_path / "s.wav", np.column_stack([left, right]), 8000, subtype="FLOAT")
    recording = decode(tmp_path / "s.wav")
    assert (recording.sample_rate, recording.channels) == (8000, 2)
    np.testing.assert_allclose(recording.waveform, np.full(800, 0.3), atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "AIFF", "subtype": "PCM_16"},
        {"format": "FLAC"},
        {"subtype": "PCM_24"},
        {"subtype": "FLOAT"},
        {"subtype": "PCM_U8"},
        {"format": "MP3"},
        {"format": "OGG"},
    ],
)
def test_the_content_decides_how_a_wav_file_is_read(tmp_path, write_tone, options):
    clip, samples = examine(write_tone(tmp_path / "tone.wav", **options))
    assert clip.fault == ""
    assert len(samples) == pytest.approx(
        SAMPLE_RATE // 2, abs=0 if "format" not in options or options["format"] != "MP3" else 2000
    )
    assert np.abs(samples).max() * clip.peak / 32767 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("rate", [8000, 24_414, 44_100, 48_000, 96_000])
def test_resampling_keeps_a_tone_in_place(rate):
    time = np.arange(rate) / rate
    tone = resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), rate)
    assert len(tone) == SAMPLE_RATE
    expected = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    np.testing.assert_allclose(tone[800:-800], expected[800:-800], atol=2e-3)


def write_fault(folder: Path, fault: Fault, write_tone) -> Path:
    path = folder / f"{fault}.wav"
    if fault == Fault.OUT_OF_RANGE:
        return write_tone(path)
    if fault == Fault.EMPTY:
        path.touch()
    elif fault == Fault.LFS_POINTER:
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 72862\n")
    elif fault == Fault.NOT_AUDIO:
        path.write_text("<html>Not found</html>" * 20)
    elif fault == Fault.UNSUPPORTED:
        path.write_bytes(
            write_tone(path).read_bytes().replace(b"\x10\0\0\0\1\0", b"\x10\0\0\0\x99\x99")
        )
    elif fault == Fault.DAMAGED:
        path.write_bytes(b"OggS" + bytes(100))
    elif fault == Fault.SEVERAL:
        path.write_bytes(write_tone(path).read_bytes() * 2)
    elif fault == Fault.HIGH_RATE:
        write_tone(path, rate=2_000_000)
    elif fault == Fault.TRUNCATED:
        whole = write_tone(path).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == Fault.NOT_FINITE:
        soundfile.write(path, np.full(1600, np.nan), 16_000, subtype="FLOAT")
    elif fault == Fault.LOW_RATE:
        soundfile.write(path, np.sin(np.arange(1600)), 1)
    elif fault == Fault.SILENT:
        soundfile.write(path, np.full(1600, 5e-4), 16_000)
    elif fault == Fault.CLIPPED:
        tone = 3 * np.sin(np.arange(16_000) / 20)
        soundfile.write(path, tone.clip(-1, 1), 16_000)
    elif fault == Fault.UNREADABLE:
        path.symlink_to(path)  # a loop
    return path


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_is_told_by_name(tmp_path, write_tone, fault):
    path = write_fault(tmp_path, fault, write_tone)
    clip, samples = examine(path, end=9.0 if fault == Fault.OUT_OF_RANGE else 0.0)
    assert clip.fault == fault
    assert len(samples) == 0


def test_a_file_without_samples_is_empty(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16_000)
    assert examine(tmp_path / "none.wav")[0].fault == Fault.EMPTY


def test_content_is_the_same_in_another_container_and_other_at_another_pitch(tmp_path, write_tone):
    wav = examine(write_tone(tmp_path / "a.wav"))[0]
    aiff = examine(write_tone(tmp_path / "b.wav", format="AIFF", subtype="PCM_16"))[0]
    other = examine(write_tone(tmp_path / "c.wav", pitch=221))[0]
    assert wav.content == aiff.content != other.content


def test_content_tells_sample_rates_apart(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(tmp_path / "slow.wav", noise, 8000)
    soundfile.write(tmp_path / "fast.wav", noise, 16_000)
    assert examine(tmp_path / "slow.wav")[0].content != examine(tmp_path / "fast.wav")[0].content


def test_a_clip_of_less_than_a_sample_is_empty(tmp_path):
    soundfile.write(tmp_path / "blip.wav", np.array([0.5, -0.5]), 96_000)
    assert examine(tmp_path / "blip.wav")[0].fault == Fault.EMPTY


@pytest.mark.parametrize("rate", [24_414, 48_000])
def test_decoding_gives_what_librosa_gives(tmp_path, rate):
    import librosa

    noise = np.random.default_rng(0).normal(0, 0.1, (rate, 2))
    soundfile.write(tmp_path / "noise.wav", noise, rate)
    expected, _ = librosa.load(tmp_path / "noise.wav", sr=SAMPLE_RATE)
    np.testing.assert_allclose(load(tmp_path / "noise.wav"), expected, atol=1e-5)


def test_a_cut_flac_file_is_truncated(tmp_path, write_tone):
    whole = write_tone(tmp_path / "a.flac", seconds=3).read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: len(whole) * 2 // 3])
    assert examine(tmp_path / "a.flac")[0].fault == Fault.TRUNCATED


def test_a_constant_is_silent(tmp_path):
    soundfile.write(tmp_path / "offset.wav", np.full(16_000, 0.4), 16_000)
    assert examine(tmp_path / "offset.wav")[0].fault == Fault.SILENT


def test_a_full_scale_tone_is_not_clipped(tmp_path):
    soundfile.write(tmp_path / "tone.wav", np.sin(np.arange(16_000) / 20), 16_000)
    clip, _ = examine(tmp_path / "tone.wav")
    assert clip.fault == ""
    assert 0.01 < clip.clipped < 0.05


def test_two_equal_channels_are_the_same_recording_as_one(tmp_path, write_tone):
    mono, rate = soundfile.read(write_tone(tmp_path / "mono.wav"))
    soundfile.write(tmp_path / "stereo.wav", np.column_stack([mono, mono]), rate)
    one, two = examine(tmp_path / "mono.wav")[0], examine(tmp_path / "stereo.wav")[0]
    assert (one.channels, two.channels) == (1, 2)
    assert one.content == two.content


def cancelling(seconds: int, rate: int) -> np.ndarray:
    """Two channels of opposite phase for 40 s, of a quieter copy and noise afterwards."""
    generator = np.random.default_rng(0)
    one = 0.3 * np.sin(0.05 * np.arange(seconds * rate)) + 0.1 * generator.normal(
        size=seconds * rate
    )
    two = np.where(np.arange(seconds * rate) < 40 * rate, -one, 0.5 * one + 0.1)
    return np.stack([one, two], axis=1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_part_does_not_depend_on_the_parts_that_were_read_before(tmp_path, suffix):
    path = tmp_path / f"stereo.{suffix}"
    soundfile.write(path, 0.5 * cancelling(100, 8000), 8000)
    spans = [(0.0, 2.0), (1.0, 3.0), (35.0, 45.0), (39.0, 41.0), (70.0, 72.0), (98.5, 0.0)]
    with path.open("rb", buffering=0) as file, OpenRecording(file) as recording:
        for start, end in [*spans, (0.0, 0.0), *reversed(spans)]:
            alone = decode(path, start, end)
            found = recording.read(start, end)
            np.testing.assert_array_equal(found.samples, alone.samples)
            assert found.note == alone.note
