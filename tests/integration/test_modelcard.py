"""The model card of a small run, with and without a report."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from ser.config import EvaluateConfig
from ser.evaluation import evaluate
from ser.modelcard import write_model_card


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, so that no report is left in the one that tests share."""
    folder = tmp_path_factory.mktemp("card") / "run"
    shutil.copytree(trained.parents[1], folder)
    return folder / "checkpoints" / "best.ckpt"


def test_a_checkpoint_without_a_report_has_a_card_that_says_so(run, tmp_path):
    write_model_card(run, tmp_path)
    card: Any = ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results is None
    assert "has not been judged on its test part" in card.text
    assert "Trained on synthetic tones" in card.text


def test_the_card_is_read_back_with_the_scores_of_the_report(run, tmp_path):
    evaluate(EvaluateConfig(ckpt=str(run)))
    write_model_card(run, tmp_path)
    card: Any = ModelCard.load(tmp_path / "README.md")
    metrics = json.loads((run.parents[1] / "report" / "metrics.json").read_text())
    values = {result.metric_name: result.metric_value for result in card.data.eval_results or []}
    assert values["Accuracy"] == pytest.approx(metrics["overall"]["accuracy"], abs=1e-4)
    assert card.data.pipeline_tag == "audio-classification"
    assert card.data.base_model is None  # random weights have none
    assert "26 of 26 test speakers were heard in training" in card.text
    assert "Not for judging people" in card.text
    assert "Regulation 2024/1689" in card.text
