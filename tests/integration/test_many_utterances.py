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
from ser import exposure, report
from ser.compose import from_plain
from ser.findings import Findings
from ser.judgement import Predicted, judge, judge_by, judge_speakers
from ser.labels import LABELS
from ser.manifest import COLUMNS, DROPPED_COLUMNS, Manifest
from ser.model import Blueprint

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
predicted = Predicted(table, logits, LABELS, temperature=1.2)
settings = from_plain({"output_dir": "x"})
blueprint = Blueprint({"command": [], "seed": 0}, list(LABELS), 16000, {}, {}, "hash")
report.write(
    Findings(
        checkpoint=Path(sys.argv[2]) / "best.ckpt", part="test", command=[], settings=settings,
        blueprint=blueprint, parameters=1,
        manifest=Manifest(table, pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))),
        predicted=predicted, overall=judge(predicted), corpora=judge_by(predicted, "corpus"),
        genders=judge_by(predicted, "gender"), speakers=judge_speakers(predicted),
        exposure=exposure.examine(table, table.iloc[:0]), mistakes=[],
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
