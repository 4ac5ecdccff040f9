"""Evaluate a checkpoint: `python evaluate.py ckpt=runs/.../checkpoints/best.ckpt`; see --help."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ser.compose import convert, register
from ser.config import EvaluateConfig
from ser.errors import one_line_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(composed: DictConfig) -> float:
    with one_line_errors():
        typed = list(HydraConfig.get().overrides.task)
        settings = convert(composed, EvaluateConfig, command=typed)
        from ser.evaluation import evaluate  # heavy, so only once the settings are known to be good

        return evaluate(settings).uar


if __name__ == "__main__":
    with one_line_errors():
        register()
        main()
