"""Train the acoustic baseline on a split, and score it as a trained network is scored."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ser.audio.cache import AudioCache
from ser.audio.recording import SAMPLE_RATE
from ser.config.backbone import BackboneConfig
from ser.config.baseline import RECORD, Classifier, FeatureSet
from ser.config.train import TrainConfig
from ser.evaluation import overlap
from ser.evaluation.misclassified import find_misclassified
from ser.evaluation.result import EvaluationResult
from ser.metrics.calibration import fit_temperature
from ser.metrics.scores import score, to_indices
from ser.metrics.summary import Predictions
from ser.models.checkpoint import CheckpointMetadata
from ser.preparation.manifest import Manifest
from ser.preparation.prepare import prepare
from ser.system.atomic import write_text
from ser.training.baseline import Features, extract_all, fit


def run_baseline(
    config: TrainConfig, folder: Path, features: FeatureSet, classifier: Classifier
) -> EvaluationResult:
    """Fit on the training part, calibrate on the validation part, and score the test part.

    Writes the chosen settings and the manifest to `folder`, which the caller moves to
    `config.output_dir`: that is the path in the result.
    """
    cache = AudioCache(Path(config.data.cache_dir))
    manifest = prepare(config.data, config.split, cache)
    labels = config.data.label_space
    tables = {part: manifest.part(part) for part in ("train", "val", "test")}
    values = {part: extract(table, cache, config, features) for part, table in tables.items()}
    known = {part: to_indices(table["emotion"], labels, "labels") for part, table in tables.items()}
    speakers = tables["train"]["speaker"].tolist()
    fitted = fit(values["train"], known["train"], speakers, kind=classifier, seed=config.seed)
    validated = fitted.logits(values["val"], len(labels))
    calibration = fit_temperature(validated, known["val"], tables["val"]["speaker"].to_numpy(str))
    val_uar = score(known["val"], validated.argmax(axis=1), labels).uar
    predictions = Predictions(
        utterances=tables["test"],
        logits=fitted.logits(values["test"], len(labels)).astype(np.float64),
        names=tuple(labels),
        temperature=calibration.temperature,
        fit=calibration,
    )
    chosen = {"features": features, "classifier": str(fitted.candidate), "cv_uar": fitted.score}
    write_text(folder / RECORD, json.dumps(chosen | {"val_uar": val_uar}, indent=2) + "\n")
    manifest.write(folder)
    name = f"acoustic baseline ({features}, {fitted.candidate})"
    record = Path(config.output_dir) / RECORD
    result = assemble(config, name, manifest, predictions, record)
    errors = find_misclassified(predictions, cache)
    return replace(result, misclassified=errors, val_uar=val_uar)


def extract(
    table: pd.DataFrame, cache: AudioCache, config: TrainConfig, features: FeatureSet
) -> Features:
    """The features (utterances, size) of a part, from at most `data.max_seconds` of each."""
    recordings = cache.recordings(table["content"].tolist())
    longest = round(config.data.max_seconds * SAMPLE_RATE)
    return extract_all(recordings, features, longest)


def assemble(
    config: TrainConfig, name: str, manifest: Manifest, predictions: Predictions, record: Path
) -> EvaluationResult:
    """What a report shows of the baseline; it takes the place of a backbone without weights."""
    backbone = BackboneConfig(name, pretrained=False)
    described = replace(config, model=replace(config.model, backbone=backbone))
    metadata = CheckpointMetadata(
        described, predictions.names, SAMPLE_RATE, {}, {}, manifest.fingerprint
    )
    return EvaluationResult(
        checkpoint=record,
        part="test",
        command=list(config.command),
        settings=described,
        metadata=metadata,
        parameters=0,
        manifest=manifest,
        predicted=predictions,
        overlap=overlap.examine(predictions.utterances, manifest.part("train")),
        misclassified=[],
        synthetic=config.data.synthetic is not None,
        baseline=True,
    )
