"""Checkpoint files that are complete or absent, whenever the process or the machine dies."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from ser.config.train import LAST_CHECKPOINT
from ser.errors import UserError
from ser.models.backbone_reference import leave_out
from ser.system.atomic import flush


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint under another name in the same folder, and rename it once it is on disk.

    With `complete`, every file except last.ckpt works without the backbone that it was trained
    from. Others refer to its frozen weights instead of repeating them.

    Lightning 2.6 builds the file a second time in memory, writes it to the temporary folder of
    the system and moves it, which is a copy if that is another file system.
    """

    def __init__(self, *, complete: bool = True) -> None:
        super().__init__()
        self.complete = complete

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Raises UserError if there is no space; what was saved before is kept."""
        if "://" in str(path):
            return super().save_checkpoint(checkpoint, path, storage_options)
        target = Path(path)
        if not self.complete or target.name == LAST_CHECKPOINT.name:
            checkpoint = leave_out(checkpoint)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")  # one name: the next write replaces it
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
            flush(part)
        except (OSError, RuntimeError) as error:  # torch has its own message for a full disk
            part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or "the disk may be full"
            raise UserError(
                f"{target} cannot be written ({reason}): free some space; the checkpoints that"
                " were saved before are kept"
            ) from error
        part.replace(target)
        return None
