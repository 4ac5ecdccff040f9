"""evaluate(config) -> scores: rebuild everything from a checkpoint and judge it on one part."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import BasePredictionWriter
from transformers import Wav2Vec2FeatureExtractor

from ser import exposure, history, report, robustness
from ser.atomic import replacing_path
from ser.cache import AudioCache
from ser.config import EvaluateConfig, TrainConfig
from ser.data import EmotionDataModule
from ser.findings import Findings
from ser.judgement import Predicted, judge, judge_by, judge_speakers
from ser.manifest import Manifest
from ser.metrics import Scores
from ser.mistakes import find_mistakes
from ser.model import load_network, read_validation, run_folder
from ser.module import EmotionClassifier
from ser.robustness import DisturbedAudio, Robustness
from ser.subject import WHOLE, Subject, adapt, choose
from ser.training import quieten


def evaluate(config: EvaluateConfig) -> Scores:
    """Score a checkpoint on a part of the data it was trained with, and write its report.

    With `data.corpora` only those are judged; all of their utterances where the model has seen
    none. Raises ValueError where the data are no longer those of the training.
    """
    quieten()
    checkpoint = Path(config.ckpt)
    network, blueprint = load_network(checkpoint)
    validation = read_validation(checkpoint)
    settings = adapt(config, blueprint)
    subject = choose(config, settings, blueprint)
    folder = report_folder(config, subject)
    module = EmotionClassifier(network, blueprint, settings.model)
    folder.mkdir(parents=True, exist_ok=True)
    predicted = Predicted(
        utterances=subject.utterances,
        logits=predict(module, subject.utterances, settings, config, file=folder / "logits.npy"),
        names=tuple(blueprint.labels),
        temperature=validation.temperature,
    )
    audio = cache_of(settings)
    found = Findings(
        checkpoint=checkpoint,
        part=subject.part,
        command=config.command or [f"ckpt={config.ckpt}"],
        settings=settings,
        blueprint=blueprint,
        parameters=sum(weights.numel() for weights in network.parameters()),
        manifest=subject.manifest,
        predicted=predicted,
        overall=judge(predicted),
        corpora=judge_by(predicted, "corpus"),
        genders=judge_by(predicted, "gender"),
        speakers=judge_speakers(predicted),
        exposure=exposure.examine(subject.utterances, subject.train, foreign=subject.part == WHOLE),
        mistakes=find_mistakes(predicted, audio),
        left_out=subject.left_out,
        synthetic=subject.synthetic,
        val_uar=validation.uar,
        robustness=disturb(module, predicted, settings, config) if config.robustness else None,
    )
    report.write(found, folder)
    report.show_scores(found, folder)
    if folder == run_folder(checkpoint) / "report":
        history.log_test(run_folder(checkpoint), found.overall.scores)
    return found.overall.scores


def report_folder(config: EvaluateConfig, subject: Subject) -> Path:
    """`report` for the best checkpoint on the test part; any other judgement has its own folder."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    checkpoint = Path(config.ckpt)
    words = [checkpoint.stem, subject.part, *config.data.corpora]
    if subject.part == WHOLE and config.data.table is not None:
        words.append(Path(config.data.table).stem)
    usual = words == ["best", "test"]
    return run_folder(checkpoint) / ("report" if usual else f"report-{'-'.join(words)}")


def cache_of(settings: TrainConfig) -> AudioCache:
    return AudioCache(Path(settings.data.cache_dir))


class LogitsWriter(BasePredictionWriter):
    """Puts logits into a file as they come, so memory does not grow with the part."""

    def __init__(self, rows: np.ndarray) -> None:
        super().__init__(write_interval="batch")
        self.rows = rows

    def write_on_batch_end(
        self, trainer: Any, pl_module: Any, prediction: Any, *unused: Any, **named: Any
    ) -> None:
        places, logits = prediction
        self.rows[places.cpu().numpy()] = logits.float().cpu().numpy()


def predict(
    module: EmotionClassifier,
    utterances: pd.DataFrame,
    settings: TrainConfig,
    config: EvaluateConfig,
    *,
    file: Path | None = None,
    disturbed: tuple[str, float] | None = None,
) -> np.ndarray:
    """The logits (utterances, classes), mapped from a NumPy file where one is named."""
    extractor = Wav2Vec2FeatureExtractor(**module.hparams["feature_extractor"])
    nothing = Manifest(utterances.assign(split="judged"), utterances.iloc[:0])
    data = EmotionDataModule(nothing, settings.data, extractor)
    if disturbed is not None:
        data.cache = cast(AudioCache, DisturbedAudio(data.cache, *disturbed, seed=0))
    shape = (len(utterances), len(module.labels))
    with mapped_rows(file, shape) as rows:
        trainer = build_trainer(config, LogitsWriter(rows), bar=file is not None)
        trainer.predict(module, data.loader("judged"), return_predictions=False)
    return rows


@contextmanager
def mapped_rows(file: Path | None, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Rows (utterances, classes) of zeros, in memory or in a NumPy file, whole at the end."""
    if file is None:
        yield np.zeros(shape, np.float32)
        return
    with replacing_path(file) as temporary:
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        yield rows
        rows.flush()


def build_trainer(config: EvaluateConfig, writer: LogitsWriter, *, bar: bool) -> Trainer:
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=1,  # several would see some utterances twice
            logger=False,
            callbacks=[writer],
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=bar,
        )
    except MisconfigurationException as error:
        raise ValueError(f"accelerator={config.accelerator}: {error}") from error


def disturb(
    module: EmotionClassifier, predicted: Predicted, settings: TrainConfig, config: EvaluateConfig
) -> Robustness:
    """The scores of (a sample of) the utterances under each disturbance."""
    sample = predicted.utterances
    if len(sample) > robustness.EXAMINED:
        sample = sample.sample(robustness.EXAMINED, random_state=0).reset_index(drop=True)
    labels = replace(predicted, utterances=sample).labels

    def hear(name: str | None, level: float) -> np.ndarray:
        disturbed = None if name is None else (name, level)
        return predict(module, sample, settings, config, disturbed=disturbed)

    return robustness.measure(hear, labels, predicted.names)
