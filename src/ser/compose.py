"""Hydra's side of the configuration: its schema, its --help, and the way back to dataclasses."""

import json
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from ser.config import EvaluateConfig, TrainConfig, require_file
from ser.setting import require, suggest
from ser.trainer_config import SCHEMA

Config = TypeVar("Config")
CONF = Path(__file__).parents[2] / "conf"
FREE = {"merge", "label_map"}  # settings of the data that take any key
NEW_EACH_TIME = frozenset({"output_dir", "ckpt"})  # options that a resumed run does not inherit

HELP = {
    "train": """Train a speech emotion recogniser.

  python train.py                                              the default: all four corpora
  python train.py data=ravdess backbone=wav2vec2_base          other options of a group
  python train.py trainer.devices=1 model.lr=1e-5              other settings
  python train.py data.paths.tess=FOLDER                       a local copy of a corpus
  python train.py -m model.lr=1e-5,3e-5 seed=1,2               a sweep over all combinations
  python train.py ckpt=runs/.../checkpoints/last.ckpt          resume, with the options of that run
  python train.py --cfg job                                    what a command would run with
""",
    "evaluate": """Evaluate a checkpoint on the data it was trained with.

  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt
  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt part=val
  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt data=savee         a corpus new to it
  python evaluate.py ckpt=runs/.../checkpoints/best.ckpt robustness=true
""",
}


def describe_settings(kind: type, prefix: str = "") -> list[str]:
    """One line a setting: its full key, its default, and what it is."""
    lines = []
    for entry in fields(kind):
        key = f"{prefix}{entry.name}"
        if is_dataclass(entry.default_factory):
            lines += describe_settings(cast(type, entry.default_factory), f"{key}.")
        elif "doc" in entry.metadata:
            keys = [key]
            if entry.default_factory is not MISSING and isinstance(entry.default_factory(), dict):
                keys = [f"{key}.{name}" for name in entry.default_factory()] or keys
            shown = show_default(entry)
            lines += [f"  {each:36} {shown:31} {entry.metadata['doc']}" for each in keys]
    return lines


def show_default(entry: Field[Any]) -> str:
    if entry.default_factory is not MISSING:
        made = entry.default_factory()
        return (
            f"[{','.join(map(str, made))}]" if isinstance(made, list) else "null" if made else "{}"
        )
    default = str(entry.default)
    if default.startswith("${"):
        return "(computed)"
    return {"None": "null", "True": "true", "False": "false", "???": "(see there)"}.get(
        default, default
    )


def register() -> None:
    """Make the dataclasses known to Hydra; call before composing."""
    store = ConfigStore.instance()
    for name, kind in (("train", TrainConfig), ("evaluate", EvaluateConfig)):
        schema = OmegaConf.structured(kind)
        if name == "train":
            with open_dict(schema.split):  # `from` cannot name a field, and is what users expect
                schema.split["from"] = None
        for key in FREE & set(schema.data):
            OmegaConf.set_struct(schema.data[key], False)
        store.store(name=f"{name}_schema", node=schema)
        lines = ["Settings, their defaults and meaning:", *describe_settings(kind)]
        if name == "train":
            for callback, node in SCHEMA["callbacks"].items():
                lines += describe_settings(node, f"callbacks.{callback}.")
        settings = "\n".join(lines)
        groups = "Groups and their options:\n$APP_CONFIG_GROUPS\n" if name == "train" else ""
        template = f"{HELP[name]}\n{groups}{settings}\n"
        store.store(group="hydra/help", name=name, node={"app_name": name, "template": template})
    for family, nodes in SCHEMA.items():
        for name, node in nodes.items():
            # Hydra's --help leaves out what is below hydra/: nobody chooses among these.
            store.store(group=f"hydra/schema/{family}", name=name, node=node)


def put_multirun_first(words: list[str]) -> None:
    """Sort the arguments of a command in place: argparse takes no `-m` between overrides."""
    words[1:] = sorted(words[1:], key=lambda word: word not in ("-m", "--multirun"))


def compose_command(name: str, overrides: list[str], kind: type[Config]) -> Config:
    """What `train.py` or `evaluate.py` would run with, for commands that are no Hydra job.

    Raises OSError where the configuration folder is not there, as in an installed package.
    """
    if not CONF.is_dir():
        raise OSError(f"the settings lie in conf/ of the project, and {CONF} is not there")
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return convert(compose(name, overrides=overrides), kind)


def settle(composed: DictConfig) -> DictConfig:
    """Fill in what a run is to be called and what was typed for it; call inside `hydra.main`.

    With `ckpt`, the options of that run come first and what is typed now goes on top, and the run
    goes on in its own folder unless `output_dir` is typed: so `ckpt=...` alone resumes.
    """
    hydra = HydraConfig.get()
    typed, folder = list(hydra.overrides.task), hydra.runtime.output_dir
    require(bool(str(composed.output_dir).strip()), "output_dir", "", "is empty")
    if composed.ckpt is None:
        return fill_in(composed, folder, typed)
    require_file("ckpt", composed.ckpt)
    from ser.model import read_checkpoint, run_folder  # heavy, and only resuming needs it

    blueprint, _ = read_checkpoint(Path(composed.ckpt))
    keys = {key_of(override) for override in typed}
    then = [
        old
        for old in blueprint.config.get("command", [])
        if key_of(old) not in keys | NEW_EACH_TIME
    ]
    if then:
        print(f"Resuming with the options of that run: {' '.join(then)}")
    if "output_dir" not in keys and hydra.mode == RunMode.RUN:
        folder = str(run_folder(Path(composed.ckpt)))
    command = [*then, *typed]
    return fill_in(compose("train", overrides=command), folder, command)


def sweep_folder() -> Path | None:
    """The folder that holds those of all jobs, in a sweep; call inside `hydra.main`."""
    hydra = HydraConfig.get()
    return Path(hydra.runtime.output_dir).parent if hydra.mode == RunMode.MULTIRUN else None


def refuse_in_sweep(*, starts_processes: bool) -> None:
    """Raise ValueError for a job of a sweep that would start processes for more devices.

    Lightning 2.6 starts them as sweeps of their own, in folders of their own.
    """
    in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if in_sweep and starts_processes:
        raise ValueError(
            "a job of a sweep trains on one device: add trainer.devices=1, or hand the jobs to"
            " Slurm with hydra/launcher=submitit_slurm"
        )


def fill_in(composed: DictConfig, folder: str, command: list[str]) -> DictConfig:
    known = {"output_dir": folder, "command": command}
    return cast(DictConfig, OmegaConf.merge(composed, known))


def key_of(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def convert(composed: Any, kind: type[Config], **fixed: Any) -> Config:
    """The dataclass that a composed configuration stands for, its rules checked.

    `fixed` replaces values, such as the folder that Hydra has chosen for the job. Raises
    ValueError, which quotes the key, where a rule is broken.
    """
    merged = cast(DictConfig, OmegaConf.merge(composed, fixed))
    if "split" in merged and "from" in merged.split:
        with open_dict(merged.split):
            merged.split.reuse = merged.split.pop("from") or merged.split.reuse
    converted = OmegaConf.to_object(merged)
    refuse_unknown(converted)
    return cast(Config, converted)


def refuse_unknown(config: Any, prefix: str = "") -> None:
    """Raise ValueError for a key that `+key=value` put beside those of the schema."""
    known = {entry.name for entry in fields(config)} if is_dataclass(config) else set(config)
    for key, value in (vars(config) if is_dataclass(config) else config).items():
        if key not in known:
            hint = suggest(key, sorted(known), prefix)
            raise ValueError(f"{prefix}{key} is no setting{hint} (--help lists them all).")
        if is_dataclass(value) or isinstance(value, dict):
            refuse_unknown(value, f"{prefix}{key}.")


def to_plain(config: Any) -> dict[str, Any]:
    """Nested dicts, lists, strings and numbers only: what a checkpoint may hold."""
    return json.loads(json.dumps(asdict(config)))


def from_plain(plain: dict[str, Any], changes: dict[str, Any] | None = None) -> TrainConfig:
    """The inverse of `to_plain`, with `changes` (nested in the same way) on top."""
    return convert(
        OmegaConf.merge(OmegaConf.structured(TrainConfig), plain), TrainConfig, **(changes or {})
    )
