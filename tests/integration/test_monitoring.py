"""What TensorBoard shows about the speed of a run and its worst errors."""

import io

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ser.preparation import manifest
from ser.training.callbacks.monitoring import Meter, Monitoring
from ser.training.train import train


def test_speed_is_summed_over_devices_and_waiting_is_a_share():
    meter = Meter(utterances=30, seconds=90.0, waited=1.0, worked=4.0)
    assert meter.read(devices=2) == {
        "speed/utterances_per_second": 12.0,
        "speed/audio_seconds_per_second": 36.0,
        "speed/data_wait": 0.2,
    }


def test_the_worst_errors_are_misclassified_utterances_by_loss():
    monitoring = Monitoring(worst_errors=2)
    monitoring.batches = [
        (torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]), [7, 8]),
        (torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([1, 1]), [9, 3]),
    ]
    first, second = monitoring.find_worst()
    assert [(error.row, error.label, error.predicted) for error in (first, second)] == [
        (8, 1, 0),
        (3, 1, 0),
    ]
    assert first.loss == pytest.approx(9, abs=1e-3)
    assert second.probability == pytest.approx(1 / (1 + np.exp(-3)))


def test_tensorboard_has_the_audio_of_the_worst_errors_and_a_table(quick_config, tmp_path):
    options = ["trainer.limit_train_batches=6", "trainer.gradient_clip_val=null"]
    train(quick_config(tmp_path, *options, "callbacks.monitoring.worst_errors=2"))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"audio": 0})
    events.Reload()
    assert len(events.Tags()["audio"]) == 2
    [text] = events.Tensors("val/worst_errors/text_summary")
    line = text.tensor_proto.string_val[0].decode().splitlines()[2]
    _, number, utterance, label, predicted, _, _ = (cell.strip() for cell in line.split("|"))
    table = manifest.read(tmp_path / "manifest.csv").query("split == 'val'")
    row = table[table.id == utterance].iloc[0]
    assert (number, row["emotion"]) == ("1", label) != ("1", predicted)
    [clip] = [tag for tag in events.Tags()["audio"] if utterance in tag and predicted in tag]
    [logged] = events.Audio(clip)
    samples, rate = soundfile.read(io.BytesIO(logged.encoded_audio_string))
    assert rate == 16_000
    assert len(samples) == pytest.approx(row["seconds"] * rate, abs=1)
    assert events.Scalars("train/grad_norm")[0].value > 0
    assert 0 <= events.Scalars("speed/data_wait")[0].value < 1


@pytest.mark.slow
def test_seconds_of_audio_are_counted_if_batches_are_hidden_states(quick_config, tmp_path):
    options = ["model=head", "model.freeze_feature_encoder=true", "trainer.log_every_n_steps=1"]
    train(quick_config(tmp_path, *options))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = ("utterances", "audio_seconds")
    utterances, seconds = (events.Scalars(f"speed/{n}_per_second") for n in names)
    lengths = [s.value / u.value for u, s in zip(utterances, seconds, strict=True)]
    assert all(0.9 <= length <= 1.3 for length in lengths)  # as long as the synthetic clips are
