"""The model card of a small run, with and without a report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from ser.config import EvaluateConfig
from ser.corpora import CORPORA
from ser.evaluation import evaluate
from ser.model import read_checkpoint
from ser.modelcard import describe_model, list_noncommercial, write_model_card


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


def test_a_model_of_the_users_own_table_has_no_licence_of_ours(run):
    blueprint = read_checkpoint(run)[0]
    data = {"synthetic": None, "corpora": [], "table": "data/mine.csv"}
    own = replace(blueprint, config=blueprint.config | {"data": blueprint.config["data"] | data})
    found = describe_model(own, None)
    assert (found.license, found.license_name) == ("other", "corpus-terms")
    assert found.language is None
    assert found.model_name == "speech-emotion-mine"
    assert list_noncommercial(own) == []
    mixed = own.config["data"] | {"corpora": ["cremad", "tess"]}
    assert list_noncommercial(replace(own, config=own.config | {"data": mixed})) == [
        CORPORA["tess"].title
    ]
