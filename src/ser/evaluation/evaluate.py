"""evaluate(config): predict one part of the data with a checkpoint and score the predictions."""

from pathlib import Path
from typing import Any

import numpy as np

from ser.audio.cache import AudioCache, Recordings
from ser.config.evaluate import EvaluateConfig
from ser.config.model import Standardize
from ser.evaluation import overlap
from ser.evaluation.adaptation import Adaptation, measure_adaptation
from ser.evaluation.data import WHOLE, EvaluationData, choose_data, update_settings
from ser.evaluation.misclassified import find_misclassified
from ser.evaluation.predict import (
    Waveforms,
    WindowLogits,
    embed_utterances,
    predict_utterances,
)
from ser.evaluation.result import EvaluationResult
from ser.evaluation.robustness import MOST_UTTERANCES, Robustness, measure_robustness
from ser.evaluation.source import open_model
from ser.inference.predictor import Predictor
from ser.metrics.calibration import TemperatureFit
from ser.metrics.summary import Predictions
from ser.models.checkpoint import run_folder
from ser.system.progress import progress_bar

DEVICES = {"gpu": "cuda"}  # names of Lightning's accelerators that torch does not know


def evaluate(config: EvaluateConfig) -> EvaluationResult:
    """The predictions and scores of a checkpoint on a part of its data, or on other data.

    Nothing is written. Raises UserError if the data differ from those of the training.
    """
    opened = open_model(config)
    checkpoint, model = opened.checkpoint, opened.model
    settings = update_settings(config, checkpoint)
    predictor = Predictor(
        model, device_of(config), precision=config.precision, speeds=config.speeds
    )
    cache = AudioCache(Path(settings.data.cache_dir))
    data = choose_data(config, settings, checkpoint, cache)
    batch_size = config.data.batch_size or settings.data.batch_size
    recordings = cache.recordings(data.utterances["content"].tolist())
    predictions, adaptation = predict(
        *(predictor, data, recordings, batch_size),
        temperature=model.temperature,
        fit=checkpoint.validation.fit if opened.path == checkpoint.path else None,
        by=checkpoint.metadata.config.model.standardize,
    )
    return EvaluationResult(
        checkpoint=opened.path,
        part=data.part,
        command=config.command or [f"ckpt={config.ckpt}"],
        settings=settings,
        metadata=opened.metadata,
        parameters=sum(weights.numel() for weights in predictor.network.parameters()),
        manifest=data.manifest,
        predicted=predictions,
        overlap=overlap.examine(data.utterances, data.train, foreign=data.part == WHOLE),
        misclassified=find_misclassified(predictions, cache),
        left_out=data.left_out,
        synthetic=data.synthetic,
        foreign_model=opened.name is not None,
        ensemble=opened.members,
        val_uar=checkpoint.validation.uar if opened.path == checkpoint.path else None,
        trained_steps=checkpoint.content.get("global_step"),
        precision=str(predictor.precision),
        speeds=tuple(predictor.speeds),
        parity=model.parity,
        robustness=evaluate_robustness(predictor, predictions, cache, batch_size)
        if config.robustness
        else None,
        adaptation=adaptation,
    )


def device_of(config: EvaluateConfig) -> str:
    return DEVICES.get(config.accelerator, config.accelerator)


def predict(
    predictor: Predictor,
    data: EvaluationData,
    recordings: Recordings,
    batch_size: int,
    *,
    temperature: float | None,
    fit: TemperatureFit | None,
    by: Standardize,
) -> tuple[Predictions, Adaptation | None]:
    """The predictions for all utterances, and their scores after adaptation, if it is possible."""
    features = None
    with progress_bar("utterances") as progress:
        task = progress.add_task("Predicting", total=len(recordings))

        def advance(done: int) -> None:
            progress.update(task, completed=done)

        if predictor.adaptable and predictor.speeds == (1.0,):
            features = embed_utterances(predictor, recordings, batch_size, advance)
            windows = WindowLogits(predictor.classify(features.features), features.rows)
        else:
            windows = predict_utterances(predictor, recordings, batch_size, advance)
    predictions = Predictions(
        utterances=data.utterances,
        logits=windows.combine(temperature),
        names=tuple(predictor.labels),
        temperature=temperature,
        fit=fit,
    )
    if features is None:
        return predictions, None
    return predictions, measure_adaptation(predictor, features, predictions, by)


def evaluate_robustness(
    predictor: Predictor, predictions: Predictions, cache: AudioCache, batch_size: int
) -> Robustness:
    """The scores of (a sample of) the utterances under each perturbation."""
    rows = np.arange(len(predictions.utterances))
    if len(rows) > MOST_UTTERANCES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_UTTERANCES, replace=False))
    sample = predictions.utterances.iloc[rows]
    recordings = cache.recordings(sample["content"].tolist())

    def predict_labels(waveforms: Waveforms) -> np.ndarray:
        windows = predict_utterances(predictor, waveforms, batch_size)
        return windows.combine(predictions.temperature).argmax(axis=1)

    run: Any = predict_labels
    return measure_robustness(run, recordings, predictions.labels[rows], predictions.names)


def report_folder(config: EvaluateConfig, result: EvaluationResult) -> Path:
    """`report/` for the best checkpoint on the test part at one speed; others have their own."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    run = run_folder(result.checkpoint)
    words = [result.checkpoint.stem, result.part, *config.data.corpora]
    if result.part == WHOLE and config.data.table is not None:
        words.append(Path(config.data.table).stem)
    if result.speeds != (1.0,):
        words.append("speeds-" + "-".join(f"{speed:g}" for speed in result.speeds))
    return run / ("report" if words == ["best", "test"] else f"report-{'-'.join(words)}")
