"""Every setting of ours once: its type, default, unit and rule.

The dataclasses are Hydra's schema, so a typo or a wrong type stops at compose with its full key;
rules between values live in `__post_init__` and quote the key as the user types it. Neither Hydra
nor anything heavy is imported here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser.corpora import CORPORA
from ser.data_config import DataConfig, Part, Sampling, SplitConfig, is_folder_or_none
from ser.model_config import Mode, ModelConfig, Schedule
from ser.setting import group, require, setting
from ser.trainer_config import ACCELERATORS, TrainerConfig


@dataclass
class TrainConfig:
    seed: int = setting(0, "of weights, order and dropout")
    output_dir: str = setting("???", "folder of this run; runs/DATE_TIME, or where ckpt lies")
    ckpt: str | None = setting(None, "checkpoint to resume from")
    command: list[str] = setting([], "the options as typed; filled in by itself")
    evaluate: bool = setting(False, "judge the best checkpoint on the test part at the end")
    data: DataConfig = group(DataConfig)
    split: SplitConfig = group(SplitConfig)
    model: ModelConfig = group(ModelConfig)
    trainer: TrainerConfig = group(TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 2**32 - 1")
        require_file("ckpt", self.ckpt)
        if not self.logger and "learning_rate" in self.callbacks:
            raise ValueError("callbacks.learning_rate needs a logger: ~callbacks.learning_rate")
        weights = self.model.class_weights
        for name in weights if isinstance(weights, dict) else []:
            rule = f"is none of the classes {', '.join(self.data.label_space)}"
            require(name in self.data.label_space, "model.class_weights", name, rule)
        balanced = self.data.sampling == Sampling.balanced
        rule = "data.sampling=balanced already corrects for rare emotions; choose one of the two"
        require(not balanced or weights is None, "model.class_weights", weights, rule)
        trainer, skip = self.trainer, self.model.backbone.layerdrop
        rule = "on several devices this needs trainer.strategy=ddp_find_unused_parameters_true"
        shared = trainer.strategy in ("ddp", "fsdp")
        require(not shared or skip == 0, "model.backbone.layerdrop", skip, rule)
        endless = trainer.max_epochs == -1 and trainer.max_steps == -1
        require(
            not endless or self.model.schedule == Schedule.constant,
            "trainer.max_epochs",
            -1,
            f"model.schedule={self.model.schedule} needs an end; set this or trainer.max_steps",
        )

    @property
    def reuses_hidden_states(self) -> bool:
        """Whether what lies below the first trained layer gives the same in every epoch."""
        model, backbone = self.model, self.model.backbone
        masked = backbone.mask_time_prob > 0 or backbone.mask_feature_prob > 0
        same = model.mode == Mode.head or (model.top_layers is not None and not masked)
        return same and model.cache_hidden_states and not self.data.augment.active


@dataclass
class EvaluateDataConfig:
    corpora: list[str] = setting(
        [], "judge these only, corpora new to the model too; []: those of the training"
    )
    paths: dict[str, str | None] = setting(
        dict.fromkeys(CORPORA), "where a corpus lies now; null: as in training"
    )
    table: str | None = setting(
        None, "where the table lies now, or one that is new to the model; null: as in training"
    )
    label_map: dict[str, str | None] = setting({}, "emotions of a new table by the model's names")
    votes: dict[str, str | None] = setting(
        {"cremad": None}, "where listeners' votes lie now; null: as in training"
    )
    synthetic: str | None = setting(None, "where the synthetic corpora lie now; null: likewise")
    cache_dir: str | None = setting(None, "decoded audio; null: as in training")
    batch_size: int | None = setting(None, "utterances a batch; null: as in training")

    def __post_init__(self) -> None:
        for name in self.corpora:
            require(name in CORPORA, "data.corpora", name, f"there is only {', '.join(CORPORA)}")
        for name, folder in self.paths.items():
            require(is_folder_or_none(folder), f"data.paths.{name}", folder, "no such folder")
        size = self.batch_size
        require(size is None or size >= 1, "data.batch_size", size, "at least 1")


@dataclass
class EvaluateConfig:
    ckpt: str = setting("???", "checkpoint to evaluate, runs/.../checkpoints/best.ckpt")
    part: Part = setting(Part.test, "train, val or test")
    output_dir: str | None = setting(
        None, "folder of the report; null: report/ in the run, report-CKPT-PART-CORPORA/ for others"
    )
    accelerator: str = setting("auto", "|".join(ACCELERATORS))
    command: list[str] = setting([], "the options as typed; filled in by itself")
    robustness: bool = setting(False, "also under noise, band limits, reverberation, gain and cuts")
    data: EvaluateDataConfig = group(EvaluateDataConfig)

    def __post_init__(self) -> None:
        require_file("ckpt", self.ckpt)
        rule = f"is none of {', '.join(ACCELERATORS)}"
        require(self.accelerator in ACCELERATORS, "accelerator", self.accelerator, rule)


def require_file(key: str, path: str | None) -> None:
    if path is not None and Path(path).is_dir():
        raise ValueError(f"{key}={path}: a folder; name a file in it (checkpoints/best.ckpt?).")
    require(path is None or Path(path).is_file(), key, path, "no such file")
