"""What report.html and report.md say: one context, in words and formatted numbers, for both."""

import shlex
from collections.abc import Sequence
from typing import Any

import yaml
from markupsafe import Markup

from ser import card, page, provenance
from ser.card import Card
from ser.figures import draw_spectrogram
from ser.findings import Findings
from ser.intervals import Interval, show_interval
from ser.judgement import Judgement
from ser.mistakes import Mistake, log_mel, to_data_uri
from ser.model import run_folder
from ser.page import Grid, count, percent
from ser.report_figures import Shown

TITLES = {
    "result": "Result",
    "confusion": "Confusion",
    "emotions": "Emotions",
    "groups": "Corpora and genders",
    "speakers": "Speakers",
    "calibration": "Calibration",
    "training": "Training",
    "robustness": "Robustness",
    "mistakes": "Mistakes",
    "data": "Data",
    "reproduce": "How to reproduce",
}
SECTIONS = (  # that hold figures
    *("confusion", "groups", "speakers", "calibration"),
    *("curves", "robustness", "distribution"),
)
SYNTHETIC = (
    "Synthetic tones: nobody is speaking. This shows that the software works, and nothing about"
    " people."
)
NO_SPREAD = (
    "Every draw of its speakers has the same UAR, so there is no interval to tell: speakers on whom"
    " the model does otherwise were not met, which does not say that there are none."
)
MOST_SPEAKERS = 200  # rows of the table in the page; metrics.json has them all


def write_page(findings: Findings, shown: Sequence[Shown]) -> str:
    """The whole of report.html."""
    context = describe(findings)
    figures: dict[str, list[tuple[Markup, str]]] = {name: [] for name in SECTIONS}
    for each in shown:
        figures[each.section].append((page.embed(each.svg, each.alt), each.caption))
    absent = {
        "training": not figures["curves"],
        "speakers": not figures["speakers"],
        "robustness": findings.robustness is None,
    }
    sections = [item for item in TITLES.items() if not absent.get(item[0])]
    mistakes = [show_mistake(mistake) for mistake in findings.mistakes]
    return page.render(
        "report.html", figures=figures, sections=sections, mistakes=mistakes, **context
    )


def write_markdown(findings: Findings) -> str:
    """The whole of report.md."""
    return page.render("report.md", **describe(findings))


def describe(findings: Findings) -> dict[str, Any]:
    """All words and numbers of the report."""
    overall, settings = findings.overall, findings.settings
    scores, baselines = overall.scores, overall.baselines
    data = Card(findings.manifest, settings.data, settings.split)
    corpora = ", ".join(findings.corpora)
    return {
        "title": f"Emotion recognition: {findings.named_part}",
        "subtitle": f"{scores.utterances:,} utterances of {overall.speakers:,} speaker"
        f"{'' if overall.speakers == 1 else 's'}"
        f" ({corpora}), judged by {findings.settings.model.backbone.name}",
        "notices": find_notices(findings),
        "headline": list_headline(overall),
        "speakers": overall.speakers,
        "drawn": bool(overall.intervals),
        "chance": percent(baselines.chance),
        "majority": percent(baselines.majority),
        "majority_class": baselines.majority_class,
        "emotions": tabulate_emotions(overall),
        "absent": ", ".join(n for n, row in scores.classes.items() if not row.support),
        "groups": tabulate_groups(findings),
        "speaker_table": tabulate_speakers(findings),
        "probabilities": tabulate_probabilities(overall),
        "calibration_words": describe_calibration(findings),
        "robustness": findings.robustness and findings.robustness.tabulate(),
        "robustness_words": findings.robustness and findings.robustness.describe(),
        "data": [
            *(card.tabulate_corpora(data), card.tabulate_parts(data)),
            *(card.tabulate_recordings(data), card.tabulate_origins(data)),
        ],
        "dropped": card.count_reasons(data),
        "repaired": card.list_repairs(data),
        "ambiguity": card.describe_ambiguity(data),
        "left_out": findings.describe_left_out(),
        "commands": list_commands(findings),
        "facts": list_facts(findings),
        "configuration": yaml.safe_dump(findings.blueprint.config, sort_keys=False),
        "footer": "Acted emotions are not felt ones: do not use this to judge people.",
    }


def find_notices(findings: Findings) -> list[tuple[str, str]]:
    """What has to be known before the numbers are read, most alarming first."""
    notices = []
    exposure = findings.exposure
    if findings.synthetic:
        notices.append((SYNTHETIC, "alarm"))
    if findings.part == "train":
        notices.append(("The model was trained on these very utterances.", "alarm"))
    elif exposure.flatters:
        words = f"These numbers flatter the model. {exposure.describe()}"
        notices.append((words, "alarm"))
    else:
        notices.append((exposure.describe(), "remark"))
    if findings.part == "val":
        notices.append(("The best checkpoint was chosen by its score on this part.", "alarm"))
    if 1 < findings.overall.speakers < 10:
        words = f"{findings.overall.speakers} speakers are few: the intervals are rough."
        notices.append((words, "remark"))
    interval = findings.overall.intervals.get("uar")
    if interval is not None and not interval.has_width:
        notices.append((NO_SPREAD, "remark"))
    return notices


def between(interval: Interval | None) -> str:
    """For a headline, where the notices have said what is missing."""
    return show_interval(interval) if interval is not None and interval.has_width else ""


def list_headline(overall: Judgement) -> list[tuple[str, str, str]]:
    """Value, label and note of the few numbers on top."""
    scores, intervals = overall.scores, overall.intervals
    probabilities = overall.calibrated or overall.probabilities
    chance, majority = map(percent, (overall.baselines.chance, overall.baselines.majority))
    uar, accuracy = (between(intervals.get(name)) for name in ("uar", "accuracy"))
    return [
        (percent(scores.uar), "UAR", f"{uar}\nchance {chance}".lstrip()),
        (
            percent(scores.accuracy),
            "Accuracy",
            f"{accuracy}\nmajority {majority}".lstrip(),
        ),
        (percent(scores.macro_f1), "Macro F1", between(intervals.get("macro_f1"))),
        (percent(scores.weighted_f1), "Weighted F1", between(intervals.get("weighted_f1"))),
        (
            percent(probabilities.top2_accuracy),
            "Among the top 2",
            between(intervals.get("top2_accuracy")),
        ),
        (
            percent(probabilities.calibration_error),
            "Calibration error",
            "by temperature" if overall.calibrated else "not calibrated",
        ),
    ]


def tabulate_emotions(overall: Judgement) -> Grid:
    rows = [
        [name, percent(row.precision), percent(row.recall), percent(row.f1), count(row.support)]
        for name, row in overall.scores.classes.items()
        if row.support
    ]
    return Grid(["emotion", "precision", "recall", "F1", "utterances"], rows)


def tabulate_groups(findings: Findings) -> Grid:
    columns = ["", "UAR", "95 % interval", "accuracy", "macro F1", "chance", "majority"]
    groups = {**findings.corpora, **findings.genders, "all": findings.overall}
    rows = [
        [
            name,
            percent(each.scores.uar),
            show_interval(each.intervals.get("uar")),
            percent(each.scores.accuracy),
            percent(each.scores.macro_f1),
            percent(each.baselines.chance),
            percent(each.baselines.majority),
            count(each.speakers),
            count(each.scores.utterances),
        ]
        for name, each in groups.items()
    ]
    return Grid([*columns, "speakers", "utterances"], rows)


def tabulate_speakers(findings: Findings) -> Grid:
    worst_first = sorted(findings.speakers.items(), key=lambda item: item[1].uar)
    rows = [
        [name, row.gender or "–", percent(row.uar), percent(row.accuracy), count(row.utterances)]
        for name, row in worst_first[:MOST_SPEAKERS]
    ]
    total = len(worst_first)
    more = f": the {MOST_SPEAKERS} worst of {total:,}" if total > MOST_SPEAKERS else ""
    return Grid(["speaker", "gender", "UAR", "accuracy", "utterances"], rows, more)


def tabulate_probabilities(overall: Judgement) -> Grid:
    kinds = {"as trained": overall.probabilities, "calibrated": overall.calibrated}
    rows = [
        [
            name,
            percent(each.calibration_error),
            f"{each.log_loss:.3f}",
            "–" if each.roc_auc is None else f"{each.roc_auc:.3f}",
            percent(each.top2_accuracy),
        ]
        for name, each in kinds.items()
        if each is not None
    ]
    columns = ["probabilities", "calibration error", "log loss", "ROC AUC", "among the top 2"]
    return Grid(columns, rows)


def describe_calibration(findings: Findings) -> str:
    temperature = findings.predicted.temperature
    if temperature is None:
        return "The checkpoint holds no temperature: its probabilities are as the network gives."
    sure = "too sure of itself" if temperature > 1 else "not sure enough of itself"
    return (
        f"A temperature of {temperature:.2f} was fitted on the validation part (the network was"
        f" {sure} there); predictions divide the logits by it. It changes no decision. A dot on"
        f" the diagonal is right as often as it claims.{describe_harm(findings.overall)}"
    )


def describe_harm(overall: Judgement) -> str:
    """A sentence where the temperature fits what is judged worse than none, or nothing."""
    before, after = overall.probabilities, overall.calibrated
    if after is None or after.calibration_error <= before.calibration_error:
        return ""
    return (
        f" Here it did not help: the calibration error is {after.calibration_error:.1%} with it and"
        f" {before.calibration_error:.1%} without (--raw predicts without)."
    )


def list_commands(findings: Findings) -> str:
    return "\n".join(
        shlex.join(["python", *words])
        for words in (
            ["train.py", *findings.blueprint.config.get("command", [])],
            ["evaluate.py", *findings.command],
        )
    )


def list_facts(findings: Findings) -> list[tuple[str, str]]:
    """Name and value of what else tells one run from another."""
    trained = provenance.read(run_folder(findings.checkpoint))
    facts = [
        ("Checkpoint", str(findings.checkpoint)),
        ("Manifest of the training", f"sha256 {findings.blueprint.manifest}"),
        ("Manifest of these data", f"sha256 {findings.manifest.fingerprint}"),
        ("Parameters", f"{findings.parameters:,}"),
    ]
    if trained is None:
        return [*facts, ("Training", "machine, versions and duration were not recorded")]
    minutes, seconds = divmod(round(trained.seconds), 60)
    machine = ", ".join(trained.devices) or f"{trained.processor}, {trained.cores} cores"
    return [
        *facts,
        ("Training time", f"{minutes} min {seconds} s"),
        *([] if trained.joules is None else [("Energy of the GPUs", kilowatt_hours(trained))]),
        ("Trained on", machine),
        ("System", trained.system),
        ("Versions", ", ".join(f"{name} {what}" for name, what in trained.versions.items())),
        ("Commit", trained.commit or "not known: not run from a repository"),
    ]


def kilowatt_hours(trained: provenance.Provenance) -> str:
    return f"{(trained.joules or 0) / 3.6e6:.3g} kWh, by their own counters"


def show_mistake(mistake: Mistake) -> dict[str, str | float | Markup]:
    picture = draw_spectrogram(log_mel(mistake.waveform), len(mistake.waveform) / 16_000)
    return {
        "id": mistake.id,
        "true": mistake.true,
        "predicted": mistake.predicted,
        "confidence": mistake.confidence,
        "audio": to_data_uri(mistake.waveform),
        "picture": page.picture(picture, f"log-mel spectrogram of {mistake.id}"),
    }
