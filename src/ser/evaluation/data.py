"""Which data are evaluated: those of the training, unchanged, or data that are new to the model."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ser.audio.cache import AudioCache
from ser.config.data import Ambiguous, DataConfig, LabelSource
from ser.config.evaluate import EvaluateConfig
from ser.config.train import TrainConfig
from ser.corpora.emotions import LABELS
from ser.errors import UserError, require
from ser.models.checkpoint import Checkpoint
from ser.preparation.manifest import Manifest, Reason, read
from ser.preparation.prepare import build, prepare
from ser.preparation.table import scan_table

log = logging.getLogger(__name__)
WHOLE = "whole"  # the part of data that are new to the model: all utterances


@dataclass(frozen=True)
class EvaluationData:
    """The utterances of `part` in a manifest, with labels that the model knows.

    `train` are the training utterances of the model, as far as they are in the manifest.
    `left_out` counts utterances by emotion that the model has no class for. `synthetic` says that
    the audio is generated.
    """

    manifest: Manifest
    part: str
    utterances: pd.DataFrame
    train: pd.DataFrame
    left_out: dict[str, int]
    synthetic: bool


def leave_out_missing(
    files: dict[str, str | None], given: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The files of demographics; a missing one of the training is left out with a warning."""
    kept = dict(files)
    for corpus, path in files.items():
        known = path is None or Path(path).expanduser().is_file()
        if not known and given.get(corpus) is None:
            log.warning(
                "data.demographics.%s=%s is missing, so there are no scores by age, race and"
                " ethnicity; if it has moved, name its new place",
                *(corpus, path),
            )
            kept[corpus] = None
    return kept


def update_settings(config: EvaluateConfig, checkpoint: Checkpoint) -> TrainConfig:
    """The settings of the training, with what differs now."""
    settings, given = checkpoint.metadata.config, config.data
    table = given.table or settings.data.table
    rule = "has no effect without a table"
    require(bool(table) or not given.label_map, "data.label_map", given.label_map, rule)
    changes: dict[str, Any] = {
        name: value
        for name in ("synthetic", "cache_dir", "batch_size")
        if (value := getattr(given, name)) is not None
    }
    for name in ("paths", "votes", "demographics"):
        moved = {key: path for key, path in getattr(given, name).items() if path is not None}
        changes[name] = getattr(settings.data, name) | moved
    changes["demographics"] = leave_out_missing(changes["demographics"], given.demographics)
    # A table that is new to the model is handled in `choose_data`.
    if settings.data.table is not None:
        changes["table"] = table
        changes["label_map"] = dict(given.label_map) or settings.data.label_map
    split = settings.split
    recorded = checkpoint.run_folder / "manifest.csv"
    if split.manifest is not None and recorded.is_file():
        split = replace(split, manifest=str(recorded))  # the run itself knows its parts
    try:
        data = replace(settings.data, **changes)
        data.check_files()
        return replace(settings, data=data, split=split, ckpt=None)
    except UserError as error:
        raise UserError(
            f"{config.ckpt} cannot be evaluated with these settings: {error}"
        ) from error


def choose_data(
    config: EvaluateConfig, settings: TrainConfig, checkpoint: Checkpoint, cache: AudioCache
) -> EvaluationData:
    """Prepare the data and select the utterances to evaluate.

    Raises UserError if `data.corpora` mixes corpora of the training with new ones, or if nothing
    is left to evaluate.
    """
    asked, known = config.data.corpora, settings.data.corpora
    table = config.data.table if is_new_table(config, settings, checkpoint) else None
    new = [name for name in asked if name not in known]
    if new or table is not None:
        if len(new) < len(asked):
            raise UserError(
                f"data.corpora={asked}: corpora of the training cannot be evaluated together with"
                " data that are new to the model; evaluate them in two runs"
            )
        data = settings_for_new(settings.data, new, table, dict(config.data.label_map))
        return take_all(data, checkpoint.run_folder / "manifest.csv", cache)
    manifest = prepare(settings.data, settings.split, cache)
    check_data(manifest, checkpoint)
    part, utterances = str(config.part), manifest.part(config.part)
    if asked:
        utterances = utterances[utterances["corpus"].isin(asked)].reset_index(drop=True)
    if utterances.empty:
        chosen = f" of data.corpora={asked}" if asked else ""
        raise UserError(f"part={part} has no utterance{chosen}; choose another part")
    train = manifest.part("train")
    return EvaluationData(manifest, part, utterances, train, {}, checkpoint.metadata.synthetic)


def settings_for_new(
    data: DataConfig,
    corpora: list[str],
    table: str | None,
    label_map: dict[str, str | None] | None = None,
) -> DataConfig:
    """Settings for data that are new to the model: those of the training that apply to them.

    Corpora have our emotions only to merge. Votes choose and filter only if they are known.
    """
    merge = {name: other for name, other in data.merge.items() if table or name in LABELS}
    votes = {name: file for name, file in data.votes.items() if name in corpora}
    known = table is not None or any(votes.values())
    return replace(
        data,
        corpora=corpora,
        table=table,
        label_map=(label_map or data.label_map) if table else {},
        columns=data.columns if table else {},
        synthetic=data.synthetic if corpora else None,
        merge=merge,
        votes=votes,
        demographics={name: file for name, file in data.demographics.items() if name in corpora},
        ambiguous=data.ambiguous if known else Ambiguous.keep,
        label_by=data.label_by if known else LabelSource.intended,
    )


def is_new_table(config: EvaluateConfig, settings: TrainConfig, checkpoint: Checkpoint) -> bool:
    """Whether the given table is another one than that of the training, which may have moved.

    They are compared by the ids of their utterances.
    """
    trained = checkpoint.metadata.config.data.table
    recorded = checkpoint.run_folder / "manifest.csv"
    if config.data.table is None:
        return False
    if trained is None or not recorded.is_file():
        return trained is None
    named = scan_table(Path(config.data.table), settings.data).utterances["id"]
    return not named.isin(read(recorded)["id"]).any()


def take_all(data: DataConfig, recorded: Path, cache: AudioCache) -> EvaluationData:
    """All utterances of data that are new to the model, with the labels that it knows.

    The training utterances are read from the `recorded` manifest of the run, if it exists.
    """
    manifest = build(data, cache)
    utterances = manifest.utterances.assign(split="test")
    dropped = manifest.dropped  # an emotion that data.label_map drops is empty here
    lost = dropped[(dropped["reason"] == Reason.LEFT_OUT) & (dropped["emotion"] != "")]
    counts = lost["emotion"].value_counts().sort_index()
    left_out = {str(name): int(number) for name, number in counts.items()}
    whole = replace(manifest, utterances=utterances)
    known = read(recorded) if recorded.is_file() else utterances.iloc[:0]
    trained = known[known["split"] == "train"]
    return EvaluationData(whole, WHOLE, utterances, trained, left_out, data.synthetic is not None)


def check_data(manifest: Manifest, checkpoint: Checkpoint) -> None:
    """Raise UserError if files were added, changed or lost since training.

    The parts would differ, and the test part might contain training utterances.
    """
    if manifest.fingerprint == checkpoint.metadata.manifest:
        return
    difference = ""
    recorded = checkpoint.run_folder / "manifest.csv"
    if recorded.is_file():
        then, now = set(read(recorded)["content"]), set(manifest.utterances["content"])
        gone, new = len(then - now), len(now - then)
        difference = f" ({gone} recordings gone, {new} new)" if gone or new else " (other parts)"
    raise UserError(
        f"the corpora differ from those that {checkpoint.path} was trained on{difference}: name"
        " the unchanged copy with data.paths.<corpus>=FOLDER, or train again"
    )
