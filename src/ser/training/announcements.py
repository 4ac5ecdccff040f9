"""What the log says before a training starts."""

import logging

from lightning import Trainer

from ser.config.precision import name_precision
from ser.config.train import TrainConfig
from ser.training.module import EmotionClassifier

log = logging.getLogger(__name__)


def warn_of_ignored(config: TrainConfig) -> None:
    """Name the settings that have no effect, because the head is only fitted."""
    if ignored := config.ignored_by_fit:
        log.warning(
            "scikit-learn fits this head, so these settings have no effect: %s. To weight classes,"
            " set model.class_weights.",
            ", ".join(ignored),
        )


def explain_cache(config: TrainConfig) -> None:
    """Say why the output of frozen layers is not cached, although the settings ask for it."""
    model = config.model
    wanted = model.freezes_layers and model.cache_hidden_states
    if wanted and not config.reuses_hidden_states:
        log.info(
            "Hidden states are not cached: that needs data.augment off, and with top_layers no"
            " pooling_floor_db, mask_time_prob=0 and mask_feature_prob=0"
        )


def announce(trainer: Trainer, module: EmotionClassifier) -> None:
    """Say what is trained on which device and in which precision."""
    total = sum(p.numel() for p in module.network.parameters())
    trained = sum(p.numel() for p in module.network.parameters() if p.requires_grad)
    log.info(
        "Training %s of %s parameters on %s in %s precision",
        *(count_millions(trained), count_millions(total)),
        *(describe_devices(trainer), name_precision(str(trainer.precision))),
    )


def count_millions(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,}"


def describe_devices(trainer: Trainer) -> str:
    device = trainer.strategy.root_device.type
    return device if trainer.world_size == 1 else f"{trainer.world_size} {device} devices"
