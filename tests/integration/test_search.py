"""`ser tune`: a search over runs, by Optuna, that can be stopped and gone on with."""

from typing import Any

import pytest

from ser import cli
from ser.compose import CONF
from ser.search_space import Dimension, read_space

optuna = pytest.importorskip("optuna")


def test_ranges_are_read_in_the_words_of_hydras_sweeps():
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


def test_without_a_range_the_default_ones_are_searched_but_for_what_is_typed():
    _, space = read_space(["model.weight_decay=0.1"], CONF / "tune.yaml")
    keys = [dimension.key for dimension in space]
    assert keys == ["model.lr", "model.warmup_ratio", "model.label_smoothing"]


def test_a_range_that_falls_is_refused():
    with pytest.raises(ValueError, match=r"model\.lr=interval\(0\.1, 0\.01\): must rise"):
        read_space(["model.lr=interval(0.1, 0.01)"], CONF / "tune.yaml")


@pytest.fixture
def tune(corpora, cache_dir, tmp_path):
    few = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=2", "trainer.max_epochs=1"]
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]

    def tune(trials: int, *overrides: str) -> Any:
        typed = ["experiment=quickstart", *data, *few, *overrides]
        cli.tune(typed, trials=trials, folder=tmp_path / "study")
        storage = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
        return optuna.load_study(study_name="ser", storage=storage)

    return tune


def test_a_search_keeps_its_runs_goes_on_and_names_the_best_command(tune, tmp_path, capsys):
    space = ["model.lr=tag(log, interval(1e-4, 1e-2))", "model.schedule=linear,cosine"]
    first = tune(2, *space)
    assert [trial.state.name for trial in first.trials] == ["COMPLETE"] * 2
    study = tune(3, *space)
    assert len(study.trials) == 3
    assert len({trial.params["model.lr"] for trial in study.trials}) == 3
    for number in "012":
        assert (tmp_path / "study" / number / "checkpoints" / "best.ckpt").is_file()
    output = capsys.readouterr().out
    best = " ".join(study.best_trial.user_attrs["settings"])
    assert output.strip().endswith(best)
    assert "python train.py experiment=quickstart" in output
    with pytest.raises(ValueError, match="holds a study of other settings"):
        tune(4, "model.lr=interval(1e-4, 1e-2)")


def test_trials_that_diverge_count_as_failed_and_the_search_goes_on(tune):
    wild = ["model.weight_decay=999", "model.warmup_ratio=0", "trainer.limit_train_batches=12"]
    study = tune(2, "model.lr=998.0,999.0", *wild)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL"]


def test_a_hopeless_trial_is_pruned(tune, monkeypatch):
    from ser import search

    pruner = optuna.pruners.ThresholdPruner(lower=1.1)
    monkeypatch.setattr(search.optuna.pruners, "MedianPruner", lambda **_: pruner)
    study = tune(1, "model.lr=interval(1e-4, 1e-2)")
    assert [trial.state.name for trial in study.trials] == ["PRUNED"]
    assert list(study.trials[0].intermediate_values) == [0]
