from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from ser.audio.decode import load
from ser.inference.parity import (
    LogitParity,
    collect_clips,
    compare,
    make_batches,
    require_parity,
    synthesise,
)


def test_batches_are_of_several_sizes_and_lose_nothing():
    clips = [np.full(place + 1, place, np.float32) for place in range(12)]
    batches = list(make_batches(clips))
    assert [len(batch) for batch in batches] == [1, 2, 5, 1, 2, 1]
    assert [len(clip) for batch in batches for clip in batch] == list(range(1, 13))


def test_synthetic_clips_repeat_themselves_and_have_several_lengths():
    clips, again = synthesise(), synthesise()
    assert len({len(clip) for clip in clips}) >= 5
    assert all(np.array_equal(one, other) for one, other in zip(clips, again, strict=True))
    assert not np.array_equal(synthesise(1)[0], clips[0])


def test_the_largest_difference_and_the_agreement_are_found():
    clips = [np.array([value], np.float32) for value in (1.0, 2.0, 3.0, -1.0)]

    def judge(batch):
        return np.array([[clip[0], 0.0] for clip in batch], np.float32)

    def other(batch):
        return np.array([[clip[0] - (1.5 if clip[0] == 1 else 0.25), 0.0] for clip in batch])

    parity = compare(judge, other, clips)
    assert parity == LogitParity(4, 1.5, 0.75)


@pytest.mark.parametrize(
    ("parity", "int8", "good"),
    [
        (LogitParity(64, 0.0009, 1.0), False, True),
        (LogitParity(64, 0.0011, 1.0), False, False),
        (LogitParity(64, 0.5, 0.96), True, True),
        (LogitParity(64, 0.0, 0.94), True, False),
        (LogitParity(64, float("nan"), 1.0), False, False),
    ],
)
def test_parity_is_required(parity, int8, good):
    if good:
        require_parity(parity, "model", int8=int8)
    else:
        with pytest.raises(ValueError, match=r"model misses .*Nothing was written"):
            require_parity(parity, "model", int8=int8)


@pytest.mark.parametrize(
    ("samples", "message"),
    [(None, "gone.wav .*: no such file"), (8000, "no sound of 0.25 s")],
)
def test_clips_that_cannot_be_compared_are_named(samples, message, tmp_path):
    path = tmp_path / "gone.wav"
    if samples:
        soundfile.write(path, np.zeros(samples), 16_000)
    with pytest.raises(ValueError, match=message):
        collect_clips([str(path)], SimpleNamespace(max_seconds=8.0))  # pyright: ignore


def test_without_recordings_those_of_the_validation_part_are_compared(tmp_path, write_tone):
    paths = {part: write_tone(tmp_path / f"{part}.wav", 440) for part in ("train", "val")}
    rows = [f"{path},{part},," for part, path in paths.items()]
    rows += [f"{tmp_path / 'gone.wav'},val,,", f"{paths['val']},val,0.1,0.4"]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,split,start,end", *rows]))
    (tmp_path / "best.ckpt").touch()
    predictor: Any = SimpleNamespace(max_seconds=8.0)
    found = collect_clips([], predictor, str(tmp_path))
    assert (len(found.waveforms), found.kind) == (1, "validation recordings")
    np.testing.assert_array_equal(found.waveforms[0], load(paths["val"]))
    paths["val"].write_bytes(b"RIFF, damaged since")
    other = write_tone(tmp_path / "other.wav", 220)
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write(f"\n{other},val,,")
    assert len(collect_clips([], predictor, str(tmp_path)).waveforms) == 1
    other.unlink()
    assert collect_clips([], predictor, str(tmp_path)).kind == "clips of noise"
