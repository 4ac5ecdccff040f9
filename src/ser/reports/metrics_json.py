"""metrics.json: every number of a report, as docs/metrics.md explains it."""

import json
import re
from dataclasses import asdict
from typing import Any

from ser.evaluation.result import EvaluationResult
from ser.metrics.gaps import Gap
from ser.metrics.summary import GroupMetrics
from ser.preparation.leaks import find_leaks
from ser.reports import adaptation
from ser.reports.analysis import Analysis, SentenceScores
from ser.reports.training_facts import describe_training

SCHEMA = 3  # docs/metrics.md; a change that breaks readers gets a new number
READABLE = (2, SCHEMA)  # what `ser compare` reads


def to_json(content: dict[str, Any]) -> str:
    """Indented JSON with lists of numbers on one line, so that a matrix can be read."""
    text = json.dumps(content, indent=2, allow_nan=False)
    return re.sub(r"\[[\s\d,.]+\]", lambda match: " ".join(match[0].split()), text) + "\n"


def describe_group(group: GroupMetrics) -> dict[str, Any]:
    """Plain values; the scores of a class that does not occur are null."""
    plain = asdict(group)
    plain |= plain.pop("scores")
    for row in plain["classes"].values():
        if not row["support"]:
            row |= {"recall": None, "f1": None, "precision": None}
    return plain


def describe_groups(groups: dict[str, GroupMetrics]) -> dict[str, Any]:
    return {name: describe_group(group) for name, group in groups.items()}


def describe_gap(gap: Gap) -> dict[str, Any]:
    return asdict(gap) | {"gap": gap.gap}


def describe_sentences(sentences: SentenceScores | None) -> dict[str, Any] | None:
    if sentences is None:
        return None
    found = sentences.baseline
    return {
        "uar_from_sentence": found.uar,
        "chance": found.chance,
        "corpora": {
            name: {"uar_from_sentence": each.uar, "chance": each.chance}
            for name, each in sentences.corpora.items()
        },
        "kinds": describe_groups(sentences.kinds),
    }


def describe(
    result: EvaluationResult, analysis: Analysis, robustness: dict[str, Any] | None
) -> dict[str, Any]:
    """The content of metrics.json."""
    leaks, fit = find_leaks(result.manifest.utterances), result.predicted.fit
    return {
        "schema": SCHEMA,
        "checkpoint": str(result.checkpoint),
        "part": str(result.part),
        "synthetic": result.synthetic,
        "manifest": result.manifest.fingerprint,
        "labels": list(result.predicted.names),
        "temperature": result.predicted.temperature,
        "temperature_fit": None if fit is None else asdict(fit),
        "val_uar": result.val_uar,
        "precision": result.precision,
        "bf16_parity": None if result.parity is None else asdict(result.parity),
        "overall": describe_group(result.overall),
        "corpora": describe_groups(result.corpora),
        "genders": describe_groups(result.genders),
        "groups": {name: describe_groups(each) for name, each in analysis.groups.items()},
        "gaps": {name: [describe_gap(gap) for gap in each] for name, each in analysis.gaps.items()},
        "speakers": {name: asdict(row) for name, row in result.speakers.items()},
        "worst_speakers": analysis.worst and asdict(analysis.worst),
        "sentences": describe_sentences(analysis.sentences),
        "adaptation": adaptation.to_plain(result.adaptation),
        "listeners": analysis.listeners and asdict(analysis.listeners),
        "selective": asdict(analysis.selective),
        "label_errors": len(analysis.label_errors),
        "exposure": asdict(result.overlap),
        "robustness": robustness,
        "speakers_in_several_parts": len(leaks.speakers),
        "left_out": result.left_out,
        "dropped": result.manifest.dropped["reason"].value_counts().to_dict(),
        "parameters": result.parameters,
        "ensemble": list(result.ensemble),
        "config": None if result.ensemble else describe_training(result.metadata).config,
    }
