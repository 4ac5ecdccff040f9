"""`ser baseline`"""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ser.commands.options import ConfigDir, Overrides, refuse_settings
from ser.config.baseline import Classifier, FeatureSet
from ser.config.fields import require_creatable
from ser.errors import UserError
from ser.system.atomic import writing_folder


def baseline(
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(help="New folder of the run; default: runs/baseline_DATE_TIME."),
    ] = None,
    features: Annotated[
        FeatureSet,
        typer.Option(help="classic: MFCC, pitch, energy; egemaps: 88 functionals (opensmile)."),
    ] = FeatureSet.classic,
    classifier: Annotated[
        Classifier, typer.Option(help="auto: the better one in cross-validation.")
    ] = Classifier.auto,
    config_dir: ConfigDir = None,
) -> None:
    """Train a classic acoustic baseline on the same split, and write the same report."""
    output = output or Path(f"runs/baseline_{datetime.now():%Y-%m-%d_%H-%M-%S}")
    if output.exists():
        raise UserError(f"--output={output} exists: name a new folder")
    require_creatable("--output", output)
    reasons = {"output_dir": "the folder is set by --output", "ckpt": "it resumes no run"}
    refuse_settings(overrides, **reasons)
    from ser.config.compose import compose_command
    from ser.config.train import TrainConfig

    words = [*(overrides or []), f"output_dir={output}"]
    config = compose_command("train", words, TrainConfig, config_dir)
    settings = list(overrides or [])
    command = [*settings, "--output", output, "--features", features, "--classifier", classifier]
    if config_dir is not None:
        command += ["--config-dir", config_dir]
    from ser.evaluation.baseline import run_baseline  # heavy, so only after the config is checked
    from ser.reports import report

    with writing_folder(output) as draft:
        result = run_baseline(replace(config, command=settings), draft, features, classifier)
        result = replace(result, command=[str(word) for word in command])
        report.write(result, draft / "report")
    report.show_scores(result, output / "report")
