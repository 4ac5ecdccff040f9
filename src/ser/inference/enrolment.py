"""Enrolled speakers: small files of the statistics of their pooled features, without audio.

The statistics describe a voice, so they are personal data: only the user can read the files.
"""

import hashlib
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ser.errors import UserError, amount
from ser.inference.clip_warnings import find_warnings
from ser.models.standardization import Standardization, Statistics
from ser.system.atomic import write_text

if TYPE_CHECKING:
    from ser.inference.predictor import Predictor

log = logging.getLogger(__name__)
SCHEMA = 1
VALID_NAME = re.compile(r"\w[\w-]{0,63}")  # no dots and slashes: names are file names
FOLDER = "SER_SPEAKERS"  # environment variable


@dataclass(frozen=True)
class EnrolledSpeaker:
    """A speaker's statistics under one model, which its fingerprint identifies."""

    name: str
    model: str
    fingerprint: str
    statistics: Statistics

    @property
    def path(self) -> Path:
        return speakers_folder() / f"{check_name(self.name)}.{self.fingerprint}.json"

    def write(self) -> Path:
        """Write the file, which replaces an earlier one of this speaker and model."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        statistics = self.statistics
        content = {
            "schema": SCHEMA,
            "name": self.name,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "clips": statistics.count,
            "mean": statistics.mean.tolist(),
            "squares": statistics.squares.tolist(),
        }
        write_text(self.path, json.dumps(content, allow_nan=False) + "\n", private=True)
        return self.path


def speakers_folder() -> Path:
    """The folder of the files: SER_SPEAKERS, or ser/speakers in the data folder of the user."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER]).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "ser" / "speakers"


def check_name(name: str) -> str:
    """The name; raises UserError if it cannot be that of a file."""
    if VALID_NAME.fullmatch(name) is None:
        raise UserError(f"speaker {name!r}: use up to 64 letters, digits, hyphens and underscores")
    return name


def fingerprint(standardization: Standardization) -> str:
    """What identifies the features of a model: a hash of their statistics in the training data."""
    digest = hashlib.blake2b(digest_size=8)
    for values in (standardization.mean, standardization.scale, standardization.spread):
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return digest.hexdigest()


def read(path: Path) -> EnrolledSpeaker:
    """The speaker in a file. Raises UserError if it is damaged, or of a newer version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] > SCHEMA:
            raise UserError(f"{path} was written by a newer version of this project; update it")
        mean, squares = (np.array(content[key], np.float64) for key in ("mean", "squares"))
        count = int(content["clips"])
        valid = mean.ndim == 1 and mean.shape == squares.shape and count >= 1
        if not (valid and np.isfinite(mean).all() and np.isfinite(squares).all()):
            raise ValueError("the statistics are not valid")
        if (squares < 0).any():
            raise ValueError("a variance is negative")
        name, model, fingerprint = (str(content[key]) for key in ("name", "model", "fingerprint"))
        return EnrolledSpeaker(name, model, fingerprint, Statistics(count, mean, squares))
    except UserError:  # which is a ValueError
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"{path} is damaged, or is not the file of an enrolled speaker ({error}): remove it"
            f" with `ser enroll --forget {path.name.split('.')[0]}`, and enrol the speaker again"
        ) from error


def files_of(name: str) -> list[Path]:
    """The files of a speaker, one for each model."""
    return sorted(speakers_folder().glob(f"{check_name(name)}.*.json"))


def load(name: str, standardization: Standardization, model: str) -> Statistics:
    """The statistics of a speaker for a model.

    Raises UserError if the speaker is not enrolled for it, or if the file is damaged.
    """
    own = fingerprint(standardization)
    path = speakers_folder() / f"{check_name(name)}.{own}.json"
    if not path.is_file():
        others = ", ".join(read(file).model for file in files_of(name))
        reason = f"is enrolled for {others} only" if others else "is not enrolled"
        raise UserError(
            f"speaker {name} {reason}: run `ser enroll {name} CLIPS... --ckpt {model}` first"
        )
    statistics = read(path).statistics
    if statistics.mean.shape != standardization.mean.shape:
        raise UserError(f"{path} has features of another size; enrol {name} again")
    return statistics


def list_speakers() -> list[EnrolledSpeaker]:
    """All enrolled speakers by name. Raises UserError if a file is damaged."""
    return [read(path) for path in sorted(speakers_folder().glob("*.json"))]


def forget(name: str) -> int:
    """Remove all files of a speaker, damaged ones too; return their number.

    Raises UserError if there are none.
    """
    found = files_of(name)
    if not found:
        raise UserError(f"speaker {name} is not enrolled; `ser enroll --list` shows who is")
    for path in found:
        path.unlink()
    return len(found)


def adapt_to(predictor: "Predictor", name: str, model: str) -> None:
    """Adapt a predictor to an enrolled speaker, and log it with warnings.

    Raises UserError if the speaker is not enrolled for the model, or if it cannot be adapted.
    """
    statistics = load(name, predictor.standardization, model)
    for warning in find_warnings(predictor.standardization, statistics):
        log.warning("Speaker %s: %s", name, warning)
    predictor.adapt(statistics, name)
    log.warning("Adapted to speaker %s, %s", name, amount(statistics.count, "clip"))
