"""Report folders written by hand, and results to be reported."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ser.config.plain import from_plain
from ser.evaluation.misclassified import Misclassification
from ser.evaluation.overlap import examine
from ser.evaluation.result import EvaluationResult
from ser.metrics.summary import Predictions
from ser.models.checkpoint import CheckpointMetadata
from ser.preparation.manifest import COLUMNS, CORPUS_COLUMNS, DROPPED_COLUMNS, Manifest
from ser.reports.metrics_json import SCHEMA

NAMES = ("sad", "calm", "angry")


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Write the report of a run that is right with a probability of `right`."""

    def write_run(
        name: str,
        *,
        right: float,
        seed: int = 0,
        speakers: range = range(20),
        val: float = 0.5,
        command: tuple[str, ...] = (),
        corpus: str = "c",
    ) -> Path:
        generator = np.random.default_rng(seed)
        folder = tmp_path / name / "report"
        folder.mkdir(parents=True)
        rows = [
            (f"{corpus}/{s}_{i}", corpus, f"{corpus}/{s}", NAMES[i % 3])
            for s in speakers
            for i in range(12)
        ]
        table = pd.DataFrame(rows, columns=pd.Index(["id", "corpus", "speaker", "emotion"]))
        other = table["emotion"].map({"sad": "calm", "calm": "angry", "angry": "sad"})
        table["predicted"] = table["emotion"].where(generator.random(len(table)) < right, other)
        table.to_csv(folder / "predictions.csv", index=False)
        content = {
            "schema": SCHEMA,
            "labels": NAMES,
            "part": "test",
            "synthetic": False,
            "checkpoint": f"{name}/checkpoints/best.ckpt",
            "val_uar": val,
            "config": {"command": ["data=all", *command]},
        }
        (folder / "metrics.json").write_text(json.dumps(content))
        return tmp_path / name

    return write_run


@pytest.fixture
def build_result(tmp_path: Path) -> Callable[..., Any]:
    """An evaluation of 12 speakers, with changes to the columns of its manifest."""
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights")

    def build_result(
        names: tuple[str, ...] = NAMES, corpus: str = "tess", **columns: Any
    ) -> EvaluationResult:
        generator, count = np.random.default_rng(0), 12 * 30
        labels = generator.integers(0, len(names), count)
        table = pd.DataFrame({name: [""] * count for name in COLUMNS}).assign(
            id=[f"{corpus}/{row}" for row in range(count)], corpus=corpus,
            speaker=[f"{corpus}/{row % 12}" for row in range(count)],
            gender=["female" if row % 2 else "male" for row in range(count)],
            emotion=np.array(names)[labels], intended=np.array(names)[labels],
            sentence=[str(row // 12 % 3) for row in range(count)], seconds=2.0,
            split=np.where(np.arange(count) % 12 < 6, "train", "test"), sample_rate=16_000,
            channels=1, clipped=0.0, format="WAV PCM_16", path="x.wav",
            agreement=np.nan, start=np.nan, end=np.nan,
            recording=[f"r{row}" for row in range(count)], content="0",
        )  # fmt: skip
        table = table.assign(**columns)
        corpora = pd.DataFrame(
            [(corpus, corpus, "local copy", "/t", 10, "CC BY-NC-ND 4.0", "")],
            columns=pd.Index(CORPUS_COLUMNS),
        )
        empty = pd.DataFrame(columns=pd.Index(DROPPED_COLUMNS))
        test = table[table["split"] == "test"].reset_index(drop=True)
        true = test["emotion"].map(names.index).to_numpy()
        logits = generator.normal(0, 1, (len(test), len(names)))
        logits[np.arange(len(test)), true] += 1.5
        predicted = Predictions(test, logits, names, temperature=1.3)
        waveform = (0.1 * np.sin(np.arange(16_000))).astype(np.float32)
        error = Misclassification(f"{corpus}/1", corpus, "s", names[0], names[1], 0.9, waveform)
        return EvaluationResult(
            checkpoint=checkpoint, part="test", command=["ckpt=best.ckpt"],
            settings=from_plain({"output_dir": "x"}),
            metadata=CheckpointMetadata(
                from_plain({"output_dir": "x", "command": ["seed=1"], "seed": 1}),
                names, 16_000, {}, {}, "hash",
            ),
            parameters=1, manifest=Manifest(table, empty, corpora), predicted=predicted,
            overlap=examine(test, table[table["split"] == "train"]), misclassified=[error],
        )  # fmt: skip

    return build_result
