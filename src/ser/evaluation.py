"""evaluate(config) -> scores: rebuild everything from a checkpoint and judge it on one part."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from lightning import Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import BasePredictionWriter
from omegaconf.errors import OmegaConfBaseException
from transformers import Wav2Vec2FeatureExtractor

from ser import exposure, history, report, robustness
from ser.cache import AudioCache
from ser.compose import from_plain
from ser.config import EvaluateConfig, Part, TrainConfig
from ser.data import EmotionDataModule
from ser.data_config import DataConfig
from ser.findings import Findings
from ser.judgement import Predicted, judge, judge_by, judge_speakers
from ser.manifest import Manifest, Reason, read
from ser.metrics import Scores
from ser.mistakes import find_mistakes
from ser.model import Blueprint, load_network, read_temperature, run_folder
from ser.module import EmotionClassifier
from ser.preparation import build, prepare
from ser.robustness import DisturbedAudio, Robustness
from ser.table import scan_table
from ser.training import quieten


@dataclass(frozen=True)
class Subject:
    """What is judged: the utterances of `part` in a manifest, with labels the model knows.

    `train` are the utterances that the model was trained on, as far as they are in the manifest.
    """

    manifest: Manifest
    part: str
    utterances: pd.DataFrame
    train: pd.DataFrame
    left_out: dict[str, int]


def evaluate(config: EvaluateConfig) -> Scores:
    """Score a checkpoint on a part of the data it was trained with, and write its report.

    With `data.corpora` only those are judged; all of their utterances where the model has seen
    none. Raises ValueError where the data are no longer those of the training.
    """
    quieten()
    checkpoint, folder = Path(config.ckpt), report_folder(config)
    network, blueprint = load_network(checkpoint)
    settings = adapt(config, blueprint)
    subject = choose(config, settings, blueprint)
    module = EmotionClassifier(network, blueprint, settings.model)
    folder.mkdir(parents=True, exist_ok=True)
    predicted = Predicted(
        utterances=subject.utterances,
        logits=predict(module, subject.utterances, settings, config, file=folder / "logits.npy"),
        names=tuple(blueprint.labels),
        temperature=read_temperature(checkpoint),
    )
    audio = cache_of(settings)
    found = Findings(
        checkpoint=checkpoint,
        part=subject.part,
        command=describe_command(config),
        settings=settings,
        blueprint=blueprint,
        parameters=sum(weights.numel() for weights in network.parameters()),
        manifest=subject.manifest,
        predicted=predicted,
        overall=judge(predicted),
        corpora=judge_by(predicted, "corpus"),
        genders=judge_by(predicted, "gender"),
        speakers=judge_speakers(predicted),
        exposure=exposure.examine(
            subject.utterances, subject.train, foreign=subject.part == "whole"
        ),
        mistakes=find_mistakes(predicted, audio),
        left_out=subject.left_out,
        robustness=disturb(module, predicted, settings, config) if config.robustness else None,
    )
    report.write(found, folder)
    report.show_scores(found, folder)
    if folder == run_folder(checkpoint) / "report":
        history.log_test(run_folder(checkpoint), found.overall.scores)
    return found.overall.scores


def adapt(config: EvaluateConfig, blueprint: Blueprint) -> TrainConfig:
    """The settings of the training, with what differs now."""
    try:
        return from_plain(blueprint.config, changes(config, blueprint))
    except (ValueError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{config.ckpt} cannot be evaluated with these settings: {reason}"
        ) from error


def choose(config: EvaluateConfig, settings: TrainConfig, blueprint: Blueprint) -> Subject:
    """Prepare the data and take the utterances that are to be judged.

    Raises ValueError where `data.corpora` mixes corpora of the training with new ones, or where
    nothing is left to judge.
    """
    asked, known = config.data.corpora, settings.data.corpora
    table = config.data.table if is_new_table(config, settings, blueprint) else None
    new = [name for name in asked if name not in known]
    if new or table is not None:
        if len(new) < len(asked):
            raise ValueError(
                f"data.corpora={asked}: some of these are new to the model and some are not;"
                " evaluate them one after the other"
            )
        synthetic = settings.data.synthetic if new else None
        data = replace(settings.data, corpora=new, table=table, synthetic=synthetic)
        return meet(data, run_folder(Path(config.ckpt)) / "manifest.csv")
    manifest = prepare(settings.data, settings.split)
    check_data(manifest, blueprint, Path(config.ckpt))
    part, utterances = str(config.part), manifest.part(config.part)
    if asked:
        utterances = utterances[utterances["corpus"].isin(asked)].reset_index(drop=True)
    if utterances.empty:
        raise ValueError(f"data.corpora={asked} has no utterance in the {part} part")
    return Subject(manifest, part, utterances, manifest.part("train"), {})


def is_new_table(config: EvaluateConfig, settings: TrainConfig, blueprint: Blueprint) -> bool:
    """Whether a table is named that is not the one of the training, which may only have moved.

    They are told apart by the names of the utterances in them.
    """
    if config.data.table is None:
        return False
    recorded = run_folder(Path(config.ckpt)) / "manifest.csv"
    if blueprint.config["data"].get("table") is None or not recorded.is_file():
        return blueprint.config["data"].get("table") is None
    named = scan_table(Path(config.data.table), settings.data).utterances["id"]
    return not named.isin(read(recorded)["id"]).any()


def meet(data: DataConfig, recorded: Path) -> Subject:
    """All of the data, which are new to the model, under the names that it knows.

    What was trained on stands in the `recorded` manifest of the run, if that is still there.
    """
    manifest = build(data, AudioCache(Path(data.cache_dir)))
    utterances = manifest.utterances.assign(split="test")
    lost = manifest.dropped[manifest.dropped["reason"] == Reason.LEFT_OUT]
    counts = lost["emotion"].value_counts().sort_index()
    left_out = {str(name): int(number) for name, number in counts.items()}
    whole = replace(manifest, utterances=utterances)
    known = read(recorded) if recorded.is_file() else utterances.iloc[:0]
    trained = known[known["split"] == "train"]
    return Subject(whole, "whole", utterances, trained, left_out)


def describe_command(config: EvaluateConfig) -> list[str]:
    """The options that make evaluate.py do this again."""
    words = [f"ckpt={config.ckpt}"]
    if config.part != Part.test:
        words.append(f"part={config.part}")
    if config.data.table is not None:
        words.append(f"data.table={config.data.table}")
    if config.data.corpora:
        words.append(f"data.corpora=[{','.join(config.data.corpora)}]")
    if config.robustness:
        words.append("robustness=true")
    return words


def report_folder(config: EvaluateConfig) -> Path:
    """`report` for the best checkpoint on the test part; any other judgement has its own folder."""
    if config.output_dir is not None:
        return Path(config.output_dir)
    checkpoint = Path(config.ckpt)
    usual = (checkpoint.stem, config.part) == ("best", "test")
    name = "report" if usual else f"report-{checkpoint.stem}-{config.part}"
    return run_folder(checkpoint) / name


def changes(config: EvaluateConfig, blueprint: Blueprint) -> dict[str, Any]:
    """What differs from training: where things lie now, and batch size; nothing is resumed."""
    given = {name: value for name, value in asdict(config.data).items() if value is not None}
    for key in ("paths", "votes"):
        given[key] = {name: path for name, path in given[key].items() if path is not None}
    del given["corpora"]
    if not given["label_map"]:
        del given["label_map"]
    if blueprint.config["data"].get("table") is None:
        given.pop("table", None)  # a table that is new to the model has not moved
    changed = {"data": given, "ckpt": None}
    recorded = run_folder(Path(config.ckpt)) / "manifest.csv"
    if blueprint.config["split"].get("reuse") and recorded.is_file():
        changed["split"] = {"reuse": str(recorded)}  # the run itself tells its parts
    return changed


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
    temporary = None if file is None else file.with_name(f"{file.name}.tmp")
    rows = np.zeros(shape, np.float32) if temporary is None else map_file(temporary, shape)
    trainer = build_trainer(config, LogitsWriter(rows))
    trainer.predict(module, data.loader("judged"), return_predictions=False)
    if temporary is not None and file is not None:
        cast(np.memmap, rows).flush()
        temporary.replace(file)
    return rows


def map_file(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Rows (utterances, classes) of zeros that lie in a NumPy file, not in memory."""
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)


def build_trainer(config: EvaluateConfig, writer: LogitsWriter) -> Trainer:
    try:
        return Trainer(
            accelerator=config.accelerator,
            devices=1,  # several would see some utterances twice
            logger=False,
            callbacks=[writer],
            enable_checkpointing=False,
            enable_model_summary=False,
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
