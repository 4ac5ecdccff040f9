"""What reports say about the training of a checkpoint: the only reader of its configuration."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ser.config.plain import to_plain
from ser.corpora import CORPORA
from ser.models.checkpoint import CheckpointMetadata

# In a licence: no derivatives, or only for registered users.
RESTRICTED = re.compile(r"\bND\b|no.?deriv|registration", re.IGNORECASE)


@dataclass(frozen=True)
class TrainingFacts:
    """The settings of a training that reports mention, and all of them as plain values."""

    backbone: str
    pretrained: bool
    mode: str
    corpora: list[str]
    table: str | None
    synthetic: bool
    split: str
    seeds: str
    max_seconds: float
    command: list[str]
    config: dict[str, Any] = field(repr=False)

    @property
    def data(self) -> list[str]:
        """The titles of the corpora, and the name of the user's table."""
        titles = [CORPORA[name].title if name in CORPORA else name for name in self.corpora]
        return titles + ([self.table_name] if self.table else [])

    @property
    def table_name(self) -> str:
        """The name of the user's table without its folder and suffix; "" without a table."""
        return Path(self.table or "").stem

    @property
    def model(self) -> str:
        """The backbone and what of it was trained."""
        start = "" if self.pretrained else ", from random weights"
        return f"{self.backbone} ({self.mode}{start})"


def describe_training(metadata: CheckpointMetadata) -> TrainingFacts:
    """The facts of a checkpoint."""
    config = metadata.config
    return TrainingFacts(
        backbone=config.model.backbone.name,
        pretrained=config.model.backbone.pretrained,
        mode=config.model.mode,
        corpora=list(config.data.corpora),
        table=config.data.table,
        synthetic=metadata.synthetic,
        split=config.split.described,
        seeds=f"split seed {config.split.seed}, training seed {config.seed}",
        max_seconds=config.data.max_seconds,
        command=list(config.command),
        config=to_plain(config),
    )


def is_restricted(licence: str) -> bool:
    """Whether the terms of a corpus forbid passing on parts of it, as a report with audio would."""
    return RESTRICTED.search(licence) is not None
