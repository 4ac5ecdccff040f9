"""Every command of README.md and CONTRIBUTING.md does what it says."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    lines = []
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        for block in re.findall(r"```bash\n(.*?)```", file.read_text(), re.DOTALL):
            lines += [line.partition("#")[0].strip() for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def chosen(*start: str) -> list[str]:
    return [line for line in commands() if line.startswith(start)]


def fill_in(command: str, folder: Path, checkpoint: Path) -> list[str]:
    """The arguments of a command, with a real folder and checkpoint for the placeholders."""
    command = command.replace("FOLDER", str(folder)).replace("my.csv", str(write_table(folder)))
    return shlex.split(re.sub(r"runs/\.\.\./checkpoints/\w+\.ckpt", str(checkpoint), command))[2:]


def write_table(folder: Path) -> Path:
    """A table as docs/data.md describes it: tones under all names that it mentions."""
    emotions = ("neutral", "happy", "sad", "anger", "boredom")
    rows = ["path,emotion,speaker,split"]
    for number, emotion in enumerate(emotions * 12):
        part = ("train", "val", "test")[number // 5 % 3]
        rows.append(f"{number}.wav,{emotion},s{number % 7},{part}")
        tone = 0.5 * np.sin(np.arange(16_000) * (0.02 + 0.004 * number))
        soundfile.write(folder / f"{number}.wav", tone, 16_000)
    (folder / "my.csv").write_text("\n".join(rows))
    return folder / "my.csv"


@pytest.fixture(scope="module")
def checkpoint(
    quick_config: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path | None:
    from ser.training import train

    folder = tmp_path_factory.mktemp("readme")
    return train(quick_config(folder, "trainer.max_steps=2")).checkpoint


def test_no_command_is_left_out():
    known = ("make ", "python train.py", "python evaluate.py", "tensorboard ", "ser ")
    assert [line for line in commands() if not line.startswith(known)] == []


@pytest.mark.parametrize("command", chosen("make "))
def test_make_knows_the_target(command):
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in chosen("python train.py") if " -" not in c])
def test_training_commands_compose_and_obey_the_rules(
    command, compose_config, checkpoint, tmp_path
):
    compose_config(*fill_in(command, tmp_path, checkpoint), f"output_dir={tmp_path}")


def test_the_configuration_is_shown(tmp_path):
    [command] = chosen("python train.py --")
    done = subprocess.run([sys.executable, *command.split()[1:]], cwd=ROOT, capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("command", "jobs"),
    [
        pytest.param(
            command,
            2 ** command.count(","),
            marks=[pytest.mark.slow] if "joblib" in command else [],
        )
        for command in chosen("python train.py -m")
    ],
)
def test_a_sweep_runs(command, jobs, corpora, cache_dir, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            *command.split()[1:],
            "experiment=quickstart",
            "callbacks=quiet",
            f"output_dir={tmp_path}",
            f"data.synthetic={corpora}",
            "trainer.max_steps=1",
        ],
        cwd=ROOT,
        env=os.environ | {"SER_CACHE": str(cache_dir)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    names = {path.parent.parent.name for path in tmp_path.rglob("best.ckpt")}
    assert names == {str(number) for number in range(jobs)}
    assert all((tmp_path / name / ".hydra" / "config.yaml").is_file() for name in names)
    assert all((tmp_path / name / "dropped.csv").is_file() for name in names)


@pytest.mark.parametrize("command", chosen("ser tune"))
def test_searches_are_understood(command, compose_config, tmp_path):
    """What a trial of them trains; tests/integration/test_search.py lets some run."""
    from ser.search_space import read_space

    words = shlex.split(command)[2:]
    overrides = words[: words.index("--trials")] if "--trials" in words else words
    plain, space = read_space(overrides, ROOT / "conf" / "tune.yaml")
    assert space
    samples = [dimension.sample for dimension in space]
    assert compose_config(*plain, *samples, f"output_dir={tmp_path}")


@pytest.mark.parametrize("command", [c for c in chosen("python train.py") if c.endswith(" -m")])
def test_protocols_compose_and_obey_the_rules(command, compose_config, tmp_path):
    options = command.split()[2:-1]
    held_out = ["split.held_out=[savee]"] if "corpus" in command else []
    config = compose_config(*options, *held_out, f"output_dir={tmp_path}")
    assert config.evaluate


def test_runs_are_compared(checkpoint, tmp_path, capsys):
    from ser.cli import compare
    from ser.config import EvaluateConfig
    from ser.evaluation import evaluate

    [command] = chosen("ser compare")
    evaluate(EvaluateConfig(ckpt=str(checkpoint), output_dir=str(tmp_path / "other" / "report")))
    evaluate(EvaluateConfig(ckpt=str(checkpoint)))
    assert command.split()[-2:] == ["--output", "comparison"]
    compare([checkpoint.parents[1], tmp_path / "other"], tmp_path / "comparison")
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    assert "minus the first" in capsys.readouterr().out


@pytest.mark.parametrize("command", chosen("ser prepare"))
def test_data_are_prepared_as_documented(command, corpora, cache_dir, tmp_path, compose_config):
    from ser.cli import app

    arguments = fill_in(f"- {command}", tmp_path, tmp_path)[1:]
    settings = [word for word in arguments if "=" in word]
    if "data=all" in settings:  # the real ones are not here
        assert compose_config(*settings, f"output_dir={tmp_path}").data.table
        return
    sources = [f"data.cache_dir={cache_dir}"]
    if "data=table" not in settings:
        sources.append(f"data.synthetic={corpora}")
    elif "split=table" not in settings:
        sources.append("data.label_map={anger: angry, boredom: null}")
    card = tmp_path / "card"
    done = CliRunner().invoke(app, ["prepare", *settings, *sources, "--output", str(card)])
    assert done.exit_code == 0, (done.output, done.exception)
    assert (card / "data_card.html").is_file()


@pytest.mark.parametrize("command", chosen("python evaluate.py"))
def test_evaluation_commands_run(command, compose_config, checkpoint, tmp_path):
    from ser.config import EvaluateConfig
    from ser.evaluation import evaluate

    arguments = fill_in(command, tmp_path, checkpoint)
    config = compose_config(*arguments, name="evaluate", kind=EvaluateConfig)
    config.robustness = False  # minutes of it; tests/integration/test_report.py measures some
    scores = evaluate(config)
    assert scores.utterances > 20
    assert (checkpoint.parents[1] / "report" / "metrics.json").is_file()


def test_tensorboard_is_installed():
    [command] = chosen("tensorboard ")
    program = Path(sys.executable).with_name(command.split()[0])
    assert subprocess.run([program, "--version"], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if "onnx" in command else [])
        for command in chosen("ser predict", "ser export")
        if "--engine ray" not in command
    ],
)
def test_what_was_trained_is_used_as_documented(
    command, checkpoint, tmp_path, write_tone, monkeypatch
):
    from ser.cli import app

    write_tone(tmp_path / "speech" / "a.wav", seconds=4)
    monkeypatch.chdir(tmp_path)
    arguments = fill_in(f"- {command}", Path("speech"), checkpoint)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    written = [Path(value) for name, value in pairwise(arguments) if name == "--output"]
    assert all(path.exists() for path in written)


@pytest.mark.parametrize(
    "command", [*chosen("ser serve", "ser demo"), *chosen("ser predict table")]
)
def test_servers_and_clusters_are_asked_for_in_words_that_are_understood(command):
    """tests/integration has them run: test_service.py, test_demo.py, test_cluster.py."""
    from typer.main import get_command

    from ser.cli import app

    program: Any = get_command(app)
    name, *arguments = shlex.split(command)[1:]
    assert program.commands[name].make_context(name, arguments).params["ckpt"]
