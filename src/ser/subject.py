"""What is judged: the data of the training as they were, or data that are new to the model."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from ser.cache import AudioCache
from ser.compose import from_plain
from ser.config import EvaluateConfig, TrainConfig
from ser.data_config import Ambiguous, DataConfig, LabelSource
from ser.labels import LABELS
from ser.manifest import Manifest, Reason, read
from ser.model import Blueprint, run_folder
from ser.preparation import build, prepare
from ser.table import scan_table

WHOLE = "whole"  # the part that data are which the model does not know: all of them


@dataclass(frozen=True)
class Subject:
    """What is judged: the utterances of `part` in a manifest, with labels the model knows.

    `train` are the utterances that the model was trained on, as far as they are in the manifest;
    `synthetic` says that nobody is speaking in what is judged.
    """

    manifest: Manifest
    part: str
    utterances: pd.DataFrame
    train: pd.DataFrame
    left_out: dict[str, int]
    synthetic: bool


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
        data = foreign(settings.data, new, table)
        return meet(data, run_folder(Path(config.ckpt)) / "manifest.csv")
    manifest = prepare(settings.data, settings.split)
    check_data(manifest, blueprint, Path(config.ckpt))
    part, utterances = str(config.part), manifest.part(config.part)
    if asked:
        utterances = utterances[utterances["corpus"].isin(asked)].reset_index(drop=True)
    if utterances.empty:
        raise ValueError(f"data.corpora={asked} has no utterance in the {part} part")
    synthetic = settings.data.synthetic is not None
    return Subject(manifest, part, utterances, manifest.part("train"), {}, synthetic)


def foreign(data: DataConfig, corpora: list[str], table: str | None) -> DataConfig:
    """Data that are new to the model, under those of the rules of its training that apply to them.

    Corpora have no emotions but ours to be merged. What listeners heard chooses and filters only
    where that is known.
    """
    merge = {name: other for name, other in data.merge.items() if table or name in LABELS}
    votes = {name: file for name, file in data.votes.items() if name in corpora}
    judged = table is not None or any(votes.values())
    return replace(
        data,
        corpora=corpora,
        table=table,
        synthetic=data.synthetic if corpora else None,
        merge=merge,
        votes=votes,
        ambiguous=data.ambiguous if judged else Ambiguous.keep,
        label_by=data.label_by if judged else LabelSource.intended,
    )


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
    dropped = manifest.dropped  # what data.label_map leaves out has no emotion
    lost = dropped[(dropped["reason"] == Reason.LEFT_OUT) & (dropped["emotion"] != "")]
    counts = lost["emotion"].value_counts().sort_index()
    left_out = {str(name): int(number) for name, number in counts.items()}
    whole = replace(manifest, utterances=utterances)
    known = read(recorded) if recorded.is_file() else utterances.iloc[:0]
    trained = known[known["split"] == "train"]
    return Subject(whole, WHOLE, utterances, trained, left_out, data.synthetic is not None)


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
