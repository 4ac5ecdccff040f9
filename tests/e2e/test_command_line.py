"""The commands as a user types them, each in its own process."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from ser.config.evaluate import EvaluateConfig
from ser.config.keys import known_keys
from ser.config.train import TrainConfig, find_last_checkpoint

ROOT = Path(__file__).parents[2]
# Runs a script and then prints the heavy modules that were imported.
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


@pytest.mark.parametrize("name", [pytest.param("train", marks=pytest.mark.slow), "evaluate"])
def test_help_explains_every_setting_and_imports_nothing_heavy(name):
    done = run(f"{name}.py", "--help", watched=True)
    assert done.returncode == 0
    kind = {"train": TrainConfig, "evaluate": EvaluateConfig}[name]
    shown = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    hidden = [
        key for key in known_keys(kind) if not {key, f"{key.rpartition('.')[0]}.NAME"} & shown
    ]
    assert hidden == ["command"]  # filled in automatically
    assert done.stderr == "heavy imports: []\n"
    command = [sys.executable, "-m", "ser.commands.main", name, "--help"]
    same = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert same.stdout == done.stdout


def test_cfg_job_shows_the_composed_configuration():
    done = run("train.py", "model.lr=1e-5", "--cfg", "job", "data.table=größe.csv", watched=True)
    assert done.returncode == 0
    shown = yaml.safe_load(done.stdout)
    assert shown["model"]["lr"] == 1e-5
    assert shown["data"]["table"] == "größe.csv"
    assert done.stderr == "heavy imports: []\n"


MISTAKES = [
    (["train.py", "model.lrr=1"], ["model.lrr", "model.lr?"]),
    (["train.py", "learning_rate=1"], ["learning_rate", "model.lr?"]),
    (["train.py", "batch_size=4"], ["batch_size", "data.batch_size?"]),
    (["train.py", "trainer.epochs=1"], ["trainer.epochs", "trainer.max_epochs?"]),
    (["train.py", "model.lr=fast"], ["model.lr", "fast"]),
    (["train.py", "model.lr=-1"], ["model.lr=-1.0"]),
    (["train.py", "model.schedule=linaer"], ["model.schedule", "linear"]),
    (["train.py", "callbacks.early_stopping.patience=x"], ["callbacks.early_stopping.patience"]),
    (["train.py", "backbone=xlsr"], ["backbone=xlsr", "xlsr53"]),
    (["train.py", "data.paths.tess=/nowhere"], ["data.paths.tess=/nowhere"]),
    (["train.py", "ckpt=runs/none.ckpt"], ["ckpt=runs/none.ckpt", "run folder"]),
    (["train.py", "ckpt=epoch=0-step=1.ckpt"], ["ckpt=epoch=0-step=1.ckpt"]),
    (["train.py", "ckpt=OWNER/NAME"], ["ckpt=OWNER/NAME", "run folder"]),
    (["train.py", "ckpt=src"], ["ckpt=src", "last.ckpt"]),
    (["train.py", "seed"], ["seed", "key=value"]),
    (["train.py", "data.labels=[a,b"], ["data.labels"]),
    (["train.py", "--config-dir", "/nowhere"], ["/nowhere"]),
    (["train.py", "-m", "--cfg", "job"], ["-m", "--cfg"]),
    (["train.py", "-m", "data=synthetic", "model.lr=1e-3,1e9"], ["model.lr=1000000000.0"]),
    (["evaluate.py"], ["ckpt=..."]),
    (["evaluate.py", "ckpt=runs/none/x.ckpt"], ["ckpt=runs/none/x.ckpt"]),
    (["evaluate.py", "ckpt=README.md", "part=tets"], ["part", "tets", "test"]),
]  # fmt: skip
MISTAKES_IN_FILES = [
    ("modle: {lr: 1}", ["modle", "model?"]),
    ("model: {lrr: 1}", ["model.lrr", "model.lr?"]),
    ("model: {lr: fast}", ["model.lr", "fast"]),
    ("trainer: {max_epoch: 3}", ["trainer.max_epoch", "trainer.max_epochs?"]),
    ("callbacks: {early_stopping: {patienc: 3}}", ["callbacks.early_stopping.patienc"]),
    ("split: {val: 2}", ["split.val=2.0"]),
    ("model: [", ["mine_", ".yaml"]),
]
# Runs commands one after the other in one process, and tells how each ended.
MANY = """
import contextlib, io, json, runpy, sys
ends = []
for script, *arguments in json.load(sys.stdin):
    sys.argv, output, errors = [script, *arguments], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = runpy.run_path(script, run_name="__main__") and 0
        except SystemExit as end:
            code = end.code
    heavy = {"torch", "lightning", "transformers", "pandas", "sklearn", "librosa"} & set(sys.modules)
    ends.append([code, output.getvalue(), errors.getvalue(), sorted(heavy)])
json.dump(ends, sys.stdout)
"""


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, list[str]]]:
    """How the commands with mistakes ended: exit code, output, errors, and heavy imports."""
    folder = tmp_path_factory.mktemp("configs") / "größe (1)" / "experiment"
    folder.mkdir(parents=True)
    commands = {str(arguments): arguments for arguments, _ in MISTAKES}
    for number, (content, _) in enumerate(MISTAKES_IN_FILES):
        text = f"# @package _global_\n{content}\n"
        (folder / f"mine_{number}.yaml").write_text(text, encoding="utf-8")
        option = f"experiment=mine_{number}"
        commands[content] = ["train.py", option, "--config-dir", str(folder.parent)]
    typed = json.dumps([*commands.values()])
    done = subprocess.run(
        [sys.executable, "-c", MANY], cwd=ROOT, input=typed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(
    ("mistake", "named"),
    [*((str(arguments), named) for arguments, named in MISTAKES), *MISTAKES_IN_FILES],
)
def test_a_mistake_is_one_line_at_once_that_names_the_key(ends, mistake, named):
    code, output, errors, heavy = ends[mistake]
    assert code == 2
    [message] = errors.splitlines()
    assert message.startswith("error: ")
    assert [word for word in named if word not in message] == []
    assert heavy == []
    assert "Traceback" not in output


def test_messages_have_one_form():
    """The one golden message of this family."""
    done = run("train.py", "model.lrr=1")
    assert done.stderr == (
        "error: model.lrr is not a setting; did you mean model.lr? (--help lists all settings)\n"
    )


def test_an_empty_working_folder_is_kept(tmp_path):
    command = [sys.executable, "-m", "ser.commands.main", "evaluate", "ckpt=missing"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 2
    assert tmp_path.exists()


def test_a_job_does_not_change_the_working_folder(tmp_path):
    done = run("train.py", "hydra.job.chdir=true", f"output_dir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert "hydra.job.chdir=true" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["prepare", "tune"])
def test_own_configs_are_found_by_commands_that_are_no_hydra_jobs(tmp_path, name):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("corpora: [nothing]\n", encoding="utf-8")
    command = ["-m", "ser.commands.main", name, "data=mine", "--config-dir", str(tmp_path)]
    done = run(*command)
    assert done.returncode == 2
    assert "data.corpora=nothing" in done.stderr


@pytest.mark.parametrize(
    "variables", [{"RANK": "1"}, {"LOCAL_RANK": "2"}, {"SLURM_NTASKS": "4"}, {"SLURM_PROCID": "3"}]
)
@pytest.mark.slow
def test_variables_left_over_from_a_launcher_are_one_message(tmp_path, corpora, variables):
    data = ["experiment=quickstart", f"data.synthetic={corpora}"]
    done = run("train.py", *data, f"output_dir={tmp_path / 'run'}", **variables)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: {next(iter(variables))}=")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_network_and_copy_training_says_what_to_do(tmp_path):
    done = run(
        "train.py",
        "backbone=tiny",
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


@pytest.mark.slow
def test_a_run_folder_alone_resumes_its_run(tmp_path, corpora, cache_dir):
    folder, last = tmp_path / "run", tmp_path / "run" / "checkpoints" / "last.ckpt"
    started = [
        "experiment=quickstart",
        "callbacks=quiet",
        f"data.synthetic={corpora}",
        f"data.cache_dir={cache_dir}",
    ]
    done = run("train.py", *started, f"output_dir={folder}", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    assert last.is_file()
    done = run("train.py", f"ckpt={folder}", "trainer.max_epochs=2")
    assert done.returncode == 0, done.stderr
    assert torch.load(last, weights_only=True)["global_step"] == 60  # 30 steps an epoch
    assert "epoch 2: " in done.stdout
    assert "epoch 1: " not in done.stdout
    recorded = (folder / ".hydra" / "overrides.yaml").read_text()
    assert all(f"- {option}\n" in recorded for option in [*started, "trainer.max_epochs=2"])
    assert "max_epochs: 2" in (folder / ".hydra" / "config.yaml").read_text()
    written = last.stat().st_mtime_ns
    done = run("train.py", f"output_dir={folder}", *started)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: output_dir={folder} ")
    assert f"ckpt={last}" in done.stderr
    assert last.stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_stopped_run_names_the_command_that_resumes_it(tmp_path, corpora, cache_dir, name, code):
    folder = tmp_path / "it's (größe)"
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
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    words = shlex.split(output.partition("To resume: ")[2])
    assert words[:2] == ["ser", "train"]
    assert find_last_checkpoint(words[2].removeprefix("ckpt=")) == last


@pytest.mark.slow
def test_the_quickstart_generalises_to_unseen_synthetic_speakers(tmp_path):
    """The two commands of `make quickstart`, in another folder."""
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


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_stopped_command_says_so_in_one_line(tmp_path, corpora, name, code):
    """Of all commands, which share this: the one that has much to do."""
    options = [f"data.synthetic={corpora}", f"data.cache_dir={tmp_path / 'cache'}"]
    command = [sys.executable, "-m", "ser.commands.main", "prepare", *options]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "card")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "cache").glob("*/lock")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert "cache stays" in errors.splitlines()[-1]
    assert not (tmp_path / "card").exists()
    assert not list(tmp_path.rglob("*.tmp"))
