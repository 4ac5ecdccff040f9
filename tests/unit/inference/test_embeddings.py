"""Embeddings of recordings, compared with the hidden states of the network itself."""

import os

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ser.commands.main import app
from ser.errors import UserError
from ser.inference.embeddings import Embedding, Pool, write_parquet
from ser.inference.load import load_trained
from ser.inference.prediction import Failure
from ser.models.inputs import normalize


def noise(seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, round(16_000 * seconds)).astype(np.float32)


def hidden_states(predictor, waveform) -> list[np.ndarray]:
    values = torch.from_numpy(normalize(waveform))[None]
    with torch.no_grad():
        output = predictor.network(values, output_hidden_states=True)
    return [each[0].numpy() for each in output.hidden_states]


@pytest.mark.parametrize("layer", [0, 1])
def test_embeddings_are_the_hidden_states_of_the_layer(tiny_predictor, layer):
    """Also in a batch with a longer clip, on the grid of 0.1 s that needs no padding."""
    clips = [(noise(0.5, 1), 16_000), (noise(1.2, 2), 16_000)]
    frames = tiny_predictor.embed(clips, layer=layer, pool="none")
    means = tiny_predictor.embed(clips, layer=layer)
    for (waveform, _), each, mean in zip(clips, frames, means, strict=True):
        expected = hidden_states(tiny_predictor, waveform)[layer]
        np.testing.assert_allclose(each, expected, atol=1e-4)
        np.testing.assert_allclose(mean, expected.mean(axis=0), atol=1e-4)


def test_the_last_layer_is_the_default_and_long_recordings_are_cut(tiny_predictor):
    clip = (noise(5.0, 3), 16_000)
    depth = tiny_predictor.network.depth
    [default] = tiny_predictor.embed([clip])
    [last] = tiny_predictor.embed([clip], layer=depth)
    np.testing.assert_array_equal(default, last)
    [frames] = tiny_predictor.embed([clip], pool="none")
    # 5 s in frames of 20 ms, none twice; each window of 2 s has one frame less.
    assert len(frames) == pytest.approx(250 - 3, abs=1)
    np.testing.assert_allclose(default, frames.mean(axis=0), atol=1e-6)
    with pytest.raises(UserError):
        tiny_predictor.embed("a.wav")


def test_short_and_long_recordings_keep_their_order(tiny_predictor):
    clips = [(noise(seconds, seed), 16_000) for seed, seconds in enumerate((1, 5, 1.5, 7, 1))]
    together = tiny_predictor.embed(clips)
    for clip, found in zip(clips, together, strict=True):
        np.testing.assert_allclose(found, tiny_predictor.embed([clip])[0], atol=1e-4)


def test_unknown_layers_and_unusable_recordings_are_errors(tiny_predictor):
    with pytest.raises(UserError, match="layer=7"):
        tiny_predictor.embed([(noise(1, 1), 16_000)], layer=7)
    with pytest.raises(UserError, match="cannot be embedded"):
        tiny_predictor.embed([(np.zeros(0, np.float32), 16_000)])


def test_the_command_writes_a_row_for_every_recording(
    tiny_predictor, trained, tmp_path, write_tone
):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tone(tmp_path / "in" / "a.wav", pitch=300)
    (tmp_path / "in" / "b.wav").write_bytes(b"no audio")
    write_tone(tmp_path / "in" / "c.wav", pitch=200, seconds=0.9)
    output = tmp_path / "x.parquet"
    arguments = ["embed", str(tmp_path / "in"), "--ckpt", str(trained), "--output", str(output)]
    done = CliRunner().invoke(app, [*arguments, "--layer", "1", "--device", "cpu"])
    assert done.exit_code == 1, done.output  # one recording failed
    table = parquet.read_table(output)
    assert table.schema.metadata[b"layer"] == b"1"
    first, second, third = table.to_pylist()
    assert first["path"].endswith("a.wav")
    assert second["embedding"] is None
    assert second["error"]
    assert len(third["embedding"]) == load_trained(trained).network.config.hidden_size
    assert third["seconds"] == pytest.approx(0.9)
    with pytest.raises(UserError, match=r"\.parquet"):
        CliRunner().invoke(
            *(app, ["embed", "in", "--ckpt", "x", "--output", "x.npz"]), catch_exceptions=False
        )
    done = CliRunner().invoke(app, [*arguments, "--pool", "max"])
    assert done.exit_code == 2
    assert "--pool" in done.stderr


def test_no_recording_is_an_error(tmp_path):
    pytest.importorskip("pyarrow")
    output = tmp_path / "x.parquet"
    arguments = ["embed", "-", "--ckpt", "x", "--output", str(output)]
    done = CliRunner().invoke(app, arguments, input="")
    assert isinstance(done.exception, UserError)
    assert not output.exists()


def test_names_in_any_bytes_are_written(tmp_path):
    """Files and recordings whose names are not UTF-8, as under LANG=C."""
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(b"\xe4.wav")
    found = [Embedding(odd, 1.0, np.ones(2, np.float32)), Failure(odd, f"no such file: {odd}")]
    output = tmp_path / os.fsdecode(b"\xff.parquet")
    assert write_parquet(found, output, Pool.mean, {}) == (len(found), 1)
    with output.open("rb") as file:
        rows = parquet.read_table(file).to_pylist()
    assert [row["embedding"] for row in rows] == [[1.0, 1.0], None]
