"""`ser tune`: a search over runs by Optuna that can be stopped and resumed."""

import errno
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from ser.commands.tune import tune as run_tune
from ser.config.compose import compose_command
from ser.config.overrides import CONF
from ser.config.train import TrainConfig
from ser.errors import UserError
from ser.training.search_space import Dimension, read_space

optuna = pytest.importorskip("optuna")
SPACE = "model.lr=tag(log, interval(1e-4, 1e-2))"


def test_ranges_are_read_as_in_hydras_sweeps():
    plain, space = read_space(
        [
            "data=ravdess",
            "model.lr=tag(log, interval(1e-6, 1e-4))",
            "data.batch_size=8,16",
            "trainer.max_epochs=int(interval(2, 9))",
            "seed=range(0, 3)",
        ],
        CONF / "tune.yaml",
    )
    assert plain == ["data=ravdess"]
    assert space == [
        Dimension("model.lr", low=1e-6, high=1e-4, log=True),
        Dimension("data.batch_size", choices=("data.batch_size=8", "data.batch_size=16")),
        Dimension("trainer.max_epochs", low=2, high=9),
        Dimension("seed", choices=("seed=0", "seed=1", "seed=2")),
    ]
    assert [dimension.whole for dimension in space] == [False, False, True, False]


def test_without_a_range_the_default_ones_are_searched_except_for_typed_keys():
    _, space = read_space(["model.weight_decay=0.1"], CONF / "tune.yaml")
    keys = [dimension.key for dimension in space]
    assert keys == ["model.lr", "model.warmup_ratio", "model.label_smoothing"]


@pytest.mark.parametrize(
    ("settings", "low", "high"), [(["model=head"], 1e-4, 1e-2), (["model.lr=2.0"], 0.2, 20.0)]
)
def test_the_default_range_of_the_learning_rate_is_around_that_of_the_config(settings, low, high):
    config = compose_command("train", [*settings, "output_dir=x"], TrainConfig)
    _, space = read_space([], CONF / "tune.yaml")
    found = space[0].resolve(config)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.log


@pytest.mark.parametrize(
    ("key", "setting"), [("classifier_lr", "null"), ("label_smoothing", "0"), ("mode", "full")]
)
def test_a_relative_range_needs_a_positive_number(key, setting):
    config = compose_command("train", [f"model.{key}={setting}", "output_dir=x"], TrainConfig)
    _, [dimension] = read_space([f"model.{key}=tag(relative, interval(1, 2))"], Path("-"))
    with pytest.raises(UserError, match=rf"model\.{key}"):
        dimension.resolve(config)


def test_a_fitted_head_has_no_default_ranges(folder):
    with pytest.raises(UserError, match=r"model\.fit"):
        run_tune(["experiment=laptop", "data=ravdess"], output=folder)


@pytest.mark.parametrize("words", ["interval(0.1, 0.01)", "tag(log, interval(0, 1))"])
def test_a_malformed_range_is_refused(words):
    with pytest.raises(UserError, match=r"model\.lr"):
        read_space([f"model.lr={words}"], CONF / "tune.yaml")


def test_paths_stay_as_typed():
    plain, _ = read_space(["data.table=größe (1)/it's.csv", SPACE], CONF / "tune.yaml")
    assert plain == ["data.table=größe (1)/it's.csv"]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "größe, it's (1) #?"


@pytest.fixture
def typed(corpora, cache_dir) -> list[str]:
    few = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=2", "trainer.max_epochs=1"]
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    return ["experiment=quickstart", *data, *few]


@pytest.fixture
def tune(typed, folder):
    def tune(trials: int, *overrides: str) -> Any:
        run_tune([*typed, *overrides], trials=trials, output=folder)
        return load(folder)

    return tune


def load(folder: Path) -> Any:
    options = {"creator": lambda: sqlite3.connect(folder / "study.db", check_same_thread=False)}
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=options)
    return optuna.load_study(study_name="ser", storage=storage)


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in study.trials]


def counted(study: Any) -> int:
    """Trials that count, by the definition in the documentation."""
    left_out = study.user_attrs.get("interrupted", [])
    return sum(trial.state.is_finished() and trial.number not in left_out for trial in study.trials)


@pytest.mark.slow
def test_a_search_keeps_its_runs_resumes_and_prints_the_best_command(tune, folder, capsys):
    space = [SPACE, "model.schedule=linear,cosine"]
    assert states(tune(2, *space)) == ["COMPLETE"] * 2
    study = tune(3, *space)
    assert len(study.trials) == 3
    assert len({trial.params["model.lr"] for trial in study.trials}) == 3
    for number in "012":
        assert (folder / number / "checkpoints" / "best.ckpt").is_file()
    printed = capsys.readouterr().out
    assert "val UAR" in printed
    command = shlex.split(printed.splitlines()[-1])
    best = study.best_trial.user_attrs["settings"]
    assert command[:3] == ["ser", "train", "experiment=quickstart"]
    assert command[-len(best) :] == best
    with pytest.raises(SystemExit):
        tune(4, "model.lr=interval(1e-4, 1e-2)")
    assert "--output" in capsys.readouterr().err


@pytest.mark.slow
def test_trials_that_diverge_count_as_failed_and_the_search_continues(tune):
    wild = ["model.weight_decay=999", "model.warmup_ratio=0", "trainer.limit_train_batches=12"]
    study = tune(2, "model.lr=998.0,999.0", *wild)
    assert states(study) == ["FAIL", "FAIL"]
    assert counted(study) == 2


def test_a_hopeless_trial_is_pruned(tune, monkeypatch):
    from ser.training import tune as search

    pruner = optuna.pruners.ThresholdPruner(lower=1.1)
    monkeypatch.setattr(search.optuna.pruners, "MedianPruner", lambda **_: pruner)
    study = tune(1, "model.lr=interval(1e-4, 1e-2)")
    assert states(study) == ["PRUNED"]
    assert list(study.trials[0].intermediate_values) == [0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["INT", "TERM"]
)
def test_an_interrupted_trial_does_not_count(tune, folder, monkeypatch, capsys, stop, code):
    from ser.training import tune as search

    def interrupted(*_: Any) -> Any:
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(search, "train", interrupted)
        with pytest.raises(SystemExit) as caught:
            tune(1, SPACE)
    assert caught.value.code == code
    assert states(load(folder)) == ["FAIL"]
    assert counted(load(folder)) == 0
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    command = shlex.split(printed.partition("To resume: ")[2])
    assert command[:2] == ["ser", "tune"]
    assert command[command.index("--output") + 1] == str(folder)
    study = tune(1, SPACE)
    assert states(study) == ["FAIL", "COMPLETE"]
    assert counted(study) == 1
    stopped, again = study.trials
    assert again.params == stopped.params != {}


@pytest.mark.slow
def test_the_trial_of_a_process_killed_before_its_settings_were_chosen_is_replaced(tune, folder):
    tune(1, SPACE)
    load(folder).ask()  # as SIGKILL leaves it: running, and nobody holds its lock
    study = tune(2, SPACE)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]


def test_the_old_name_of_output_works_and_is_deprecated(typed, folder, capsys):
    run_tune([*typed, SPACE], trials=1, folder=folder)
    assert states(load(folder)) == ["COMPLETE"]
    assert "--output" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_search_ends_as_an_uninterrupted_one(tune, typed, folder):
    """The killed trial is repeated twice, because its repetition is killed too."""
    for number in (1, 2):
        process = start(typed, folder, 3)
        while not (folder / str(number) / "manifest.csv").exists():
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.kill()
        process.communicate()
    checkpoints = folder / "2" / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    (checkpoints / "best.ckpt.part").write_bytes(b"half")
    killed = tune(3, SPACE)
    assert states(killed) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert not list(folder.rglob("*.part"))
    shutil.rmtree(folder)
    whole = tune(3, SPACE)
    results = [
        [(trial.params, trial.value) for trial in study.trials if trial.state.name == "COMPLETE"]
        for study in (killed, whole)
    ]
    assert results[0] == results[1]


@pytest.mark.parametrize("broken", ["garbage", "locked"])
def test_a_database_that_cannot_be_used_is_one_message(tune, folder, monkeypatch, capsys, broken):
    from ser.training import tune as search

    folder.mkdir(parents=True)
    other = None
    if broken == "garbage":
        (folder / "study.db").write_bytes(b"not a database" * 1000)
    else:
        monkeypatch.setattr(search, "DATABASE_TIMEOUT", 0.1)
        other = sqlite3.connect(folder / "study.db")
        other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SystemExit) as caught:
        tune(1, SPACE)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "study.db" in printed
    assert printed.count("\n") == 1
    if other is not None:
        other.close()


def create_tables(file: Path, pages: int) -> None:
    """Create three tables, for each of which SQLite needs a page of the file."""
    from sqlalchemy import create_engine, text

    with create_engine(f"sqlite:///{file}").connect() as connection:
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        for name in "abc":
            connection.execute(text(f"CREATE TABLE {name} (value)"))


def test_a_full_disk_under_the_database_is_named_as_such(tmp_path):
    """Not as other programs that write to it. SQLite reports a file that cannot grow as full."""
    from ser.training import tune as search

    plan = search.Search([], [], tmp_path)
    with pytest.raises(OSError, match=r"study\.db") as caught, search.readable_database(plan):
        create_tables(tmp_path / "study.db", pages=2)
    assert caught.value.errno == errno.ENOSPC


def start(typed: list[str], folder: Path, trials: int, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ser.commands.main", "tune", *typed, SPACE, *more]
    return subprocess.Popen(
        [*command, "--trials", str(trials), "--output", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_do_not_exceed_the_number_of_trials(typed, folder):
    folder.mkdir(parents=True)
    processes = [start(typed, folder, 3) for _ in range(2)]
    errors = [process.communicate(timeout=500)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert states(load(folder)) == ["COMPLETE"] * 3


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_search_and_names_the_command(typed, folder, sent, code):
    long = ["trainer.max_epochs=500", "callbacks.early_stopping.patience=500"]
    process = start(typed, folder, 1, *long)
    while not (folder / "0" / "checkpoints" / "last.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "To resume: ser tune" in errors
    assert "Traceback" not in errors
    assert counted(load(folder)) == 0


def test_a_sanity_check_is_no_validation_of_a_trial():
    from ser.training.tune import Pruning  # needs optuna

    trial = MagicMock()
    trial.should_prune.return_value = False
    pruning = Pruning(trial, "val/uar")
    for sane, score in ((True, 0.1), (False, 0.5)):
        trainer: Any = SimpleNamespace(sanity_checking=sane, callback_metrics={"val/uar": score})
        pruning.on_validation_end(trainer, None)
    trial.report.assert_called_once_with(0.5, 0)
