"""The report of a small run whose parts share speakers."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig, EvaluateDataConfig
from ser.reports import texts


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    evaluate(EvaluateConfig(ckpt=str(trained), output_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_scores_follow_from_the_predictions(folder, content):
    table = pd.read_csv(folder / "predictions.csv")
    overall = content["overall"]
    true, predicted = table["emotion"], table["predicted"]
    assert overall["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    weighted = f1_score(true, predicted, average="weighted")
    assert overall["weighted_f1"] == pytest.approx(weighted)
    for column, group in (("corpus", "corpora"), ("gender", "genders"), ("speaker", "speakers")):
        for name, rows in table.groupby(column):
            accuracy = accuracy_score(rows["emotion"], rows["predicted"])
            assert content[group][name]["accuracy"] == pytest.approx(accuracy)


def test_every_interval_holds_its_score(content):
    for group in (content["overall"], *content["corpora"].values()):
        assert bool(group["intervals"].get("uar")) == (group["no_interval"] == "")
        for name, interval in group["intervals"].items():
            value = group.get(name, group["probabilities"].get(name))
            assert interval["low"] <= value <= interval["high"]


def test_the_documentation_names_every_key_of_metrics_json(content):
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert f"schema {content['schema']}" in text.lower()
    keys = set(content) | set(content["overall"]) | set(content["exposure"])
    keys |= set(content["overall"]["probabilities"]) | set(content["overall"]["baselines"])
    keys |= set(content["selective"]) | set(content["gaps"]["gender"][0])
    keys |= set(content["sentences"] or {})
    assert sorted(key for key in keys if f"`{key}`" not in text) == []


def test_shared_speakers_are_beside_the_headline(folder, content):
    exposure = content["exposure"]
    assert exposure["seen_speakers"] == exposure["speakers"] == 26
    for name, end in (("report.html", 'id="confusion"'), ("report.md", "## Confusion")):
        text = (folder / name).read_text()
        headline = text[: text.index(end)]
        assert "Test speakers seen in training: 26 of 26." in headline
        assert texts.SYNTHETIC in headline


def test_the_subtitle_names_model_data_split_and_epochs(folder):
    for name in ("report.html", "report.md"):
        head = (folder / name).read_text()[:20_000]
        for words in (
            "tiny (full, from random weights)",
            "RAVDESS",
            "split=stratified",
            "2 epochs",
        ):
            assert words in head


def test_the_report_says_how_to_reproduce_it(folder, trained):
    for name in ("report.html", "report.md"):
        text = (folder / name).read_text()
        assert "ser train" in text
        assert f"ser evaluate ckpt={trained}" in text
        assert "Training time" in text


def test_figures_are_png_and_svg(folder):
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {
        "confusion_counts", "confusion_normalised", "distribution_by_corpus",
        "distribution_by_part", "groups", "learning_curves_loss", "learning_curves_validation",
        "reliability_as_trained", "reliability_calibrated", "risk_coverage", "speakers",
    }  # fmt: skip
    for name in names:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (folder / "figures" / f"{name}.svg").read_text()


def test_the_figures_of_the_markdown_report_exist(folder):
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (folder / "report.md").read_text())
    assert pictures
    assert all((folder / picture).is_file() for picture in pictures)


def test_logits_are_kept_in_the_order_of_the_predictions(folder, content):
    logits = np.load(folder / "logits.npy")
    predicted = pd.read_csv(folder / "predictions.csv")["predicted"]
    assert [content["labels"][index] for index in logits.argmax(axis=1)] == predicted.tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light")])
def test_a_browser_shows_the_report_without_errors(browser, folder, tmp_path, width, scheme):
    alone = tmp_path / "alone.html"  # without its folder: it has to hold everything itself
    alone.write_bytes((folder / "report.html").read_bytes())
    complaints, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(alone.as_uri())
    images = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert page.evaluate(images)
    assert page.locator("svg").count() >= 9
    figures = (
        "[...document.querySelectorAll('figure svg')].map(each => each.getBoundingClientRect())"
    )
    assert all(box["left"] >= 0 and box["right"] <= width for box in page.evaluate(figures))
    playable = """async () => {
        for (const audio of document.querySelectorAll("audio")) {
            await new Promise((done, failed) => {
                if (audio.readyState >= 1) return done();
                audio.onloadedmetadata = done; audio.onerror = failed; audio.load();
            });
            if (!(audio.duration > 0.5)) return false;
        }
        return document.querySelectorAll("audio").length > 0;
    }"""
    assert page.evaluate(playable)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", background))) < 64) == (scheme == "dark")
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.close()


@pytest.mark.slow
def test_some_corpora_of_the_training_can_be_evaluated(trained, folder, content, tmp_path):
    data = EvaluateDataConfig(corpora=["tess", "savee"])
    evaluate(EvaluateConfig(ckpt=str(trained), output_dir=str(tmp_path), data=data))
    part = json.loads((tmp_path / "metrics.json").read_text())
    assert list(part["corpora"]) == ["savee", "tess"]
    for name, group in part["corpora"].items():
        assert group["confusion"] == content["corpora"][name]["confusion"]


@pytest.fixture(scope="module")
def narrow(quick_config, tmp_path_factory) -> Path:
    """A checkpoint trained without SAVEE and without disgust; calm is merged into neutral."""
    from ser.training.train import train

    options = (
        "data.corpora=[cremad,ravdess]", "data.labels=[neutral,happy,sad,angry,fear,surprise]",
        "data.merge={calm: neutral}", "trainer.max_steps=3",
    )  # fmt: skip
    checkpoint = train(quick_config(tmp_path_factory.mktemp("narrow"), *options)).checkpoint
    assert checkpoint is not None
    return checkpoint


@pytest.mark.slow
def test_a_new_corpus_is_evaluated_whole_with_the_classes_of_the_model(
    narrow, compose_config, tmp_path
):
    overrides = [f"ckpt={narrow}", "data=savee", f"output_dir={tmp_path}"]
    config = compose_config(*overrides, name="evaluate", kind=EvaluateConfig)
    scores = evaluate(replace(config, command=overrides))
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["part"] == "whole"
    assert content["left_out"] == {"disgust": 16}
    assert scores.utterances == 6 * 16
    assert content["exposure"]["seen_speakers"] == 0
    html = (tmp_path / "report.html").read_text()
    assert "savee, new to the model" in html
    assert "disgust 16" in html
    command = next(line for line in html.splitlines() if "ser evaluate ckpt" in line)
    assert "data=savee" in command


def test_new_and_known_corpora_are_not_mixed(narrow):
    data = EvaluateDataConfig(corpora=["ravdess", "tess"])
    with pytest.raises(ValueError, match=r"data\.corpora"):
        evaluate(EvaluateConfig(ckpt=str(narrow), data=data))


@pytest.mark.slow
def test_robustness_is_measured_on_request(narrow, tmp_path, monkeypatch):
    from ser.evaluation import robustness

    few = {"noise": replace(robustness.PERTURBATIONS["noise"], levels=(30, 0))}
    monkeypatch.setattr(robustness, "PERTURBATIONS", few)
    evaluate(EvaluateConfig(ckpt=str(narrow), output_dir=str(tmp_path), robustness=True))
    assert "## Robustness" in (tmp_path / "report.md").read_text()
    content = json.loads((tmp_path / "metrics.json").read_text())
    found = content["robustness"]
    assert found["undisturbed"]["accuracy"] == pytest.approx(content["overall"]["accuracy"])
    assert [point["level"] for point in found["curves"]["noise"]] == [30, 0]
    assert (tmp_path / "robustness" / "noise.svg").is_file()
