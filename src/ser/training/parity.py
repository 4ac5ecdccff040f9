"""Compare bf16 with fp32 on validation utterances, for `--precision auto`."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only

from ser.audio.recording import SAMPLE_RATE, Waveform
from ser.config.precision import Precision
from ser.data.datamodule import EmotionDataModule
from ser.inference.load import load_trained
from ser.inference.parity import compare
from ser.inference.predictor import Predictor
from ser.models.precision import PrecisionParity, computes_bf16
from ser.training.checkpoint_io import AtomicCheckpointIO

log = logging.getLogger(__name__)
CLIPS = 200  # the fewest that can show an agreement of 99.5%


@rank_zero_only
def store_parity(path: Path, data: EmotionDataModule, device: torch.device) -> None:
    """Measure the parity of a checkpoint and add it to the file.

    Nothing happens on devices that emulate bf16, which would take minutes; the first clips that
    are predicted on another device then decide.
    """
    if not path.is_file() or not computes_bf16(device):
        return
    clips = collect_validation(data)
    log.info("Comparing bf16 with fp32 on %s validation clips", len(clips))
    parity = measure_parity(path, clips, device)
    chosen = Precision.bf16 if parity.good else Precision.fp32
    log.info("Predictions in precision auto will use %s: %s", chosen, parity)
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    AtomicCheckpointIO().save_checkpoint(content | {"parity": asdict(parity)}, path)


def measure_parity(path: Path, clips: list[Waveform], device: torch.device) -> PrecisionParity:
    """How the calibrated probabilities of a checkpoint change in bf16."""
    model = load_trained(path)
    full, reduced = (
        Predictor(model, str(device), precision=precision)
        for precision in (Precision.fp32, Precision.bf16)
    )
    found = compare(full.probabilities, reduced.probabilities, clips)
    return PrecisionParity(found.clips, found.difference, found.agreement)


def collect_validation(data: EmotionDataModule) -> list[Waveform]:
    """Validation utterances, evenly from all of them, cut to the length of training clips."""
    contents = data.manifest.part("val")["content"].tolist()
    rows = np.unique(np.linspace(0, len(contents) - 1, CLIPS).round().astype(int))
    longest = round(data.config.max_seconds * SAMPLE_RATE)
    recordings = data.cache.recordings([contents[row] for row in rows])
    return [recordings[row][:longest] for row in range(len(recordings))]
