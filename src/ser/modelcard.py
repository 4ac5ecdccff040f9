"""The model card of a checkpoint in the Hugging Face format: a README.md with metadata."""

import json
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ser import page, provenance
from ser.atomic import write_text
from ser.corpora import CORPORA
from ser.intervals import Interval, show_interval
from ser.model import Blueprint, read_checkpoint, read_validation, run_folder
from ser.page import Grid, percent

METRICS = {
    "uar": ("recall", "UAR (unweighted average recall)"),
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
}
PARTS = {"val": "validation", "train": "train", "test": "test"}


def write_model_card(checkpoint: Path, folder: Path) -> None:
    """Write README.md into a folder, with the scores of the run's report where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "README.md", str(build_card(checkpoint)))


def build_card(checkpoint: Path) -> ModelCard:
    """The card of a checkpoint, from its blueprint and the report beside it."""
    blueprint = read_checkpoint(checkpoint)[0]
    report = read_report(checkpoint)
    metadata = describe_model(blueprint, report)
    context = {
        "name": metadata.model_name,
        "labels": ", ".join(blueprint.labels),
        "backbone": blueprint.config["model"]["backbone"]["name"],
        "pretrained": blueprint.config["model"]["backbone"]["pretrained"],
        "synthetic": is_synthetic(blueprint),
        "corpora": tabulate_corpora(blueprint),
        "noncommercial": list_noncommercial(blueprint),
        "split": blueprint.config["split"],
        "sample_rate": f"{blueprint.sample_rate:,}",
        "temperature": read_validation(checkpoint).temperature,
        "max_seconds": f"{blueprint.config['data']['max_seconds']:g}",
        "group_norm": blueprint.network.get("feat_extract_norm") == "group",
        "report": report,
        "scores": report and tabulate_scores(report),
        "exposure": report and report["exposure"],
        "trained": provenance.read(run_folder(checkpoint)),
        "manifest": blueprint.manifest,
    }
    body = page.render("model_card.md", **context)
    return ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}")


def read_report(checkpoint: Path) -> dict[str, Any] | None:
    """The metrics.json that judged this checkpoint on the test part, if there is one."""
    for name in ("report", f"report-{checkpoint.stem}-test"):
        file = run_folder(checkpoint) / name / "metrics.json"
        if file.is_file():
            content = json.loads(file.read_text(encoding="utf-8"))
            if content.get("part") == "test" and Path(content["checkpoint"]).name == (
                checkpoint.name
            ):
                return content
    return None


def is_synthetic(blueprint: Blueprint) -> bool:
    return blueprint.config["data"]["synthetic"] is not None


def describe_model(blueprint: Blueprint, report: dict[str, Any] | None) -> ModelCardData:
    """The metadata that the hub reads and searches."""
    backbone, data = blueprint.config["model"]["backbone"], blueprint.config["data"]
    table = Path(data["table"]).stem if data.get("table") else None
    corpora, synthetic = data["corpora"], is_synthetic(blueprint)
    titles = [CORPORA[name].title for name in corpora] + ([table] if table else [])
    return ModelCardData(
        language=None if synthetic or table else "en",
        license="mit" if synthetic else "other",
        license_name=None if synthetic else "corpus-terms",
        library_name="transformers",
        pipeline_tag="audio-classification",
        base_model=backbone["name"] if backbone["pretrained"] else None,
        datasets=None if synthetic else corpora or None,
        metrics=["accuracy", "recall", "f1"],
        tags=["speech-emotion-recognition", "audio-classification"],
        model_name=f"speech-emotion-{'-'.join([*corpora, *([table] if table else [])])}",
        eval_results=None if report is None else list_results(report, " and ".join(titles)),
    )


def list_results(report: dict[str, Any], titles: str) -> list[EvalResult]:
    """The scores on the test part, as the hub's leaderboards read them."""
    noun = "synthetic stand-ins for " if report["synthetic"] else ""
    return [
        EvalResult(
            task_type="audio-classification",
            dataset_type="synthetic" if report["synthetic"] else "speech-emotion",
            dataset_name=f"{noun}{titles}",
            dataset_split="test",
            metric_type=kind,
            metric_name=title,
            metric_value=round(report["overall"][name], 4),
        )
        for name, (kind, title) in METRICS.items()
    ]


def tabulate_corpora(blueprint: Blueprint) -> Grid:
    """What the model was trained on, and on what terms."""
    rows = [
        [corpus.title, corpus.licence, corpus.citation]
        for corpus in (CORPORA[name] for name in blueprint.config["data"]["corpora"])
    ]
    if table := blueprint.config["data"].get("table"):
        rows.append([Path(table).name, "see its owner", ""])
    return Grid(["corpus", "licence", "reference"], rows)


def list_noncommercial(blueprint: Blueprint) -> list[str]:
    """The corpora it was trained on that may not be used for business."""
    used = [CORPORA[name] for name in blueprint.config["data"]["corpora"]]
    return [each.title for each in used if "NC" in each.licence or "research" in each.licence]


def tabulate_scores(report: dict[str, Any]) -> Grid:
    """Overall and by corpus, with intervals and what knowing nothing would score."""
    rows = []
    for name, judgement in {**report["corpora"], "all": report["overall"]}.items():
        interval = judgement["intervals"].get("uar")
        ends = show_interval(Interval(**interval) if interval else None)
        chance = percent(judgement["baselines"]["chance"])
        scores = (percent(judgement[metric]) for metric in ("uar", "accuracy", "macro_f1"))
        uar, accuracy, macro_f1 = scores
        speakers = f"{judgement['speakers']:,}"
        rows.append([name, uar, ends, accuracy, macro_f1, chance, speakers])
    columns = ["test part", "UAR", "95 % interval", "accuracy", "macro F1", "chance", "speakers"]
    return Grid(columns, rows)
