"""Hydra's side of the configuration: its schema, its `--help`, and the way back to dataclasses."""

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from ser.config.callbacks import CALLBACKS, OPTIONAL_CALLBACKS
from ser.config.evaluate import EvaluateConfig
from ser.config.fields import require_folder
from ser.config.keys import describe_callbacks, describe_settings
from ser.config.loggers import LOGGERS
from ser.config.overrides import CONF, quote
from ser.config.plain import DEPRECATED_KEYS, REMOVED_KEYS, UNSUPPORTED, Config, convert
from ser.config.train import TrainConfig

# Mappings whose keys are not fixed, by group.
FREE = {
    "": {"label_map"},
    "data": {"merge", "label_map", "columns", "paths", "versions"},
    "model": {"auxiliary"},
}
VERSION_BASE = "1.3"  # Hydra's defaults of that version, also under later ones

HELP = {
    "train": """Train a speech emotion recognition model.

  ser train                                       four corpora, full fine-tuning
  ser train data=ravdess backbone=wav2vec2_base   options of groups
  ser train trainer.devices=1 model.lr=1e-5       other settings
  ser train data.paths.tess=FOLDER                a local copy of a corpus
  ser train -m model.lr=1e-5,3e-5 seed=1,2        a sweep over all combinations
  ser train ckpt=runs/RUN                         resume a run
  ser train --config-dir FOLDER experiment=mine   your own configs
  ser train --cfg job                             show the configuration

In a clone, `python train.py` does the same.
""",
    "evaluate": """Evaluate a trained model on the test part of its data, or on other data.

  ser evaluate ckpt=runs/RUN                      the best checkpoint of a run
  ser evaluate ckpt=runs/RUN part=val
  ser evaluate ckpt=runs/RUN data=savee           a corpus new to the model
  ser evaluate ckpt=runs/RUN robustness=true

In a clone, `python evaluate.py` does the same.
""",
}


def register() -> None:
    """Store the dataclasses and the help texts in Hydra; call before composing."""
    store = ConfigStore.instance()
    for name, kind in (("train", TrainConfig), ("evaluate", EvaluateConfig)):
        store.store(name=f"{name}_schema", node=make_schema(kind))
        node = {"app_name": name, "template": make_help(name, kind)}
        store.store(group="hydra/help", name=name, node=node)
    for family, nodes in (("callbacks", CALLBACKS | OPTIONAL_CALLBACKS), ("logger", LOGGERS)):
        for name, node in nodes.items():
            # Hydra's --help leaves out what is below hydra/: users do not choose among these.
            store.store(group=f"hydra/schema/{family}", name=name, node=node)


def make_help(name: str, kind: type) -> str:
    lines = ["Settings, their defaults and meaning:", *describe_settings(kind)]
    groups = ""
    if name == "train":
        lines += describe_callbacks()
        groups = "Groups and their options:\n$APP_CONFIG_GROUPS\n"
    # Hydra replaces $NAME in the template.
    return "\n".join([HELP[name], *([groups] if groups else []), *lines, ""])


def make_schema(kind: type) -> Any:
    """The structured config of a dataclass, which also accepts keys that `convert` removes."""
    schema = OmegaConf.structured(kind)
    for group, keys in FREE.items():
        owner = schema.get(group, {}) if group else schema
        for key in keys & set(owner):
            OmegaConf.set_struct(owner[key], False)
    if kind is TrainConfig:
        schema.callbacks, schema.logger = {}, {}  # the groups of conf/ fill them
        for key in (*DEPRECATED_KEYS, *REMOVED_KEYS, *UNSUPPORTED):
            OmegaConf.update(schema, key, None, force_add=True)
    return schema


def compose_command(
    name: str, overrides: list[str], kind: type[Config], config_dir: Path | None = None
) -> Config:
    """The config of `ser train` or `ser evaluate`, for commands that are not Hydra jobs.

    `config_dir` is a folder with further configs, as in Hydra's `--config-dir`. Raises UserError
    for a value that breaks a rule, HydraException for an unknown key.
    """
    words = [quote(override) for override in overrides]
    if config_dir is not None:
        require_folder("--config-dir", str(config_dir))
        folder = config_dir.expanduser().absolute()
        words.insert(0, quote(f"hydra.searchpath=[file://{folder}]"))
    register()
    with initialize_config_dir(version_base=VERSION_BASE, config_dir=str(CONF)):
        return convert(compose(name, overrides=words), kind)
