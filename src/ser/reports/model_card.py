"""The model card of a checkpoint in the Hugging Face format: a README.md with metadata."""

from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ser.config.hub import has_hub_form
from ser.corpora import CORPORA, corpus_names
from ser.evaluation.overlap import TrainTestOverlap
from ser.metrics.intervals import Interval
from ser.models.checkpoint import Checkpoint, CheckpointMetadata
from ser.reports import html as page
from ser.reports import texts
from ser.reports.backbone_licences import NONCOMMERCIAL, describe_licence
from ser.reports.tables import Table, count, fraction, show_interval
from ser.reports.training_facts import TrainingFacts, describe_training
from ser.system.atomic import write_text
from ser.system.files import read_object
from ser.training import provenance

METRICS = {
    "uar": ("recall", "UAR (unweighted average recall)"),
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
}
JACKKNIFE = 3  # schema of metrics.json from which intervals hold with few speakers


def write_model_card(checkpoint: Path, folder: Path, *, calibrated: bool = False) -> None:
    """Write README.md into a folder, with the scores of the run's report if it has one.

    `calibrated`: the logits of the model in that folder are divided by the temperature.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "README.md", str(build_card(checkpoint, calibrated=calibrated)))


def build_card(checkpoint: Path, *, calibrated: bool = False) -> ModelCard:
    """The card of a checkpoint, from its metadata and the report of its run."""
    opened = Checkpoint.open(checkpoint)
    metadata = opened.metadata
    facts, report = describe_training(metadata), read_report(opened)
    card = describe_model(metadata, report)
    context = {
        "name": card.model_name,
        "labels": ", ".join(metadata.labels),
        "facts": facts,
        "base_model": card.base_model,
        "licence": describe_licence(facts.backbone),
        "corpora": tabulate_corpora(facts),
        "noncommercial": list_noncommercial(facts),
        "sample_rate": metadata.sample_rate,
        "temperature": opened.validation.temperature,
        "calibrated": calibrated,
        "portable": metadata.family.masks_padding_elsewhere,
        "group_norm": metadata.network.get("feat_extract_norm") == "group",
        "scores": report and tabulate_scores(report),
        "overlap": report and TrainTestOverlap(**report["exposure"]).describe(),
        "flatters": report and TrainTestOverlap(**report["exposure"]).flatters,
        "intervals": texts.INTERVALS,
        "uar": texts.UAR,
        "synthetic": texts.SYNTHETIC,
        "law": texts.LAW,
        "trained": provenance.read(opened.run_folder),
        "manifest": metadata.manifest,
    }
    body = page.render("model_card.md", **context)
    return ModelCard(f"---\n{card.to_yaml()}\n---\n\n{body}")


def read_report(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The metrics.json of this checkpoint on the test part, if there is one.

    Raises UserError if it is damaged.
    """
    for name in ("report", f"report-{checkpoint.path.stem}-test"):
        file = checkpoint.run_folder / name / "metrics.json"
        if file.is_file():
            content = read_object(file)
            evaluated = Path(content.get("checkpoint", "")).name
            if content.get("part") == "test" and evaluated == checkpoint.path.name:
                return content
    return None


def describe_model(metadata: CheckpointMetadata, report: dict[str, Any] | None) -> ModelCardData:
    """The metadata that the hub reads and searches."""
    facts = describe_training(metadata)
    own = facts.synthetic or facts.table
    names = [*facts.corpora, *([facts.table_name] if facts.table else [])]
    return ModelCardData(
        language=None if own else "en",
        license="mit" if facts.synthetic else "other",
        license_name=None if facts.synthetic else "corpus-terms",
        library_name="transformers",
        pipeline_tag="audio-classification",
        # A folder of this machine would be a broken link.
        base_model=facts.backbone if facts.pretrained and has_hub_form(facts.backbone) else None,
        datasets=None if facts.synthetic else facts.corpora or None,
        metrics=["accuracy", "recall", "f1"],
        tags=["speech-emotion-recognition", "audio-classification"],
        model_name=f"speech-emotion-{'-'.join(['synthetic'] if facts.synthetic else names)}",
        eval_results=None if report is None else list_results(report, " and ".join(facts.data)),
    )


def list_results(report: dict[str, Any], titles: str) -> list[EvalResult]:
    """The test scores, as the leaderboards of the hub read them."""
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


def tabulate_corpora(facts: TrainingFacts) -> Table:
    """The training data and their terms, if the package of each corpus is installed here."""
    rows = []
    for name in facts.corpora:
        corpus = CORPORA[name] if name in corpus_names() else None
        terms = ["not stated", "–"] if corpus is None else [corpus.licence, corpus.citation]
        rows.append([name if corpus is None else corpus.title, *terms])
    if facts.table:
        rows.append([facts.table_name, "not stated", "–"])
    return Table(["corpus", "licence", "reference"], rows, alignment="lll")


def list_noncommercial(facts: TrainingFacts) -> list[str]:
    """The corpora in the training data that forbid commercial use."""
    used = [CORPORA[name] for name in facts.corpora if name in corpus_names()]
    forbidden = (NONCOMMERCIAL, "research")
    return [each.title for each in used if any(map(each.licence.count, forbidden))]


def tabulate_scores(report: dict[str, Any]) -> Table:
    """Overall and by corpus, with intervals and chance.

    Intervals of older reports are left out, because they were too narrow with few speakers.
    """
    rows = []
    for name, group in {**report["corpora"], "all": report["overall"]}.items():
        interval = group["intervals"].get("uar") if report["schema"] >= JACKKNIFE else None
        scores = [fraction(group[metric]) for metric in METRICS]
        ends = show_interval(Interval(**interval) if interval else None)
        chance = fraction(group["baselines"]["chance"])
        rows.append([name, scores[0], ends, *scores[1:], chance, count(group["speakers"])])
    columns = ["test part", "UAR", "95% interval", "accuracy", "macro F1", "chance", "speakers"]
    return Table(columns, rows)
