"""What TensorBoard shows of a run's speed and of its worst errors."""

import io

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ser import manifest
from ser.monitoring import Meter, find_errors
from ser.training import train


def test_speed_is_counted_over_all_devices_and_waiting_is_a_share():
    meter = Meter(utterances=30, seconds=90.0, waited=1.0, worked=4.0)
    assert meter.read(devices=2) == {
        "speed/utterances_per_second": 12.0,
        "speed/audio_seconds_per_second": 36.0,
        "speed/data_wait": 0.2,
    }


def test_mistakes_are_the_wrong_ones_with_what_they_were_taken_for():
    logits = torch.tensor([[9.0, 0.0], [9.0, 0.0], [1.0, 0.0]])
    batch = {"labels": torch.tensor([0, 1, 1]), "rows": torch.tensor([7, 8, 9])}
    found = find_errors(logits, batch)
    assert [(mistake.row, mistake.label, mistake.predicted) for mistake in found] == [
        (8, 1, 0),
        (9, 1, 0),
    ]
    assert found[0].loss == pytest.approx(9, abs=1e-3)
    assert found[1].probability == pytest.approx(1 / (1 + np.exp(-1)))


def test_tensorboard_plays_the_worst_errors_and_says_what_they_are(quick_config, tmp_path):
    options = ["trainer.limit_train_batches=6", "trainer.gradient_clip_val=null"]
    train(quick_config(tmp_path, *options, "callbacks.monitoring.worst_errors=2"))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"audio": 0})
    events.Reload()
    assert events.Tags()["audio"] == ["val/worst_errors/1", "val/worst_errors/2"]
    [heard] = events.Audio("val/worst_errors/1")
    samples, rate = soundfile.read(io.BytesIO(heard.encoded_audio_string))
    assert rate == 16_000
    [shown] = events.Tensors("val/worst_errors/text_summary")
    line = shown.tensor_proto.string_val[0].decode().splitlines()[2]
    _, number, utterance, is_, taken_for, _, _ = (cell.strip() for cell in line.split("|"))
    table = manifest.read(tmp_path / "manifest.csv").query("split == 'val'")
    row = table[table.id == utterance].iloc[0]
    assert (number, row["emotion"]) == ("1", is_) != ("1", taken_for)
    assert len(samples) == pytest.approx(row["seconds"] * rate, abs=1)
    assert events.Scalars("train/grad_norm")[0].value > 0
    assert 0 <= events.Scalars("speed/data_wait")[0].value < 1


def test_seconds_of_audio_are_counted_where_batches_are_hidden_states(quick_config, tmp_path):
    options = ["model=head", "model.freeze_feature_encoder=true", "trainer.log_every_n_steps=1"]
    train(quick_config(tmp_path, *options))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = ("utterances", "audio_seconds")
    utterances, seconds = (events.Scalars(f"speed/{n}_per_second") for n in names)
    lengths = [s.value / u.value for u, s in zip(utterances, seconds, strict=True)]
    assert all(0.9 <= length <= 1.3 for length in lengths)  # as long as the synthetic clips are
