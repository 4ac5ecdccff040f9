"""Predictions adapted to speakers, and enrolled speakers."""

import json
import stat
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from typer.testing import CliRunner

from ser.commands.main import app
from ser.config.backbone import BackboneConfig
from ser.config.model import Mode, ModelConfig, Pooling, Standardize
from ser.errors import UserError
from ser.inference import enrolment
from ser.inference.adaptation import measure_speaker, predict_adapted
from ser.inference.clip_warnings import find_warnings
from ser.inference.enrolment import EnrolledSpeaker
from ser.inference.load import TrainedModel
from ser.inference.prediction import AdaptedTo, Failure, Prediction
from ser.inference.predictor import Predictor
from ser.inference.settings import PredictorConfig, WindowConfig
from ser.inference.sources import find_with_speakers
from ser.models.build import build_network
from ser.models.standardization import Standardization, Statistics

RATE = 16_000
LABELS = ("sad", "happy", "calm")
runner = CliRunner()


@pytest.fixture
def model() -> TrainedModel:
    """A tiny untrained network that can be adapted."""
    architecture = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 15,
        "num_conv_pos_embedding_groups": 4,
    }  # fmt: skip
    backbone = BackboneConfig("tiny", pretrained=False, architecture=architecture)
    options = {"mode": Mode.head, "projector": False, "pooling": Pooling.statistics}
    config = ModelConfig(backbone=backbone, standardize=Standardize.speaker, **options)
    torch.manual_seed(0)
    network = build_network(config, LABELS).eval()
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    generator = np.random.default_rng(0)
    mean, scale = generator.normal(0, 0.1, 64), generator.uniform(0.1, 0.2, 64)
    scaler: Any = network.scaler
    scaler.standardization = Standardization(mean, scale, generator.uniform(0.5, 2, 64))
    return TrainedModel("tiny", network, True, LABELS, 0.7, 2.0)


@pytest.fixture
def predictor(model: TrainedModel) -> Predictor:
    return Predictor(model, "cpu")


@pytest.fixture
def clips() -> list[tuple[np.ndarray, int]]:
    generator = np.random.default_rng(1)
    seconds = (1.0, 0.5, 1.5, 5.0, 0.7, 1.2)  # one of them is cut into windows
    return [(generator.normal(0, 0.1, round(each * RATE)).astype("f4"), RATE) for each in seconds]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(enrolment.FOLDER, str(tmp_path / "speakers"))
    return tmp_path / "speakers"


def predictions(results: Iterable[Any]) -> list[Any]:
    return list(results)


def expected_probabilities(predictor, waveforms, statistics) -> np.ndarray:
    """The head of the network, written out."""
    head, common = predictor.network.classifier, predictor.standardization
    distance = (((statistics.mean - common.mean) / common.scale) ** 2).mean()
    factor = max(1, (distance - 1 / statistics.count) / common.spread.mean())
    share = statistics.count * factor * common.spread
    share = share / (1 + share)
    mean = (1 - share) * common.mean + share * statistics.mean
    variance = (statistics.squares + 10 * common.scale**2) / (statistics.count + 9)
    features = np.concatenate([predictor.features([each]) for each in waveforms])
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    logits = (features - mean) / np.sqrt(variance) @ weight.T + bias
    return softmax(logits / predictor.temperature, axis=1)


def test_features_give_the_logits(predictor, clips):
    waveforms = [samples for samples, _ in clips[:3]]
    together = predictor.classify(predictor.features(waveforms))
    np.testing.assert_allclose(together, predictor.logits(waveforms), atol=1e-5)
    alone = [predictor.classify(predictor.features([each]))[0] for each in waveforms]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_recordings_are_adapted_to_those_of_their_speaker(predictor, clips):
    speakers = ["a", "b", "a", "a", None, "b"]
    results = predictions(predict_adapted(predictor, clips, speakers))
    assert [result.adapted_to for result in results] == [
        AdaptedTo("a", 4),  # 5 s are two whole windows of 2 s
        AdaptedTo("b", 2),
        AdaptedTo("a", 4),
        AdaptedTo("a", 4),
        None,
        AdaptedTo("b", 2),
    ]
    of_b = [clips[1][0], clips[5][0]]
    statistics = Statistics.of(np.concatenate([predictor.features([each]) for each in of_b]))
    expected = expected_probabilities(predictor, of_b, statistics)
    found = [list(results[place].probabilities.values()) for place in (1, 5)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    plain = predictions(predictor.stream([clips[4]]))[0]
    assert results[4].probabilities == pytest.approx(plain.probabilities, abs=1e-4)


def test_overlapping_windows_do_not_count_as_further_clips(predictor):
    clip = [(np.random.default_rng(0).normal(0, 0.1, 10 * 16_000).astype(np.float32), 16_000)]
    for hop in (1.0, 0.5, 0.1):
        sliding = WindowConfig(1.0, hop)
        [result] = predictions(predict_adapted(predictor, clip, ["a"], sliding=sliding))
        assert result.adapted_to == AdaptedTo("a", 10)


@pytest.mark.parametrize("batch_size", [1, 16])
def test_adapted_predictions_do_not_depend_on_batches_or_order(predictor, clips, batch_size):
    reference = predictions(predict_adapted(predictor, clips, [""] * 6))
    reverse = predictions(predict_adapted(predictor, clips[::-1], [""] * 6, batch_size=batch_size))
    for one, other in zip(reference, reverse[::-1], strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_a_recording_that_cannot_be_used_is_a_failure_and_no_clip(predictor, clips, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    results = predictions(predict_adapted(predictor, [str(broken), clips[0]], ["a", "a"]))
    assert isinstance(results[0], Failure)
    assert results[1].adapted_to == AdaptedTo("a", 1)


def test_features_that_are_not_finite_do_not_affect_other_recordings(predictor, clips, monkeypatch):
    [expected] = predictions(predict_adapted(predictor, clips[:1], ["a"]))
    compute = predictor.features

    def fail_at_the_second(waveforms):
        rows = compute(waveforms)
        rows[[len(each) == len(clips[1][0]) for each in waveforms]] = np.nan
        return rows

    monkeypatch.setattr(predictor, "features", fail_at_the_second)
    first, second = predict_adapted(predictor, clips[:2], ["a", "a"])
    assert isinstance(first, Prediction)
    assert first.adapted_to == AdaptedTo("a", 1)
    assert first.probabilities == pytest.approx(expected.probabilities, abs=1e-4)
    assert isinstance(second, Failure)


def test_a_terminal_shows_the_progress_of_features(predictor, clips, monkeypatch, capsys):
    predictions(predict_adapted(predictor, clips[:3], [""] * 3))
    assert "3/3" not in capsys.readouterr().err
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    predictions(predict_adapted(predictor, clips[:3], [""] * 3))
    assert "3/3" in capsys.readouterr().err


def test_a_predictor_is_adapted_to_an_enrolled_speaker(predictor, clips):
    statistics = measure_speaker(predictor, clips[:3])
    own = enrolment.fingerprint(predictor.standardization)
    EnrolledSpeaker("anna", "runs/x", own, statistics).write()
    expected = expected_probabilities(predictor, [clips[0][0]], statistics)
    enrolment.adapt_to(predictor, "anna", "runs/x")
    np.testing.assert_allclose(predictor.probabilities([clips[0][0]]), expected, atol=1e-4)
    result = next(iter(PredictorConfig("runs/x").predict(predictor, [clips[0]])))
    assert result.as_plain()["adapted_to"] == {"speaker": "anna", "clips": 3}
    with pytest.raises(UserError):
        predictor.adapt(statistics)


def test_other_predictors_of_the_same_model_are_not_adapted(model, clips):
    one, other = Predictor(model, "cpu"), Predictor(model, "cpu")
    expected = other.probabilities([clips[0][0]])
    one.adapt(measure_speaker(one, clips[:3]))
    np.testing.assert_array_equal(other.probabilities([clips[0][0]]), expected)
    assert not np.allclose(one.probabilities([clips[0][0]]), expected)


def test_a_model_without_statistics_cannot_be_adapted(tiny_predictor, clips):
    assert not tiny_predictor.adaptable
    with pytest.raises(UserError):
        predictions(predict_adapted(tiny_predictor, clips, [""] * 6))
    with pytest.raises(UserError):
        enrolment.adapt_to(tiny_predictor, "anna", "runs/x")


STATISTICS = Statistics(7, np.array([0.1, -1e-7, 3e8]), np.array([0.0, 2.5, 1e-12]))


def test_a_file_of_a_speaker_is_read_as_written(folder):
    path = EnrolledSpeaker("anna", "runs/x", "f00d", STATISTICS).write()
    found = enrolment.read(path)
    assert (found.name, found.model, found.fingerprint) == ("anna", "runs/x", "f00d")
    assert found.statistics.count == 7
    np.testing.assert_array_equal(found.statistics.mean, STATISTICS.mean)
    np.testing.assert_array_equal(found.statistics.squares, STATISTICS.squares)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.parent == folder


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "not JSON",
        lambda content: "[]",
        lambda content: json.dumps({k: v for k, v in content.items() if k != "mean"}),
        lambda content: json.dumps(content | {"mean": [1.0]}),
        lambda content: json.dumps(content | {"mean": [1.0, 2.0, "x"]}),
        lambda content: json.dumps(content | {"squares": [1.0, float("nan"), 0.0]}),
        lambda content: json.dumps(content | {"squares": [1.0, -1.0, 0.0]}),
        lambda content: json.dumps(content | {"clips": 0}),
        lambda content: json.dumps(content | {"schema": 99}),
    ],
)
def test_a_damaged_file_is_an_error_and_can_be_forgotten(change, folder):
    path = EnrolledSpeaker("anna", "runs/x", "f00d", STATISTICS).write()
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(UserError, match=path.name):
        enrolment.list_speakers()
    assert runner.invoke(app, ["enroll", "--forget", "anna"]).exit_code == 0
    assert list(folder.iterdir()) == []


def test_a_file_of_a_newer_version_is_not_called_damaged():
    path = EnrolledSpeaker("anna", "runs/x", "f00d", STATISTICS).write()
    path.write_text('{"schema": 99, "other": "fields"}')
    with pytest.raises(UserError, match="newer") as caught:
        enrolment.read(path)
    assert "--forget" not in str(caught.value)


def test_forget_removes_the_files_of_this_speaker_only(folder):
    for name, model in (("anna", "f00d"), ("anna", "beef"), ("anna-2", "f00d")):
        EnrolledSpeaker(name, "runs/x", model, STATISTICS).write()
    assert enrolment.forget("anna") == 2
    assert [path.name for path in folder.iterdir()] == ["anna-2.f00d.json"]
    with pytest.raises(UserError):
        enrolment.forget("anna")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a.b", ".", "x" * 65, "*"])
def test_a_name_that_is_no_file_name_is_an_error(name):
    with pytest.raises(UserError):
        enrolment.forget(name)


def test_a_speaker_enrolled_for_another_model_is_an_error(predictor):
    EnrolledSpeaker("anna", "runs/other", "f00d", STATISTICS).write()
    with pytest.raises(UserError, match="runs/other"):
        enrolment.adapt_to(predictor, "anna", "runs/x")


def test_the_list_names_speakers_models_and_clips():
    EnrolledSpeaker("anna", "runs/x", "f00d", STATISTICS).write()
    result = runner.invoke(app, ["enroll", "--list"])
    assert result.exit_code == 0
    assert all(word in result.output for word in ("anna", "runs/x", "7"))


@pytest.mark.parametrize(
    "words", [[], ["anna"], ["anna", "x.wav"], ["--list", "--forget", "a"], ["a", "b", "--list"]]
)
def test_incomplete_arguments_are_an_error(words):
    assert isinstance(runner.invoke(app, ["enroll", *words]).exception, UserError)


def test_warnings_for_few_and_for_similar_clips():
    common = Standardization(np.zeros(64), np.ones(64), np.ones(64))
    generator = np.random.default_rng(0)
    many, similar = generator.normal(0, 1, (20, 64)), generator.normal(0, 0.2, (20, 64))
    assert find_warnings(common, Statistics.of(many)) == []
    assert len(find_warnings(common, Statistics.of(similar))) == 1
    assert len(find_warnings(common, Statistics.of(similar[:3]))) == 2
    assert len(find_warnings(common, Statistics.of(many[:1]))) == 1  # its variation is unknown


def test_speakers_come_from_the_path(tmp_path, write_tone):
    for name in ("anna/1.wav", "anna/2.wav", "ben/1.wav", "other/1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found, speakers = find_with_speakers([str(tmp_path)], "(anna|ben)/")
    assert len(found) == 4
    assert speakers == ["anna", "anna", "ben", None]
    assert find_with_speakers([str(tmp_path)], "")[1] == [""] * 4
    for pattern in ("nobody", "(", "*"):
        with pytest.raises(UserError):
            find_with_speakers([str(tmp_path)], pattern)


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_speakers_come_from_a_column(tmp_path, suffix):
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(b"")
    table = tmp_path / f"table{suffix}"
    table.write_text("path,who\na.wav,anna\nb.wav,\n,ben\nc.wav,ben\n")
    found, speakers = find_with_speakers([str(table)], "who")
    assert [str(each)[-5:] for each in found] == ["a.wav", "b.wav", "c.wav"]
    assert speakers == ["anna", None, "ben"]
    with pytest.raises(UserError, match="who"):
        find_with_speakers([str(table)], "speaker_name")
    with pytest.raises(UserError, match="--adapt"):
        find_with_speakers([str(table)], "speaker")
    table.write_text("path,Speaker_ID\na.wav,anna\nb.wav,ben\n")
    assert find_with_speakers([str(table)], "speaker")[1] == ["anna", "ben"]


def test_a_recording_that_is_read_as_the_value_of_adapt_is_an_error():
    found = runner.invoke(app, ["predict", "--adapt", "folder", "--ckpt", "runs/x"]).exception
    assert isinstance(found, UserError)
    assert "folder" in str(found)
