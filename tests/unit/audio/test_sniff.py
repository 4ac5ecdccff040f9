import io

import pytest
from recording_formats import WITH_LIBSNDFILE, WITH_PYAV, speech

from ser.audio.sniff import HEAD, identify, read_input
from ser.errors import UserError


class Trickle(io.BytesIO):
    """A pipe whose writer is slow."""

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(min(7, size or 7))


@pytest.mark.parametrize("name", [*WITH_LIBSNDFILE, *WITH_PYAV])
def test_a_recording_on_standard_input_is_recognised(name, recordings):
    whole = recordings(name)
    for stream in (io.BytesIO(whole), Trickle(whole)):
        head, recording = read_input(stream)
        assert recording
        assert head + stream.read() == whole


@pytest.mark.parametrize(
    "text",
    [
        b"one.wav\ntwo.wav\n",
        b"a.wav",
        "größe/ä.wav\n".encode(),
        "größe.wav\n".encode("latin-1"),
        b"\n\nb.wav\n",
        b"RIFF.wav\nfLaC\n",
        b"ID3\n",
        b"C:\\audio\\a.wav\r\n",
        b"x" * 3000 + b".wav\n",
    ],
)
def test_paths_on_standard_input_are_text(text):
    for stream in (io.BytesIO(text), Trickle(text)):
        head, recording = read_input(stream)
        assert not recording
        assert head + stream.read() == text


def test_the_first_path_is_not_held_back_until_there_are_more():
    class Open(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            line = self.readline()
            assert line, "the reader waits for a line that does not come"
            return line

    head, recording = read_input(Open(b"first.wav\n"))
    assert (head, recording) == (b"first.wav\n", False)


def test_nothing_on_standard_input_is_text():
    assert read_input(io.BytesIO(b"")) == (b"", False)


@pytest.mark.parametrize(
    "content",
    [
        (speech(1.0) * 32767).astype("<i2").tobytes(),
        speech(1.0).astype("<f4").tobytes(),
        bytes(20_000),
        b"\xff\xfe" + (speech(1.0) * 32767).astype("<i2").tobytes(),
        b"PK\x03\x04\0\0\0\0",
    ],
)
def test_raw_samples_on_standard_input_are_refused(content):
    with pytest.raises(UserError, match="ffmpeg -f s16le"):
        read_input(io.BytesIO(content))


def test_random_bytes_are_hardly_ever_recordings():
    import numpy as np

    random = np.random.default_rng(0)
    assert all(identify(random.bytes(HEAD)) is None for _ in range(1000))
