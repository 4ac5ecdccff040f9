"""Published protocols: every job of their sweeps composes, and covers the published folds."""

import re
from pathlib import Path

import pytest
import yaml

from ser.corpora import CORPORA

EXPERIMENTS = Path(__file__).parents[3] / "conf" / "experiment"
SWEEPS = {
    file.stem: yaml.safe_load(file.read_text()).get("hydra", {}).get("sweeper", {}).get("params")
    for file in sorted(EXPERIMENTS.glob("*.yaml"))
}
PUBLISHED = {
    "emobox_ravdess": ("ravdess", "emobox"),
    "emobox_savee": ("savee", "emobox"),
    "luna_jimenez_ravdess": ("ravdess", "luna_jimenez"),
    "emo_superb_cremad": ("cremad", "emo_superb"),
    "tfds_cremad": ("cremad", "tfds"),
}


def jobs(name: str) -> list[str]:
    """The overrides of each job of a sweep over one setting."""
    [(key, values)] = (SWEEPS[name] or {"seed": "0"}).items()
    return [f"{key}={value}" for value in re.findall(r"\[.*?\]|[^,\[\]]+", values)]


@pytest.mark.parametrize("name", SWEEPS)
def test_every_job_of_an_experiment_composes(compose_config, name):
    for job in jobs(name):
        compose_config(f"experiment={name}", "output_dir=x", job)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_folds_are_covered(compose_config, name):
    corpus, scheme = PUBLISHED[name]
    configs = [compose_config(f"experiment={name}", "output_dir=x", job) for job in jobs(name)]
    folds = [config.split.fold for config in configs]
    assert folds == list(range(1, len(CORPORA[corpus].folds[scheme]) + 1))
    for config in configs:
        assert config.data.corpora == [corpus]
        assert config.split.scheme == scheme
        assert config.evaluate


def test_the_matrix_trains_on_each_corpus_once(compose_config):
    trained = []
    for job in jobs("cross_corpus_matrix"):
        config = compose_config("experiment=cross_corpus_matrix", "output_dir=x", job)
        trained += sorted(set(config.data.corpora) - set(config.split.held_out))
    assert sorted(trained) == ["cremad", "ravdess", "savee", "tess"]
