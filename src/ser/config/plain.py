"""Typed configs from plain values and back, without Hydra.

Settings that were renamed or removed keep working for one release: user configs print a
deprecation message, checkpoints are converted silently.
"""

import json
import logging
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from ser.config.mapping import escape_reference
from ser.config.train import TrainConfig
from ser.errors import UserError, first_line, require, suggest

log = logging.getLogger(__name__)
Config = TypeVar("Config")

DEPRECATED_KEYS = {"split.from": "split.manifest", "split.reuse": "split.manifest"}
# Settings without an effect, and what to use instead.
REMOVED_KEYS = {"trainer.callbacks": "callbacks=quiet", "trainer.logger": "logger=csv"}
# Arguments of lightning.Trainer that are not settings here: the values that make no difference
# (None: all of them), and the reason why others are refused.
UNSUPPORTED: dict[str, tuple[tuple[Any, ...] | None, str]] = {
    "trainer.use_distributed_sampler": (
        (False,),
        "the batch sampler of this project divides the data among the devices itself",
    ),
    "trainer.sync_batchnorm": (
        None,
        "batch normalisation, where a network has it, keeps its pretrained statistics",
    ),
    "trainer.gradient_clip_algorithm": (("norm",), "gradients are clipped by their norm only"),
    "trainer.overfit_batches": (
        (0, 0.0),
        "use trainer.limit_train_batches=N and trainer.limit_val_batches=N",
    ),
}
DEPRECATED_TARGETS = {
    "ser.last_checkpoint.LastCheckpoint": "ser.training.callbacks.last_checkpoint.LastCheckpoint",
    "ser.guards.Guards": "ser.training.callbacks.guards.Guards",
    "ser.monitoring.Monitoring": "ser.training.callbacks.monitoring.Monitoring",
}


def convert(composed: Any, kind: type[Config], **fixed: Any) -> Config:
    """The dataclass of a composed config, with all rules checked.

    `fixed` replaces values, such as the output folder that Hydra chose. Raises UserError, which
    names the key, if a rule is broken or a file is missing.
    """
    merged = cast(DictConfig, OmegaConf.merge(composed, fixed))
    for message in [*rename_deprecated(merged), *drop_unsupported(merged)]:
        log.warning(message)
    config = OmegaConf.to_object(merged)
    refuse_unknown(config)
    cast(Any, config).check_files()
    return cast(Config, config)


def rename_deprecated(config: DictConfig) -> list[str]:
    """Move values of deprecated keys and targets to their new place, and say so."""
    messages = []
    for old, new in DEPRECATED_KEYS.items():
        value = take(config, old)
        if value is not None:
            OmegaConf.update(config, new, value, force_add=True)
            messages.append(f"{old} is deprecated; use {new}")
    for old, instead in REMOVED_KEYS.items():
        if take(config, old) not in (None, True):
            messages.append(f"{old} has no effect; choose the group, as in {instead}")
    for group in ("callbacks", "logger"):
        for name, node in (config.get(group) or {}).items():
            target = node.get("_target_") if isinstance(node, DictConfig) else None
            if target in DEPRECATED_TARGETS:
                new = node["_target_"] = DEPRECATED_TARGETS[target]
                messages.append(f"{group}.{name}._target_={target} is deprecated; use {new}")
    return messages


def drop_unsupported(config: DictConfig) -> list[str]:
    """Remove arguments of lightning.Trainer that are not settings here, and say so.

    Raises UserError, with the reason, for a value that would make a difference.
    """
    messages = []
    for key, (harmless, reason) in UNSUPPORTED.items():
        value = take(config, key)
        if value is not None:
            require(harmless is None or value in harmless, key, value, reason)
            messages.append(f"{key}={value} has no effect: {reason}")
    return messages


def take(config: DictConfig, key: str) -> Any:
    """Remove a key such as `split.from` and return its value; None if it is not there."""
    group, _, name = key.rpartition(".")
    parent = config.get(group)
    if not isinstance(parent, DictConfig) or name not in parent:
        return None
    with open_dict(parent):
        return parent.pop(name)


def refuse_unknown(config: Any, prefix: str = "") -> None:
    """Raise UserError for a key that `+key=value` added and that is not a setting."""
    known = {entry.name for entry in fields(config)} if is_dataclass(config) else set(config)
    for key, value in (vars(config) if is_dataclass(config) else config).items():
        if key not in known:
            hint = suggest(key, sorted(known), prefix)
            raise UserError(f"{prefix}{key} is not a setting{hint} (--help lists all settings).")
        if is_dataclass(value) or isinstance(value, dict):
            refuse_unknown(value, f"{prefix}{key}.")


def to_plain(config: Any) -> dict[str, Any]:
    """Nested dicts, lists, strings and numbers only: what a checkpoint may hold."""
    return json.loads(json.dumps(asdict(config)))


def from_plain(plain: dict[str, Any]) -> TrainConfig:
    """The inverse of `to_plain`, also for configs of earlier versions.

    A setting that did not exist takes its default; one that was removed is ignored. Files are not
    checked. Raises UserError if the values are not those of a config.
    """
    if not isinstance(plain, dict):
        raise UserError(f"its settings are not valid: {plain!r}")
    try:
        config = cast(DictConfig, OmegaConf.create(escape(plain)))
        rename_deprecated(config)
        known = keep_known(OmegaConf.to_container(config), TrainConfig)
        schema = OmegaConf.structured(TrainConfig)
        schema.callbacks, schema.logger = {}, {}
        return cast(TrainConfig, OmegaConf.to_object(OmegaConf.merge(schema, known)))
    except OmegaConfBaseException as error:
        reason = first_line(error)
        raise UserError(f"its settings are not valid: {error.full_key}: {reason}") from error


def escape(plain: Any) -> Any:
    """Plain values in which OmegaConf does not resolve anything."""
    if isinstance(plain, dict):
        return {key: escape(value) for key, value in plain.items()}
    if isinstance(plain, list):
        return [escape(value) for value in plain]
    if not isinstance(plain, str):
        return plain
    return escape_reference(plain)


def keep_known(plain: Any, kind: Any) -> dict[str, Any]:
    """The values of plain settings that are fields of a dataclass."""
    kept = {}
    if not isinstance(plain, dict):
        raise UserError(f"its settings are not valid: {kind.__name__} is {plain!r}")
    for entry in fields(kind):
        if entry.name in plain:
            value, nested = plain[entry.name], entry.default_factory
            kept[entry.name] = keep_known(value, nested) if is_dataclass(nested) else value
    return kept


def key_of(override: str) -> str:
    """The key of a command-line override such as `+model.lr=1e-5`."""
    return override.lstrip("+~").partition("=")[0]
