import os

import pandas as pd
import pytest

from ser.commands.prepare import check_unchanged
from ser.errors import UserError
from ser.preparation.verify import verify


@pytest.fixture
def built(tmp_path, write_tone, build_manifest) -> pd.DataFrame:
    for number, word in enumerate(("back", "bar", "base")):
        write_tone(tmp_path / f"t/OAF_{word}_sad.wav", pitch=200 + 50 * number)
    return build_manifest(tmp_path / "cache", tess=tmp_path / "t").utterances


def test_unchanged_files_are_fine(built):
    assert verify(built) == []


def test_changed_samples_are_found_although_size_and_time_are_the_same(built, write_tone, tmp_path):
    path = tmp_path / "t/OAF_bar_sad.wav"
    state = path.stat()
    write_tone(path, pitch=999)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size
    [changed] = verify(built)
    assert (changed.id, changed.path) == ("tess/OAF_bar_sad", str(path))


def test_missing_and_damaged_files_are_found(built, tmp_path):
    (tmp_path / "t/OAF_back_sad.wav").unlink()
    (tmp_path / "t/OAF_base_sad.wav").write_bytes(b"")
    problems = {changed.id: changed.problem for changed in verify(built)}
    assert set(problems) == {"tess/OAF_back_sad", "tess/OAF_base_sad"}
    assert problems["tess/OAF_base_sad"].startswith("empty")


def test_the_command_fails_and_names_what_changed(built, tmp_path):
    check_unchanged(built)
    (tmp_path / "t/OAF_back_sad.wav").write_bytes(b"")
    with pytest.raises(UserError, match=r"OAF_back_sad\.wav"):
        check_unchanged(built)
