"""Every command of README.md, CONTRIBUTING.md and docs/ does what it says."""

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
GOLDEN = ROOT / "tests" / "golden" / "v0.1" / "full" / "checkpoints" / "best.ckpt"
SER = [sys.executable, "-m", "ser.commands.main"]
ADAPTS = re.compile(r"--adapt|--speaker|ser enroll")
SERVERS = ("ser serve", "ser demo")


def commands() -> list[str]:
    lines = []
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))):
        for block in re.findall(r"```bash\n(.*?)```", file.read_text(), re.DOTALL):
            block = re.sub(r"python (train|evaluate)\.py", r"ser \1", block)  # the same commands
            block = re.sub(r"\s*\\\n\s*", " ", block)  # lines that are continued
            lines += [line.partition("#")[0].strip() for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


def chosen(*start: str) -> list[str]:
    return [line for line in commands() if line.startswith(start)]


def fill_in(command: str, folder: Path, checkpoint: Path) -> list[str]:
    """The arguments of a command, with a real folder and checkpoint for the placeholders."""
    command = re.sub(r"FOLDER|data/synthetic(/\w+)?", str(folder), command)
    command = command.replace("my.csv", str(write_table(folder)))
    (folder / "votes.csv").write_text("FileName,VoiceVote\n")
    command = command.replace("summaryTable.csv", str(folder / "votes.csv"))
    run = r"runs/(quickstart|head|first|RUN(/checkpoints/\w+\.ckpt)?)\b"
    return shlex.split(re.sub(run, str(checkpoint), command))[2:]


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
    from ser.training.train import train

    folder = tmp_path_factory.mktemp("readme")
    return train(quick_config(folder, "trainer.max_steps=2")).checkpoint


def test_no_command_is_left_out():
    known = ("make ", "tensorboard ", "ser ", "python benchmarks/")
    assert [line for line in commands() if not line.startswith(known)] == []


@pytest.mark.parametrize("command", chosen("python benchmarks/"))
def test_benchmarks_exist(command):
    assert (ROOT / command.split()[1]).is_file()


@pytest.mark.parametrize("command", chosen("make "))
def test_make_has_the_target(command):
    done = subprocess.run([*command.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SWEEPS = chosen("ser train -m")


@pytest.mark.parametrize("command", [c for c in chosen("ser train") if " -" not in c] + SWEEPS)
def test_training_commands_compose(command, compose_config, tmp_path):
    """Only the first job of a sweep is composed."""
    first = re.sub(r"(=[\w.-]+)(,[\w.-]+)+( |$)", r"\1\3", command.replace(" -m", ""))
    compose_config(*fill_in(first, tmp_path, GOLDEN), f"output_dir={tmp_path}")


def test_the_configuration_is_shown(tmp_path):
    [command] = chosen("ser train --")
    done = subprocess.run([*SER, *command.split()[1:]], cwd=ROOT, capture_output=True)
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "jobs"),
    [
        pytest.param(
            command,
            2 ** command.count(","),
            marks=[pytest.mark.slow] if "joblib" in command or "pooling" in command else [],
        )
        for command in SWEEPS
        if "experiment=" not in command  # those take hours
    ],
)
def test_a_sweep_runs(command, jobs, corpora, cache_dir, tmp_path):
    done = subprocess.run(
        [
            *SER,
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


@pytest.mark.parametrize("command", chosen("ser probe"))
def test_probe_commands_compose(command, compose_config, tmp_path):
    from ser.commands.probe import check

    overrides = [word for word in command.split()[2:] if "=" in word]
    check(overrides)
    compose_config("model=linear", *overrides, f"output_dir={tmp_path}")


@pytest.mark.parametrize("command", chosen("ser tune"))
def test_searches_compose(command, compose_config, tmp_path):
    """What a trial of them trains; tests/integration/test_search.py lets some run."""
    from ser.training.search_space import read_space

    words = shlex.split(command)[2:]
    overrides = words[: words.index("--trials")] if "--trials" in words else words
    plain, space = read_space(overrides, ROOT / "conf" / "tune.yaml")
    assert space
    samples = [dimension.sample for dimension in space]
    assert compose_config(*plain, *samples, f"output_dir={tmp_path}")


@pytest.mark.parametrize("command", [c for c in chosen("ser train") if c.endswith(" -m")])
def test_protocols_compose(command, compose_config, tmp_path):
    options = command.split()[2:-1]
    held_out = ["split.held_out=[savee]"] if "corpus" in command else []
    config = compose_config(*options, *held_out, f"output_dir={tmp_path}")
    assert config.evaluate


@pytest.mark.slow
def test_runs_are_compared(checkpoint, tmp_path, capsys):
    from ser.commands.compare import compare
    from ser.commands.evaluate import run as evaluate
    from ser.config.evaluate import EvaluateConfig

    commands = {command for command in chosen("ser compare") if "--output" in command}
    [command] = commands
    evaluate(EvaluateConfig(ckpt=str(checkpoint), output_dir=str(tmp_path / "other" / "report")))
    evaluate(EvaluateConfig(ckpt=str(checkpoint)))
    assert command.split()[-2:] == ["--output", "comparison"]
    compare([checkpoint.parents[1], tmp_path / "other"], tmp_path / "comparison")
    assert (tmp_path / "comparison" / "comparison.html").is_file()
    shown = capsys.readouterr().out
    assert checkpoint.parents[1].name in shown
    assert "other" in shown


@pytest.mark.slow
@pytest.mark.parametrize("command", chosen("ser prepare"))
def test_data_are_prepared_as_documented(command, corpora, cache_dir, tmp_path, compose_config):
    from ser.commands.main import app

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


@pytest.mark.slow
@pytest.mark.parametrize("command", chosen("ser evaluate"))
def test_evaluation_commands_run(command, compose_config, checkpoint, tmp_path):
    from ser.commands.evaluate import run as evaluate
    from ser.config.evaluate import EvaluateConfig

    arguments = fill_in(command, tmp_path, checkpoint)
    config = compose_config(*arguments, name="evaluate", kind=EvaluateConfig)
    # Takes minutes; tests/integration/test_reported_runs.py measures some of it.
    config.robustness = False
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
        if "--engine ray" not in command and not ADAPTS.search(command)
    ],
)
def test_a_trained_model_is_used_as_documented(
    command, checkpoint, tmp_path, write_tone, monkeypatch
):
    from ser.commands.main import app

    write_tone(tmp_path / "speech" / "a.wav", seconds=4)
    monkeypatch.chdir(tmp_path)
    arguments = fill_in(f"- {command}", Path("speech"), checkpoint)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    written = [Path(value) for name, value in pairwise(arguments) if name == "--output"]
    assert all(path.exists() for path in written)


@pytest.fixture(scope="module")
def adaptable(quick_config: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ser.training.train import train

    folder = tmp_path_factory.mktemp("adaptable")
    train(quick_config(folder, "model=linear", "model.fit=lda"))
    return folder


@pytest.mark.slow
def test_a_model_is_adapted_as_documented(adaptable, tmp_path, write_tone, monkeypatch):
    """The commands in their order: a speaker is enrolled before it is used and forgotten."""
    from ser.commands.main import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_SPEAKERS", str(tmp_path / "speakers"))
    for number in range(3):
        write_tone(tmp_path / f"anna/{number}.wav", pitch=200 + 40 * number, seconds=2)
        write_tone(tmp_path / f"speech/Actor_0{number}/a.wav", pitch=300 + 40 * number, seconds=2)
    write_tone(tmp_path / "new.wav", seconds=2)
    (tmp_path / "table.csv").write_text("path,speaker\nnew.wav,anna\nanna/0.wav,anna\n")
    documented = [c for c in commands() if ADAPTS.search(c) and not c.startswith(SERVERS)]
    assert len(documented) >= 6
    for command in documented:
        words = shlex.split(command.replace("FOLDER", "speech").replace("RUN", str(adaptable)))
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, (command, done.output, done.exception)


@pytest.mark.parametrize(
    "command", [*chosen("ser serve", "ser demo"), *chosen("ser predict table")]
)
def test_options_of_servers_and_clusters_are_accepted(command):
    """tests/integration has them run: test_service.py, test_demo.py, test_cluster.py."""
    from typer.main import get_command

    from ser.commands.main import app

    program: Any = get_command(app)
    name, *arguments = shlex.split(command)[1:]
    assert program.commands[name].make_context(name, arguments).params["ckpt"]
