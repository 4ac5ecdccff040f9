"""`ser baseline`"""

import json
from pathlib import Path
from typing import Annotated

import typer

from ser.commands.options import ConfigDir, Overrides
from ser.config.baseline import RECORD, Classifier, FeatureSet
from ser.config.fields import require_creatable
from ser.errors import UserError

WRITTEN = {RECORD, "manifest.csv", "dropped.csv", "corpora.csv", "report"}


def baseline(
    overrides: Overrides = None,
    output: Annotated[Path, typer.Option(help="Folder of the run; it must not exist.")] = Path(
        "runs/baseline"
    ),
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
    if output.exists() and not is_unfinished(output):
        raise UserError(f"--output={output} exists: name a new folder")
    require_creatable("--output", output)
    from ser.config.compose import compose_command
    from ser.config.train import TrainConfig

    words = [*(overrides or []), f"output_dir={output}"]
    config = compose_command("train", words, TrainConfig, config_dir)
    from ser.evaluation.baseline import run_baseline  # heavy, so only after the config is checked
    from ser.reports import report

    result = run_baseline(config, output, features, classifier)
    report.write(result, output / "report")
    report.show_scores(result, output / "report")


def is_unfinished(folder: Path) -> bool:
    """Whether a folder is what a baseline that was stopped has left: it has no report."""
    if not folder.is_dir() or (folder / "report" / "report.html").exists():
        return False
    files = {path.name for path in folder.iterdir() if not path.name.endswith(".tmp")}
    return not files or (files <= WRITTEN and is_record(folder / RECORD))


def is_record(path: Path) -> bool:
    """Whether a file is the record of a baseline."""
    try:
        return "cv_uar" in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
