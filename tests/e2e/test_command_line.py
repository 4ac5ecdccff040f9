"""The commands as a user types them, each in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Runs a script and then says whether anything heavy was imported on the way.
WATCHED = """
import runpy, sys
script, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_path(script, run_name="__main__")
finally:
    heavy = {"torch", "lightning", "transformers", "pandas", "sklearn", "librosa"} & set(sys.modules)
    print("heavy imports:", sorted(heavy), file=sys.stderr)
"""


def run(*arguments: str, watched: bool = False, **environment: str):
    command = [sys.executable, *(["-c", WATCHED] if watched else []), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_help_explains_every_setting_and_imports_nothing_heavy(script):
    done = run(script, "--help", watched=True)
    assert done.returncode == 0
    assert "checkpoint to" in done.stdout
    assert done.stderr == "heavy imports: []\n"


def test_cfg_job_shows_the_composed_configuration():
    done = run("train.py", "--cfg", "job", "model.lr=1e-5", watched=True)
    assert done.returncode == 0
    assert "lr: 1.0e-05" in done.stdout
    assert done.stderr == "heavy imports: []\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train.py", "model.lrr=1"], "model.lrr is no setting; did you mean model.lr? (--help lists them all)."),
        (["train.py", "lr=1"], "lr is no setting (--help lists them all)."),
        (["train.py", "trainer.device=1"], "trainer.device is no setting; did you mean trainer.devices? (--help lists them all)."),
        (["train.py", "model.lr=fast"], "model.lr: 'fast' is not a number."),
        (["train.py", "model.lr=-1"], "model.lr=-1.0: must be above 0, and finite."),
        (["train.py", "model.schedule=linaer"], "model.schedule: Invalid value 'linaer', expected one of [linear, cosine, constant]."),
        (["train.py", "callbacks.early_stopping.patience=x"], "callbacks.early_stopping.patience: 'x' is not a whole number."),
        (["train.py", "backbone=xlsr"], "backbone=xlsr: there is only data2vec_base, hubert_base, hubert_large, tiny, unispeech_sat_base_plus, wav2vec2_base, wav2vec2_large_robust, wavlm_base_plus, wavlm_large, xls_r_300m, xlsr53."),
        (["train.py", "data.paths.tess=/nowhere"], "data.paths.tess=/nowhere: no such folder."),
        (["train.py", "ckpt=runs/none.ckpt"], "ckpt=runs/none.ckpt: no such file."),
        (["train.py", "seed"], "seed cannot be read as key=value; quote odd characters (see --help)."),
        (["evaluate.py"], "ckpt must be given: ckpt=... (--help says what it is)."),
        (["evaluate.py", "ckpt=runs/none.ckpt"], "ckpt=runs/none.ckpt: no such file."),
        (["evaluate.py", "ckpt=README.md", "part=tets"], "part: Invalid value 'tets', expected one of [train, val, test]."),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_at_once(arguments, message):
    done = run(*arguments, watched=True)
    assert done.returncode == 2
    assert done.stderr == f"error: {message}\nheavy imports: []\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("modle: {lr: 1}", "modle is no setting; did you mean model?"),
        ("model: {lrr: 1}", "model.lrr is no setting; did you mean model.lr?"),
        ("model: {lr: fast}", "model.lr: 'fast' is not a number"),
        ("trainer: {max_epoch: 3}", "trainer.max_epoch is no setting; did you mean trainer.max_epochs?"),
        ("callbacks: {early_stopping: {patienc: 3}}", "callbacks.early_stopping.patienc is no setting"),
        ("split: {val: 2}", "split.val=2.0: a share between 0 and 1."),
        ("model: [", "while parsing"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_experiment_file_is_one_sentence_too(tmp_path, content, message):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"# @package _global_\n{content}\n")
    done = run("train.py", f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine", watched=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 2
    assert "heavy imports: []" in done.stderr


def test_without_network_and_copy_training_says_what_to_do(tmp_path):
    done = run(
        "train.py",
        f"output_dir={tmp_path}",
        KAGGLE_API_ENVIRONMENT="LOCALHOST",
        KAGGLEHUB_CACHE=str(tmp_path / "kagglehub"),
        SER_CACHE=str(tmp_path / "cache"),
    )
    assert done.returncode == 2
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "RAVDESS" in line
    assert "data.paths.ravdess=FOLDER" in line
    assert "Traceback" not in done.stderr


def test_a_checkpoint_alone_goes_on_with_its_run(tmp_path, corpora, cache_dir):
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    started = [
        "experiment=quickstart",
        "callbacks=quiet",
        f"data.synthetic={corpora}",
        f"data.cache_dir={cache_dir}",
    ]
    done = run("train.py", *started, f"output_dir={folder}", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    done = run("train.py", f"ckpt={last}", f"output_dir={folder}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert "epoch 1, step 60" in done.stdout
    assert "epoch 0" not in done.stdout
    recorded = (folder / ".hydra" / "overrides.yaml").read_text()
    assert all(f"- {option}\n" in recorded for option in [*started, "trainer.max_epochs=2"])
    assert "max_epochs: 2" in (folder / ".hydra" / "config.yaml").read_text()
    done = run("train.py", f"output_dir={folder}", *started)
    assert done.returncode == 2
    assert "already holds a run" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "Terminated.")]
)  # fmt: skip
def test_a_stopped_run_says_how_to_go_on(tmp_path, corpora, cache_dir, sent, code, word):
    folder = tmp_path / "run"
    options = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}", f"output_dir={folder}"]
    command = [sys.executable, "train.py", "experiment=quickstart", "callbacks=quiet", *options]
    process = subprocess.Popen(
        [*command, "trainer.max_epochs=500", "callbacks.early_stopping.patience=500"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = folder / "checkpoints" / "last.ckpt"
    while not last.exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert f"{word} To go on: python train.py ckpt={last}" in output


@pytest.mark.slow
def test_the_quickstart_learns_to_tell_unseen_synthetic_speakers(tmp_path):
    """The two commands of `make quickstart`, in a folder of their own."""
    cache = str(tmp_path / "cache")
    folder = tmp_path / "run"
    synthetic = f"data.synthetic={tmp_path / 'synthetic'}"
    done = run(
        "train.py", "experiment=quickstart", f"output_dir={folder}", synthetic, SER_CACHE=cache
    )
    assert done.returncode == 0, done.stderr
    done = run("evaluate.py", f"ckpt={folder}/checkpoints/best.ckpt", SER_CACHE=cache)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert metrics["overall"]["uar"] >= 0.8
    assert metrics["speakers_in_several_parts"] == 0
