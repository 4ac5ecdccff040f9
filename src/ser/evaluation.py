"""evaluate(config) -> scores: rebuild everything from a checkpoint and judge it on one part."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException
from transformers import Wav2Vec2FeatureExtractor

from ser import metrics, report
from ser.compose import from_plain
from ser.config import EvaluateConfig, TrainConfig
from ser.data import EmotionDataModule
from ser.manifest import Manifest, read
from ser.metrics import Scores
from ser.model import Blueprint, load_network, run_folder
from ser.module import EmotionClassifier
from ser.preparation import prepare
from ser.training import quieten


def evaluate(config: EvaluateConfig) -> Scores:
    """Score a checkpoint on a part of the data it was trained with, and write its report.

    Raises ValueError where the data are no longer those of the training.
    """
    quieten()
    checkpoint = Path(config.ckpt)
    network, blueprint = load_network(checkpoint)
    try:
        settings = from_plain(blueprint.config, changes(config))
    except (ValueError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{checkpoint} cannot be evaluated with these settings: {reason}"
        ) from error
    manifest = prepare(settings.data, settings.split)
    check_data(manifest, blueprint, checkpoint)
    module = EmotionClassifier(network, blueprint, settings.model)
    logits = predict(module, manifest, settings, config)
    utterances = manifest.part(config.part)
    predictions = tabulate(utterances, logits, blueprint.labels)
    evaluation = report.Evaluation(
        checkpoint=checkpoint,
        part=config.part,
        synthetic=settings.data.synthetic is not None,
        labels=tuple(blueprint.labels),
        scores=score(predictions, blueprint.labels),
        corpora={
            str(name): score(rows, blueprint.labels) for name, rows in predictions.groupby("corpus")
        },
        predictions=predictions,
        manifest=manifest,
    )
    folder = report_folder(config)
    report.write(evaluation, folder)
    report.show_scores(evaluation, folder)
    return evaluation.scores


def report_folder(config: EvaluateConfig) -> Path:
    """`report` for the best checkpoint on the test part; any other judgement has its own folder."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    checkpoint = Path(config.ckpt)
    usual = (checkpoint.stem, config.part) == ("best", "test")
    name = "report" if usual else f"report-{checkpoint.stem}-{config.part}"
    return run_folder(checkpoint) / name


def changes(config: EvaluateConfig) -> dict[str, Any]:
    """What differs from training: where things lie now, and batch size; nothing is resumed."""
    given = {name: value for name, value in asdict(config.data).items() if value is not None}
    given["paths"] = {name: path for name, path in config.data.paths.items() if path is not None}
    return {"data": given, "ckpt": None}


def check_data(manifest: Manifest, blueprint: Blueprint, checkpoint: Path) -> None:
    """Raise ValueError where files were added, changed or lost since training.

    The parts would no longer be the same ones, and the test part might hold what was trained on.
    """
    if manifest.fingerprint == blueprint.manifest:
        return
    difference = ""
    recorded = run_folder(checkpoint) / "manifest.csv"
    if recorded.is_file():
        then, now = set(read(recorded)["content"]), set(manifest.utterances["content"])
        gone, new = len(then - now), len(now - then)
        difference = (
            f" ({gone} recordings gone, {new} new)" if gone or new else " (split otherwise)"
        )
    raise ValueError(
        f"the corpora are not those that {checkpoint} was trained on{difference}: name the"
        " unchanged copy with data.paths.<corpus>=FOLDER, or train again"
    )


def predict(
    module: EmotionClassifier, manifest: Manifest, settings: TrainConfig, config: EvaluateConfig
) -> np.ndarray:
    """The logits (utterances, classes) of one part, in the order of `manifest.part`."""
    extractor = Wav2Vec2FeatureExtractor(**module.hparams["feature_extractor"])
    data = EmotionDataModule(manifest, settings.data, extractor)
    try:
        trainer = Trainer(
            accelerator=config.accelerator,
            devices=1,  # several would see some utterances twice
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise ValueError(f"accelerator={config.accelerator}: {error}") from error
    batches: Any = trainer.predict(module, data.loader(config.part))
    rows = torch.cat([rows for rows, _ in batches])
    logits = torch.cat([logits for _, logits in batches])
    return logits[rows.argsort()].numpy()


def tabulate(utterances: pd.DataFrame, logits: np.ndarray, labels: list[str]) -> pd.DataFrame:
    """One row an utterance: what it is, what it was taken for, the probability of each class."""
    probabilities = torch.from_numpy(logits).softmax(dim=1).numpy()
    table = utterances[["id", "corpus", "speaker", "gender", "split", "emotion"]].copy()
    table["predicted"] = [labels[index] for index in probabilities.argmax(axis=1)]
    table[[f"p_{label}" for label in labels]] = probabilities
    return table


def score(predictions: pd.DataFrame, labels: list[str]) -> Scores:
    """The scores of rows of `tabulate`."""
    true = predictions["emotion"].map(labels.index).to_numpy()
    predicted = predictions["predicted"].map(labels.index).to_numpy()
    return metrics.score(true, predicted, labels)
