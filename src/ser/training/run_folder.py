"""What a run writes into its folder besides checkpoints and logs."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from lightning.pytorch.utilities import rank_zero_only

from ser.config.plain import to_plain
from ser.config.train import LAST_CHECKPOINT, RESULT, TrainConfig
from ser.errors import UserError
from ser.preparation.manifest import Manifest
from ser.system.atomic import write_text
from ser.system.files import shorten


@dataclass(frozen=True)
class TrainResult:
    """The folder of a run, its best checkpoint if one was kept, and the score that chose it.

    `monitor` is the name of the score, val/uar by default.
    """

    output_dir: Path
    checkpoint: Path | None
    monitor: str
    score: float


def refuse_to_overwrite(output_dir: Path, ckpt: str | None) -> None:
    """Raise UserError if the folder holds another run, or is a file."""
    folder = shorten(output_dir)
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"output_dir={folder} is a file; name a folder")
    taken = (output_dir / ".hydra").exists() or (output_dir / "checkpoints").exists()
    if ckpt is None and taken:
        last = output_dir / LAST_CHECKPOINT
        hint = "remove it, because it has no checkpoint yet"
        if last.exists():
            hint = f"resume that run by adding ckpt={shorten(last)}"
        raise UserError(f"output_dir={folder} already holds a run: name another folder, or {hint}")


@rank_zero_only
def record(manifest: Manifest, config: TrainConfig) -> None:
    """Write the data and the settings of the run before it starts."""
    output_dir = Path(config.output_dir)
    # Two runs may start at once: the folder belongs to the one that creates this one.
    try:
        (output_dir / ".hydra").mkdir(parents=True, exist_ok=config.ckpt is not None)
    except FileExistsError as error:
        raise UserError(f"output_dir={output_dir} was taken by another run meanwhile") from error
    (output_dir / RESULT).unlink(missing_ok=True)  # a resumed run is no longer finished
    manifest.write(output_dir)
    settings = {"config": to_plain(config), "overrides": config.command}
    for name, content in settings.items():
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        write_text(output_dir / ".hydra" / f"{name}.yaml", text)


def write_result(result: TrainResult) -> None:
    """Write `result.json`, which marks a run as finished."""
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(result).items()}
    if math.isnan(result.score):
        plain["score"] = None
    del plain["output_dir"]
    write_text(result.output_dir / RESULT, json.dumps(plain, indent=2) + "\n")
