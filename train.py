"""Train a speech emotion recogniser: `python train.py [group=option] [key=value]`; see --help."""

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ser.compose import convert, put_multirun_first, register, settle, sweep_folder
from ser.config import TrainConfig
from ser.errors import one_line_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(composed: DictConfig) -> float:
    with one_line_errors(HydraConfig.get().runtime.output_dir):
        settings = convert(settle(composed), TrainConfig)
        from ser.protocol import run  # heavy, so only once the settings are known to be good

        return run(settings, sweep_folder())


if __name__ == "__main__":
    with one_line_errors():  # what Hydra refuses before `main` is called
        register()
        put_multirun_first(sys.argv)
        main()
