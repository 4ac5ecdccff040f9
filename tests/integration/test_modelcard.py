"""The model card of a small run, with and without a report."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard

from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig
from ser.config.model import Mode
from ser.corpora import CORPORA
from ser.models.checkpoint import Checkpoint
from ser.reports import texts
from ser.reports.model_card import (
    build_card,
    describe_model,
    list_noncommercial,
    tabulate_corpora,
    write_model_card,
)
from ser.reports.training_facts import describe_training


@pytest.fixture(scope="module")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, so that the shared one stays without a report."""
    folder = tmp_path_factory.mktemp("card") / "run"
    shutil.copytree(trained.parents[1], folder)
    return folder / "checkpoints" / "best.ckpt"


def test_a_checkpoint_without_a_report_has_no_results(run, tmp_path):
    write_model_card(run, tmp_path)
    card: Any = ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results is None
    assert "not been evaluated" in card.text
    assert texts.SYNTHETIC in card.text


@pytest.mark.slow
def test_the_card_has_the_scores_of_the_report(run, tmp_path):
    evaluate(EvaluateConfig(ckpt=str(run)))
    write_model_card(run, tmp_path)
    card: Any = ModelCard.load(tmp_path / "README.md")
    metrics = json.loads((run.parents[1] / "report" / "metrics.json").read_text())
    values = {result.metric_name: result.metric_value for result in card.data.eval_results or []}
    assert values["Accuracy"] == pytest.approx(metrics["overall"]["accuracy"], abs=1e-4)
    assert card.data.pipeline_tag == "audio-classification"
    assert card.data.base_model is None  # random weights have none
    assert "Test speakers seen in training: 26 of 26." in card.text
    assert texts.LAW in card.text


def test_a_model_trained_on_a_table_has_no_licence_of_a_corpus(run):
    metadata = Checkpoint.open(run).metadata
    data = replace(metadata.config.data, synthetic=None, corpora=[], table="data/mine.csv")
    own = replace(metadata, config=replace(metadata.config, data=data))
    found = describe_model(own, None)
    assert (found.license, found.license_name) == ("other", "corpus-terms")
    assert found.language is None
    assert found.model_name == "speech-emotion-mine"
    facts = describe_training(own)
    assert list_noncommercial(facts) == []
    assert tabulate_corpora(facts).rows == [["mine", "not stated", "–"]]
    other = replace(facts, corpora=["not_installed"], table=None)
    assert tabulate_corpora(other).rows == [["not_installed", "not stated", "–"]]
    assert list_noncommercial(other) == []
    mixed = replace(data, corpora=["cremad", "tess"])
    both = describe_training(replace(own, config=replace(own.config, data=mixed)))
    assert list_noncommercial(both) == [CORPORA["tess"].title]


def test_an_old_report_is_shown_without_its_intervals(run, tmp_path):
    golden = Path(__file__).parents[1] / "golden" / "v0.1" / "full"
    write_model_card(golden / "checkpoints" / "best.ckpt", tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| all | 0.392 | – |" in text
    assert "Test speakers seen in training: 6 of 6." in text


def test_names_from_data_are_text_in_the_card(run, tmp_path):
    metadata = Checkpoint.open(run).metadata
    hostile = replace(metadata, labels=("<img src=x>", *metadata.labels[1:]))
    torch.save(
        torch.load(run, weights_only=True) | {"hyper_parameters": hostile.to_plain()},
        tmp_path / "hostile.ckpt",
    )
    write_model_card(tmp_path / "hostile.ckpt", tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "<img" not in text
    assert "&lt;img src=x&gt;" in text


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        (
            "owner/name",
            Mode.full,
            "Fine-tuned from [owner/name](https://huggingface.co/owner/name)",
        ),
        ("owner/name", Mode.head, "frozen backbone of [owner/name]"),
        ("/data/models/mine", Mode.head, "frozen backbone of a local folder"),
    ],
)
def test_the_card_links_a_backbone_of_the_hub_only(run, tmp_path, name, mode, words):
    content = torch.load(run, weights_only=True)
    config = content["hyper_parameters"]["config"]
    config["model"]["mode"] = str(mode)
    config["model"]["backbone"] |= {"name": name, "pretrained": True, "architecture": {}}
    torch.save(content | {"temperature": 1.0}, tmp_path / "best.ckpt")
    card: Any = build_card(tmp_path / "best.ckpt", calibrated=True)
    assert words in card.text
    assert "/data/models" not in str(card)
    assert card.data.base_model == (name if name == "owner/name" else None)
