"""All settings of a training run, each once: type, default, meaning and rule.

The dataclasses are Hydra's schema, so a typo or a wrong type fails at compose time with its full
key. Rules between values are in `__post_init__` and name the key as the user types it. Rules
about files are in `check_files`, because a checkpoint is also used on machines without the
training data. Neither Hydra nor torch is imported here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser.config.callbacks import check_monitor, default_callbacks, emotion_of
from ser.config.data import DataConfig, Sampling
from ser.config.fields import group, require_path, setting
from ser.config.hub import require_model
from ser.config.loggers import default_loggers
from ser.config.model import Mode, ModelConfig, Schedule
from ser.config.split import SplitConfig
from ser.config.trainer import TrainerConfig
from ser.errors import UserError, require, suggest_path

LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"  # in the folder of a run
RESULT = "result.json"  # in the folder of a finished run


def find_last_checkpoint(source: str | Path) -> Path:
    """The checkpoint that training resumes from: a file, or the last one of a run folder.

    Raises UserError for anything else, such as an exported folder or a model on the hub.
    """
    path = Path(source).expanduser()
    for candidate in (path, path / LAST_CHECKPOINT, path / LAST_CHECKPOINT.name):
        if candidate.is_file():
            return candidate
    problem = f"a folder without {LAST_CHECKPOINT}" if path.is_dir() else "no such file or folder"
    raise UserError(
        f"ckpt={source}: {problem}; training resumes from a run folder or from a checkpoint in it."
        f" To fine-tune an exported model, use model.backbone.name=FOLDER{suggest_path(path)}"
    )


@dataclass
class TrainConfig:
    seed: int = setting(0, "seed of weights, order and dropout")
    output_dir: str = setting("???", "folder of this run; default: runs/DATE_TIME")
    ckpt: str | None = setting(None, "checkpoint or run folder to resume from")
    init_from: str | None = setting(
        None, "run folder or checkpoint to take the initial weights from, head included"
    )
    command: list[str] = setting([], "overrides as typed; filled in automatically")
    save_backbone: bool = setting(
        True, "false: best.ckpt refers to frozen pretrained weights instead of repeating them"
    )
    evaluate: bool = setting(False, "evaluate the best checkpoint on the test part at the end")
    monitor: str = setting(
        "val/uar", "metric that chooses the best checkpoint, stops early and guides `ser tune`"
    )
    data: DataConfig = group(DataConfig)
    split: SplitConfig = group(SplitConfig)
    model: ModelConfig = group(ModelConfig)
    trainer: TrainerConfig = group(TrainerConfig)
    callbacks: dict[str, Any] = field(default_factory=default_callbacks)
    logger: dict[str, Any] = field(default_factory=default_loggers)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "from 0 to 2**32 - 1")
        check_monitor("monitor", self.monitor)
        logged = any(logger is not None for logger in self.logger.values())
        if not logged and self.callbacks.get("learning_rate") is not None:
            raise UserError("callbacks.learning_rate needs a logger; add ~callbacks.learning_rate")
        self.check_class_weights()
        rule = "needs fixed features: without augmentation and with model.cache_hidden_states=true"
        trained = self.model.standardizes_by_group and not self.model.fits
        fixed = self.reuses_hidden_states or not trained
        require(fixed, "model.standardize", self.model.standardize, rule)
        copies = self.data.speeds != [1.0]
        rule = "needs a head that is only fitted (model=linear); to train, set data.augment.speed"
        require(self.model.only_fits or not copies, "data.speeds", self.data.speeds, rule)
        rule = "model.fit would replace the head of that run; set model.fit=none"
        require(self.init_from is None or not self.model.fits, "init_from", self.init_from, rule)
        trainer = self.trainer
        endless = trainer.max_epochs == -1 and trainer.max_steps == -1
        rule = f"model.schedule={self.model.schedule} needs an end; set this or trainer.max_steps"
        constant = self.model.schedule == Schedule.constant
        require(not endless or constant, "trainer.max_epochs", -1, rule)

    def check_class_weights(self) -> None:
        """Raise UserError for weights of unknown classes, and for two corrections at once."""
        weights = self.model.class_weights
        for name in weights if isinstance(weights, dict) else []:
            rule = f"not one of the classes {', '.join(self.data.label_space)}"
            require(name in self.data.label_space, "model.class_weights", name, rule)
        balanced = self.data.sampling == Sampling.balanced and not self.model.only_fits
        rule = "data.sampling=balanced already corrects for rare classes; use one of the two"
        require(not balanced or weights is None, "model.class_weights", weights, rule)
        adjusted = self.model.logit_adjustment
        require(not balanced or adjusted == 0, "model.logit_adjustment", adjusted, rule)

    def check_files(self) -> None:
        """Raise UserError for missing files and folders.

        Also for settings that a new training may not have, although older checkpoints have them.
        """
        named = self.output_dir.strip() not in ("", "???")
        require(named, "output_dir", self.output_dir, "name the folder of the run")
        self.check_fitted_weights()
        self.check_monitors()
        self.check_checkpoints()
        self.data.check_files()
        self.split.check_files()
        self.model.backbone.check_files()
        if self.ckpt is not None:
            require_path("ckpt", self.ckpt)
        elif self.init_from is not None:
            require_model("init_from", self.init_from)

    def check_fitted_weights(self) -> None:
        """Raise UserError for class weights that a fitted head cannot have.

        Only a training is checked: older checkpoints may have them, because they had no effect.
        """
        weights = self.model.class_weights
        positive = not isinstance(weights, dict) or all(weights.values())
        rule = "a fitted head needs weights above 0; data.labels leaves classes out"
        require(positive or not self.model.fits, "model.class_weights", weights, rule)

    def check_checkpoints(self) -> None:
        """Raise UserError for checkpoints that the other commands would not find."""
        own = Path(self.output_dir) / LAST_CHECKPOINT.parent
        rule = f"the commands look for best.ckpt and last.ckpt in {own}; leave this out"
        for name, callback in self.callbacks.items():
            folder, file = getattr(callback, "dirpath", None), getattr(callback, "filename", "best")
            same = folder is None or Path(folder).expanduser().absolute() == own.absolute()
            require(same, f"callbacks.{name}.dirpath", folder, rule)
            require(file == "best", f"callbacks.{name}.filename", file, rule)
            kept = getattr(callback, "save_top_k", 1)
            one = "best.ckpt is the one best checkpoint; leave this out"
            require(kept == 1, f"callbacks.{name}.save_top_k", kept, one)

    def check_monitors(self) -> None:
        """Raise UserError for the metric of an emotion that is none of the classes."""
        watched = {"monitor": self.monitor}
        for name, callback in self.callbacks.items():
            watched[f"callbacks.{name}.monitor"] = getattr(callback, "monitor", None) or ""
        for key, monitor in watched.items():
            emotion = emotion_of(monitor)
            rule = f"choose a class from {', '.join(self.data.label_space)}"
            require(emotion is None or emotion in self.data.label_space, key, monitor, rule)

    @property
    def ignored_by_fit(self) -> list[str]:
        """The settings of loss, sampling and augmentation in use, if the head is only fitted."""
        if not self.model.only_fits:
            return []
        sampled = ["data.sampling=balanced"] if self.data.sampling == Sampling.balanced else []
        augmented = [f"data.augment.{each}" for each in self.data.augment.changes]
        return [*self.model.loss_changes, *sampled, *augmented]

    @property
    def reuses_hidden_states(self) -> bool:
        """Whether the output of the frozen lower layers is the same in every epoch."""
        model, backbone = self.model, self.model.backbone
        masked = backbone.mask_time_prob > 0 or backbone.mask_feature_prob > 0
        # Which frames are above the floor is not stored for layers above.
        partial = model.top_layers is not None and model.pooling_floor_db is None and not masked
        same = model.mode == Mode.head or partial
        augmented = self.data.augment.active and not model.only_fits
        return same and model.cache_hidden_states and not augmented
