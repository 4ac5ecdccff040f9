"""A report of 200,000 utterances, with predictions made up: bounded time and memory."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, pandas as pd
from ser.evaluation import overlap
from ser.reports import report
from ser.config.plain import from_plain
from ser.evaluation.result import EvaluationResult
from ser.metrics.summary import Predictions, summarize, summarize_by, summarize_speakers
from ser.corpora.emotions import LABELS
from ser.preparation.manifest import COLUMNS, DROPPED_COLUMNS, Manifest
from ser.models.checkpoint import CheckpointMetadata

count, generator = int(sys.argv[1]), np.random.default_rng(0)
speaker = generator.integers(0, 2000, count)
labels = generator.integers(0, 8, count)
table = pd.DataFrame({name: "" for name in COLUMNS}, index=range(count)).assign(
    id=[f"t/{row}" for row in range(count)], corpus=np.where(speaker % 2, "tess", "cremad"),
    speaker=[f"t/{name}" for name in speaker], gender=np.where(speaker % 3, "female", "male"),
    emotion=np.array(LABELS)[labels], sentence="s", seconds=2.5, split="test",
    sample_rate=16000, channels=1, clipped=0.0, format="WAV PCM_16",
    agreement=np.nan, start=np.nan, end=np.nan,
    recording=[f"r{row}" for row in range(count)],
)
logits = generator.normal(0, 1, (count, 8)).astype(np.float32)
logits[np.arange(count), labels] += 1.5
predicted = Predictions(table, logits, LABELS, temperature=1.2)
settings = from_plain({"output_dir": "x"})
metadata = CheckpointMetadata(settings, LABELS, 16000, {}, {}, "hash")
report.write(
    EvaluationResult(
        checkpoint=Path(sys.argv[2]) / "best.ckpt", part="test", command=[], settings=settings,
        metadata=metadata, parameters=1,
        manifest=Manifest(table, pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))),
        predicted=predicted,
        overlap=overlap.examine(table, table.iloc[:0]), misclassified=[],
    ),
    Path(sys.argv[2]),
)
"""


def measure(count: int, folder: Path) -> tuple[float, float]:
    """Seconds, and GiB of memory at most."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", SCRIPT, str(count), str(folder)], check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return time.monotonic() - started, peak


@pytest.mark.slow
def test_a_report_of_200_000_utterances_stays_small_and_quick(tmp_path):
    _, least = measure(1000, tmp_path / "few")
    seconds, most = measure(200_000, tmp_path / "many")
    print(f"200,000 utterances: {seconds:.0f} s, {most:.2f} GiB; 1,000: {least:.2f} GiB")
    assert seconds < 180
    assert most < least + 1.5
    assert (tmp_path / "many" / "report.html").stat().st_size < 3e6
    lines = (tmp_path / "many" / "predictions.csv").read_text().count("\n")
    assert lines == 200_001
