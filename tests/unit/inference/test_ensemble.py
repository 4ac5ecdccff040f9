"""Ensembles: the weighted mean of calibrated probabilities, whatever each member needs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ser.config.backbone import BackboneConfig
from ser.config.model import ModelConfig
from ser.errors import UserError
from ser.inference.ensemble import Ensemble, EnsembleNetwork, check_labels, weigh_by_validation
from ser.inference.load import TrainedModel, load_trained
from ser.inference.predictor import Predictor
from ser.models.build import build_network

LABELS = ("sad", "happy", "calm")
CONVOLUTIONAL = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": [16] * 7, "num_conv_pos_embeddings": 15, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
WHISPER = {
    "model_type": "whisper", "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
}  # fmt: skip


def model(architecture: dict, labels=LABELS, temperature: float = 1.0) -> TrainedModel:
    torch.manual_seed(1)
    backbone = BackboneConfig("tiny", pretrained=False, architecture=architecture)
    network = build_network(ModelConfig(backbone=backbone), LABELS).eval()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    normalizes = architecture.get("model_type") != "whisper"
    return TrainedModel("tiny", network, normalizes, labels, temperature, 2.0)


def test_members_of_several_families_are_averaged_by_weight():
    """Also with padding, with another order of the classes, and with temperatures."""
    members = [
        model(CONVOLUTIONAL, temperature=0.5),
        model(WHISPER, ("calm", "sad", "happy"), temperature=2.0),
    ]
    network: Any = EnsembleNetwork(members, [0.25, 0.75])
    both = TrainedModel("both", network, False, LABELS, None, 2.0)
    rng = np.random.default_rng(0)
    clips = [(rng.normal(0, 0.1, n).astype(np.float32), 16_000) for n in (8000, 14_500)]
    together = Predictor(both, "cpu")(clips)
    alone = [Predictor(each, "cpu")(clips) for each in members]
    for row, prediction in enumerate(together):
        for label in LABELS:
            first, second = (each[row].probabilities[label] for each in alone)
            expected = 0.25 * first + 0.75 * second
            assert prediction.probabilities[label] == pytest.approx(expected, abs=1e-5)


def test_a_description_is_read_as_written_with_relative_names(tmp_path):
    members = (str(tmp_path / "runs" / "a"), str(tmp_path / "runs" / "b"))
    Ensemble(members, (0.5, 1.5)).write(tmp_path / "both")
    read = Ensemble.read(tmp_path / "both" / "ensemble.json")
    assert read.weights == (0.25, 0.75)
    assert "runs/a" in read.members[0]
    (tmp_path / "both" / "ensemble.json").write_text('{"members": ["a"], "weights": []}')
    with pytest.raises(UserError):
        Ensemble.read(tmp_path / "both" / "ensemble.json")


def test_weights_are_in_proportion_to_uar_above_chance():
    assert weigh_by_validation([0.75, 0.5], 4) == pytest.approx((2 / 3, 1 / 3))
    assert weigh_by_validation([0.75, 0.1], 4) == (1.0, 0.0)
    for scores in ([0.5, None], [0.2, 0.1]):
        with pytest.raises(UserError, match="validation"):
            weigh_by_validation(scores, 4)


def test_members_with_other_classes_are_an_error():
    check_labels([LABELS, LABELS[::-1]], ["a", "b"])
    with pytest.raises(UserError, match="b"):
        check_labels([LABELS, ("sad", "happy")], ["a", "b"])


def test_a_threshold_makes_the_predictor_abstain():
    confident = model(CONVOLUTIONAL)
    clip = (np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32), 16_000)
    [before] = Predictor(confident, "cpu")([clip])
    highest = max(before.probabilities.values())
    assert before.emotion is not None
    assert "abstained" not in before.as_plain()
    for threshold, abstains in ((highest - 1e-4, False), (highest + 1e-4, True)):
        careful = replace(confident, threshold=threshold)
        [after] = Predictor(careful, "cpu")([clip])
        assert after.abstained == abstains
        assert (after.emotion is None) == abstains
        assert after.probabilities == before.probabilities
        assert after.as_plain().get("abstained", False) == abstains
        [raw] = Predictor(careful, "cpu", raw=True)([clip])
        assert raw.emotion is not None


def test_an_ensemble_of_ensembles_is_refused_also_of_itself(tmp_path):
    Ensemble((str(tmp_path / "one"),), (1.0,)).write(tmp_path / "one")
    Ensemble((str(tmp_path / "one"),), (1.0,)).write(tmp_path / "two")
    for name in ("one", "two"):
        with pytest.raises(UserError, match="ensemble"):
            load_trained(tmp_path / name)
