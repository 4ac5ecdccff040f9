"""The report of `ser probe`, from probes with known predictions."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score

from ser.config.model import HeadFit
from ser.corpora.emotions import LABELS
from ser.reports import probe as report
from ser.training.head import Candidate, Choice
from ser.training.probe import LayerProbe, ProbeResult

COMMAND = "ser train data=ravdess model=linear model.layer=1"


def predict(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The labels, of which a share is right."""
    generator = np.random.default_rng(seed)
    wrong = generator.random(len(labels)) > share
    return np.where(wrong, generator.integers(0, len(LABELS), len(labels)), labels)


@pytest.fixture
def result() -> ProbeResult:
    """Layers 0 and 1 and both together; layer 1 has the best cross-validated UAR."""
    tables = {
        part: pd.DataFrame(
            {
                "emotion": [LABELS[row % 8] for row in range(8 * count)],
                "speaker": [f"s{row // 8 % 5}" for row in range(8 * count)],
                "corpus": "mine",
            }
        )
        for part, count in {"train": 30, "val": 20, "test": 20}.items()
    }
    probes = []
    for seed, (layers, share) in enumerate([([0], 0.5), ([1], 0.9), ([0, 1], 0.7)]):
        predictions = {
            part: predict(np.array(table["emotion"].map(LABELS.index)), share, 10 * seed + place)
            for place, (part, table) in enumerate(tables.items())
        }
        candidate = Candidate(HeadFit.logistic, 0.01)
        choice = Choice(candidate, {candidate: share}, predictions["train"])
        probes.append(LayerProbe(layers, choice, predictions))
    words = ["data=ravdess", "model.pooling=mean", "model.fit=auto", "model=linear"]
    return ProbeResult(probes, tables, LABELS, words, synthetic=False)


def test_scores_are_the_recall_of_the_predictions(result, tmp_path):
    report.write(result, COMMAND, tmp_path)
    found: Any = json.loads((tmp_path / "probe.json").read_text())
    for row, probe in zip(found["layers"], result.layers, strict=True):
        assert row["layers"] == probe.layers
        for part, table in result.parts.items():
            labels = table["emotion"].map(LABELS.index)
            expected = recall_score(labels, probe.predictions[part], average="macro")
            assert row["uar"][part]["value"] == pytest.approx(expected)
            low, high = row["uar"][part]["interval"]
            assert low < expected < high
    assert found["best"] == found["layers"][1]
    assert found["command"] == COMMAND


def test_files_name_the_chosen_layer_and_the_command(result, tmp_path):
    report.write(result, COMMAND, tmp_path)
    text = (tmp_path / "probe.md").read_text()
    assert [line.count("\\*") for line in text.splitlines() if line.startswith("| 1 ")] == [1]
    assert COMMAND in text
    assert (tmp_path / "figures" / "layers.png").read_bytes().startswith(b"\x89PNG")
    assert "layer 1: " in (tmp_path / "figures" / "layers.svg").read_text()


def test_the_table_fits_a_terminal_and_ends_with_the_command(result, tmp_path, capsys):
    report.show(result, COMMAND, tmp_path)
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1].strip() == COMMAND
    assert all(len(line) < 80 for line in lines if line.startswith((" 0", " 1", "0", "1")))


def test_a_part_with_two_speakers_has_no_interval(result, tmp_path):
    result.parts["val"]["speaker"] = ["s0"] * 80 + ["s1"] * 80
    report.write(result, COMMAND, tmp_path)
    found: Any = json.loads((tmp_path / "probe.json").read_text())
    assert found["layers"][0]["uar"]["val"]["interval"] is None


def test_the_overrides_train_the_best_layer_only(result):
    expected = ["data=ravdess", "model.pooling=mean", "model=linear", "model.layer=1"]
    chosen = ["model.fit=logistic", "model.fit_strengths=[0.01]"]
    assert result.training_overrides == [*expected, *chosen]
