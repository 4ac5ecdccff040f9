"""What report.html and report.md say: one context of words and formatted numbers for both."""

import shlex
from typing import Any

import yaml

from ser.config.plain import key_of
from ser.errors import amount
from ser.evaluation.result import EvaluationResult
from ser.metrics.intervals import Interval
from ser.metrics.summary import GroupMetrics
from ser.models.checkpoint import run_folder
from ser.reports import adaptation, sections, texts
from ser.reports import data_summary as card
from ser.reports import robustness as robust
from ser.reports.analysis import Analysis
from ser.reports.data_summary import DataCard
from ser.reports.robustness import RobustnessResult
from ser.reports.tables import count, fraction, show_interval
from ser.reports.training_facts import TrainingFacts, describe_training
from ser.training import provenance
from ser.training.logs import History

FEW = 10  # speakers, below which an interval cannot know what kinds of speakers are missing


def describe(
    result: EvaluationResult,
    analysis: Analysis,
    robustness: RobustnessResult | None,
    history: History | None,
) -> dict[str, Any]:
    """All words and numbers of the report."""
    overall = result.overall
    facts = describe_training(result.metadata)
    return {
        "title": f"Emotion recognition: {result.named_part}",
        "subtitle": describe_evaluation(result),
        "training": describe_model(result, facts, history),
        "notices": find_notices(result, analysis),
        "headline": list_headline(result),
        "intervals": describe_intervals(overall),
        "baselines": describe_baselines(overall),
        "emotions": sections.tabulate_emotions(overall),
        "absent": ", ".join(n for n, row in overall.scores.classes.items() if not row.support),
        "groups": sections.list_groups(result, analysis),
        "gaps": sections.tabulate_gaps(analysis),
        "speakers": sections.tabulate_speakers(result),
        "worst": sections.describe_worst(analysis),
        **describe_sentences(analysis),
        **describe_adaptation(result),
        "listeners": analysis.listeners and sections.describe_listeners(analysis.listeners),
        "probabilities": sections.tabulate_probabilities(result),
        "calibration": sections.describe_calibration(result),
        "selective": sections.tabulate_selective(analysis),
        "selective_words": sections.describe_selective(analysis),
        "robustness": robustness and robust.tabulate(robustness),
        "robustness_words": robustness and robust.describe(robustness),
        "suspects": sections.tabulate_suspects(result, analysis),
        **describe_data(result),
        "commands": list_commands(result, facts),
        "facts": list_facts(result),
        "configuration": describe_configuration(result, facts),
        "acted": texts.ACTED,
        "law": texts.LAW,
        "uar": texts.UAR,
    }


def describe_evaluation(result: EvaluationResult) -> str:
    speakers = result.overall.speakers
    people = amount(speakers, "speaker") if speakers else "unknown speakers"
    return (
        f"{result.overall.scores.utterances:,} utterances of {people} ({', '.join(result.corpora)})"
    )


def describe_model(result: EvaluationResult, facts: TrainingFacts, history: History | None) -> str:
    """Model, training data, split and epochs in a line."""
    if result.foreign_model:
        return f"Model: {facts.backbone}; its training data are not known."
    if result.ensemble:
        data = ", ".join(facts.data) or "unknown data"
        return (
            f"Model: the mean of {len(result.ensemble)} models; trained on {data}; {facts.split}."
        )
    epochs = history.epochs if history is not None and history.panels() else None
    words = [
        f"Model: {facts.backbone if result.baseline else facts.model}",
        f"trained on {', '.join(facts.data) or 'unknown data'}",
        facts.split,
        facts.seeds,
    ]
    if epochs is not None:
        words.append(amount(epochs, "epoch"))
    return "; ".join(words) + "."


def describe_configuration(result: EvaluationResult, facts: TrainingFacts) -> str:
    """All settings of the training, or the members of an ensemble, as YAML."""
    content = {"members": list(result.ensemble)} if result.ensemble else facts.config
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def describe_sentences(analysis: Analysis) -> dict[str, Any]:
    found = analysis.sentences
    if found is None:
        return {"sentences": None, "sentence_words": ""}
    table = sections.tabulate_groups(found.kinds, "sentence in")
    return {"sentences": table, "sentence_words": sections.describe_sentences(found)}


def describe_adaptation(result: EvaluationResult) -> dict[str, Any]:
    found = result.adaptation
    if found is None:
        return {"adaptation": None, "adaptation_words": ""}
    table = adaptation.tabulate(found, result.overall)
    return {"adaptation": table, "adaptation_words": adaptation.describe(found)}


def describe_data(result: EvaluationResult) -> dict[str, Any]:
    data = DataCard(result.manifest, result.settings.data, result.settings.split)
    tables = (card.tabulate_corpora, card.tabulate_parts, card.tabulate_recordings)
    return {
        "data": [tabulate(data) for tabulate in tables] + [card.tabulate_origins(data)],
        "dropped": card.count_reasons(data),
        "repaired": card.list_repairs(data),
        "ambiguity": card.describe_ambiguity(data),
        "left_out": result.describe_left_out(),
    }


def find_notices(result: EvaluationResult, analysis: Analysis) -> list[tuple[str, str]]:
    """What a reader must know before the numbers, the most serious first: text and kind."""
    notices = []
    if result.synthetic:
        notices.append((texts.SYNTHETIC, "alarm"))
    if result.part == "train":
        notices.append((texts.SAME_PART, "alarm"))
    elif result.overlap.flatters and not result.foreign_model:
        words = result.describe_overlap()
        notices.append((f"{words} Scores are higher than for new speakers.", "alarm"))
    else:
        notices.append((result.describe_overlap(), "remark"))
    if result.part == "val":
        notices.append((texts.CHOSEN_PART, "alarm"))
    if analysis.sentences is not None and analysis.sentences.telling:
        notices.append((sections.describe_sentences(analysis.sentences), "alarm"))
    if result.overall.speakers < FEW and not result.overall.no_interval:
        words = (
            f"{result.overall.speakers} speakers are few: the interval assumes that other speakers"
            " differ as these do."
        )
        notices.append((words, "remark"))
    return notices


def describe_intervals(overall: GroupMetrics) -> str:
    if overall.no_interval:
        return f"There is no interval for the UAR: {overall.no_interval}."
    return texts.INTERVALS


def describe_baselines(overall: GroupMetrics) -> str:
    found = overall.baselines
    return (
        f"Always predicting {found.majority_class} has an accuracy of {fraction(found.majority)},"
        f" uniform guessing {fraction(found.chance)} (chance)."
    )


def list_headline(result: EvaluationResult) -> list[tuple[str, str, str]]:
    """Value, label and note of the few numbers on top."""
    overall, temperature = result.overall, result.predicted.temperature
    scores, intervals = overall.scores, overall.intervals
    probabilities = overall.calibrated or overall.probabilities
    chance, majority = map(fraction, (overall.baselines.chance, overall.baselines.majority))

    def note(name: str, extra: str = "") -> str:
        return "\n".join(filter(None, (between(intervals.get(name)), extra)))

    return [
        (fraction(scores.uar), "UAR", note("uar", f"chance {chance}")),
        (fraction(scores.accuracy), "Accuracy", note("accuracy", f"majority {majority}")),
        (fraction(scores.macro_f1), "Macro F1", note("macro_f1")),
        (fraction(scores.weighted_f1), "Weighted F1", note("weighted_f1")),
        (fraction(probabilities.top2_accuracy), "Top-2 accuracy", note("top2_accuracy")),
        (
            fraction(probabilities.calibration_error),
            "Calibration error",
            "as trained" if temperature in (None, 1) else f"temperature {temperature:.2f}",
        ),
    ]


def between(interval: Interval | None) -> str:
    return "" if interval is None else show_interval(interval)


def list_commands(result: EvaluationResult, facts: TrainingFacts) -> str:
    """The commands of a shell that train and evaluate; a resumed run can be trained in one go."""
    if result.baseline:
        return shlex.join(["ser", "baseline", *result.command])
    commands = [shlex.join(["ser", "evaluate", *result.command])]
    if result.ensemble:
        output = str(result.checkpoint.parent)
        commands.insert(0, shlex.join(["ser", "ensemble", *result.ensemble, "--output", output]))
    elif not result.foreign_model:
        train = ["ser", "train"]
        whole = [word for word in facts.command if key_of(word) != "ckpt"]
        if whole != facts.command:
            commands.insert(0, f"# The run was resumed: {shlex.join([*train, *facts.command])}")
        commands.insert(0, shlex.join([*train, *whole]))
    return "\n".join(commands)


def list_facts(result: EvaluationResult) -> list[tuple[str, str]]:
    """Name and value of what else identifies a run."""
    if result.baseline:
        manifest = f"sha256 {result.manifest.fingerprint}"
        return [("Chosen settings", str(result.checkpoint)), ("Manifest", manifest)]
    facts = [
        ("Evaluation manifest", f"sha256 {result.manifest.fingerprint}"),
        ("Parameters", count(result.parameters)),
        ("Precision", result.describe_precision()),
    ]
    if result.foreign_model or result.ensemble:
        return facts
    trained = provenance.read(run_folder(result.checkpoint))
    facts = [
        ("Checkpoint", str(result.checkpoint)),
        ("Training manifest", f"sha256 {result.metadata.manifest}"),
        *facts,
    ]
    if trained is None:
        return [*facts, ("Training", "machine, versions and duration were not recorded")]
    minutes, seconds = divmod(round(trained.seconds), 60)
    machine = ", ".join(trained.devices) or f"{trained.processor}, {trained.cores} cores"
    energy = [] if trained.joules is None else [("GPU energy", kilowatt_hours(trained))]
    return [
        *facts,
        ("Training time", f"{minutes} min {seconds} s"),
        *energy,
        ("Trained on", machine),
        ("System", trained.system),
        ("Versions", ", ".join(f"{name} {what}" for name, what in trained.versions.items())),
        ("Commit", trained.commit or "unknown: not run from a repository"),
    ]


def kilowatt_hours(trained: provenance.Provenance) -> str:
    return f"{(trained.joules or 0) / 3.6e6:.3g} kWh, by the counters of the GPUs"
