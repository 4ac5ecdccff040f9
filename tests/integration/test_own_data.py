"""Training and evaluation on a user's own table, and the reuse of an earlier split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig, EvaluateDataConfig
from ser.errors import UserError
from ser.preparation.manifest import read
from ser.training.train import train

PARTS = ("train", "train", "val", "test")


def write_table(folder: Path, emotions: tuple[str, ...], name: str = "mine.csv") -> Path:
    """Sixteen tones of each emotion, without speakers."""
    folder.mkdir()
    rows = ["path,emotion,split"]
    for number, emotion in enumerate(emotions * 16):
        part = PARTS[number // len(emotions) % 4]
        tone = 0.5 * np.sin(np.arange(16_000) * (0.02 + 0.003 * number))
        soundfile.write(folder / f"{number}.wav", tone, 16_000)
        rows.append(f"{number}.wav,{emotion},{part}")
    (folder / name).write_text("\n".join(rows))
    return folder / name


@pytest.fixture(scope="module")
def own(compose_config, cache_dir, tmp_path_factory):
    """A run on a table alone, with two classes."""
    folder = tmp_path_factory.mktemp("own")
    table = write_table(folder / "data", ("happy", "sad"))
    return train(
        compose_config(
            *("experiment=quickstart", "callbacks=quiet", "data=table", "split=table"),
            *(f"data.table={table}", "data.labels=[happy,sad]", f"data.cache_dir={cache_dir}"),
            *(f"output_dir={folder / 'run'}", "trainer.max_epochs=1"),
        )
    )


@pytest.mark.slow
def test_training_and_evaluation_work_without_speakers(own):
    assert own.checkpoint is not None
    scores = evaluate(EvaluateConfig(ckpt=str(own.checkpoint)))
    assert scores.utterances == 8
    assert list(scores.classes) == ["happy", "sad"]
    report = (own.output_dir / "report" / "report.md").read_text()
    assert "unknown speakers" in report
    page = (own.output_dir / "report" / "report.html").read_text()
    assert 'id="speakers"' not in page
    metrics = json.loads((own.output_dir / "report" / "metrics.json").read_text())
    assert metrics["overall"]["speakers"] == 0
    assert metrics["overall"]["intervals"] == {}
    assert metrics["overall"]["no_interval"] != ""


@pytest.mark.slow
def test_a_table_that_was_moved_is_recognised(own, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(own.output_dir.parent / "data", moved)
    data = EvaluateDataConfig(table=str(moved / "mine.csv"))
    config = EvaluateConfig(
        ckpt=str(own.checkpoint), output_dir=str(tmp_path / "report"), data=data
    )
    assert evaluate(config).utterances == 8


def test_a_new_table_is_evaluated_as_a_whole(own, tmp_path):
    table = write_table(tmp_path / "new", ("joy", "boredom"), "other.csv")
    labels: dict[str, str | None] = {"joy": "happy", "boredom": None}
    data = EvaluateDataConfig(table=str(table), label_map=labels)
    config = EvaluateConfig(
        ckpt=str(own.checkpoint), output_dir=str(tmp_path / "report"), data=data
    )
    scores = evaluate(config)
    assert scores.utterances == 16
    assert [row.support for row in scores.classes.values()] == [16, 0]


def test_a_new_table_is_evaluated_after_training_on_corpora(trained, compose_config, tmp_path):
    table = write_table(tmp_path / "new", ("joy", "boredom"))
    overrides = [f"ckpt={trained}", f"output_dir={tmp_path / 'report'}", f"data.table={table}"]
    labels = "data.label_map={joy: happy, boredom: null}"
    config = compose_config(*overrides, labels, name="evaluate", kind=EvaluateConfig)
    assert evaluate(config).utterances == 16
    unmapped = compose_config(*overrides, name="evaluate", kind=EvaluateConfig)
    with pytest.raises(UserError, match=r"'joy'.*data\.label_map"):
        evaluate(unmapped)


@pytest.mark.slow
def test_a_reused_split_is_stored_with_the_new_run(quick_config, tmp_path):
    train(quick_config(tmp_path / "first", "split.seed=3", "trainer.max_steps=2"))
    earlier = tmp_path / "first" / "manifest.csv"
    again = train(
        quick_config(tmp_path / "second", f"split.manifest={earlier}", "trainer.max_steps=2")
    )
    parts = [read(tmp_path / run / "manifest.csv")["split"] for run in ("first", "second")]
    assert parts[0].equals(parts[1])
    shutil.rmtree(tmp_path / "first")
    assert evaluate(EvaluateConfig(ckpt=str(again.checkpoint))).utterances > 20


@pytest.mark.slow
def test_training_recordings_in_a_new_table_are_reported(trained, tmp_path):
    known = read(trained.parents[1] / "manifest.csv")
    copied = known[known["split"] == "train"].groupby("emotion").head(2)
    rows = [f"{path},{emotion},me" for path, emotion in copied[["path", "emotion"]].to_numpy()]
    (tmp_path / "again.csv").write_text("\n".join(["path,emotion,speaker", *rows]))
    data = EvaluateDataConfig(table=str(tmp_path / "again.csv"))
    report = tmp_path / "report"
    evaluate(EvaluateConfig(ckpt=str(trained), output_dir=str(report), data=data))
    words = (report / "report.md").read_text()
    assert f"near-duplicate in training: {len(copied)} of {len(copied)}." in words
