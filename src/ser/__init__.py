"""Speech emotion recognition: from corpus files to a trained and evaluated model.

The names below are the public Python API. They are imported at first use, so `import ser` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ser.version import __version__

if TYPE_CHECKING:
    from ser.config.backbone import BackboneConfig
    from ser.config.data import DataConfig
    from ser.config.evaluate import EvaluateConfig
    from ser.config.model import ModelConfig
    from ser.config.split import SplitConfig
    from ser.config.train import TrainConfig
    from ser.config.trainer import TrainerConfig
    from ser.data.datamodule import EmotionDataModule
    from ser.errors import UserError
    from ser.evaluation.evaluate import evaluate
    from ser.inference.load import load_trained
    from ser.inference.prediction import Failure, Prediction
    from ser.inference.predictor import Predictor
    from ser.metrics.scores import score
    from ser.models.build import build_network
    from ser.models.checkpoint import Checkpoint
    from ser.preparation.prepare import prepare
    from ser.training.module import EmotionClassifier
    from ser.training.train import build, train

HOMES = {
    "BackboneConfig": "ser.config.backbone",
    "Checkpoint": "ser.models.checkpoint",
    "DataConfig": "ser.config.data",
    "EmotionClassifier": "ser.training.module",
    "EmotionDataModule": "ser.data.datamodule",
    "EvaluateConfig": "ser.config.evaluate",
    "Failure": "ser.inference.prediction",
    "ModelConfig": "ser.config.model",
    "Prediction": "ser.inference.prediction",
    "Predictor": "ser.inference.predictor",
    "SplitConfig": "ser.config.split",
    "TrainConfig": "ser.config.train",
    "TrainerConfig": "ser.config.trainer",
    "UserError": "ser.errors",
    "build": "ser.training.train",
    "build_network": "ser.models.build",
    "evaluate": "ser.evaluation.evaluate",
    "load_trained": "ser.inference.load",
    "prepare": "ser.preparation.prepare",
    "score": "ser.metrics.scores",
    "train": "ser.training.train",
}

__all__ = [
    "BackboneConfig",
    "Checkpoint",
    "DataConfig",
    "EmotionClassifier",
    "EmotionDataModule",
    "EvaluateConfig",
    "Failure",
    "ModelConfig",
    "Prediction",
    "Predictor",
    "SplitConfig",
    "TrainConfig",
    "TrainerConfig",
    "UserError",
    "__version__",
    "build",
    "build_network",
    "evaluate",
    "load_trained",
    "prepare",
    "score",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
