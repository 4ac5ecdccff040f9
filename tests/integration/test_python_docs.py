"""The Python code of docs/ runs, and does what the text says."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ser.config import model as settings
from ser.errors import UserError
from ser.models.families.registry import FAMILIES
from ser.models.pooling import POOLINGS, MeanPooling, register

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The definitions of docs/extending.md as an installed module."""
    definitions = [block for block in blocks("extending.md") if "import my_package" not in block]
    (tmp_path / "my_package.py").write_text("\n".join(definitions))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_package")
    sys.modules.pop("my_package")
    FAMILIES.pop("my-wav2vec2")
    POOLINGS.pop("max", None)
    settings.POOLINGS.discard("max")


def test_python_api_runs_as_documented(tmp_path, monkeypatch, corpora, cache_dir):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "synthetic").symlink_to(corpora)
    (tmp_path / "data" / "cache").symlink_to(cache_dir)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks("python.md"):
        exec(block, names)
    network, batch, output = (names[name] for name in ("network", "batch", "output"))
    assert len(output.hidden_states) == network.depth + 1
    assert output.logits.shape == (len(batch["labels"]), 8)
    assert (tmp_path / "runs" / "python" / "report" / "report.html").is_file()
    assert names["metrics"]["overall"]["uar"] == pytest.approx(
        names["evaluation"].overall.scores.uar
    )


def test_extensions_are_used_in_training_and_in_the_checkpoint(
    package, quick_config, tmp_path, write_tone, capsys
):
    from ser import Predictor, train
    from ser.models.checkpoint import Checkpoint

    config = quick_config(
        tmp_path / "run",
        *("trainer.max_steps=2", "model.pooling=max", "trainer.log_every_n_steps=1"),
        "+model.backbone.architecture.model_type=my-wav2vec2",
        "+callbacks.best={_target_: my_package.BestEmotion}",
        "+logger.mine={_target_: my_package.PrintLogger}",
    )
    callback = package.BestEmotion()
    result = train(config, [callback], loss=package.GeneralizedCrossEntropy())
    assert callback.history[0] in config.data.label_space
    printed = capsys.readouterr().out
    losses = [float(loss) for loss in re.findall(r"'train/loss': ([\d.]+)", printed)]
    assert losses
    assert max(losses) < 1 / 0.7  # the bound of this loss; ln 8 = 2.1 is above it
    assert result.checkpoint is not None
    network: Any = Checkpoint.open(result.checkpoint).load_network()
    assert isinstance(network.pooling, package.MaxPooling)
    assert isinstance(network.family, package.MyFamily)
    tone = write_tone(tmp_path / "tone.wav")
    [prediction] = Predictor.from_checkpoint(tmp_path / "run")([str(tone)])
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    POOLINGS.pop("max")
    settings.POOLINGS.discard("max")
    with pytest.raises(UserError, match=r"model\.pooling"):
        Checkpoint.open(result.checkpoint)


def test_commands_start_from_a_script_of_the_user(package):
    [script] = [block for block in blocks("extending.md") if "import my_package" in block]
    names = {"__name__": "my_ser"}
    exec(script, names)
    assert callable(names["main"])


def test_a_fitted_head_takes_no_loss(package, quick_config, tmp_path):
    from ser import train

    config = quick_config(tmp_path, "model=linear")
    with pytest.raises(UserError, match=r"model\.fit"):
        train(config, loss=package.GeneralizedCrossEntropy())


def test_a_name_is_registered_once():
    register("mean", MeanPooling)
    with pytest.raises(UserError):
        register("mean", lambda size: MeanPooling(size))


def test_max_pooling_ignores_padding(package):
    import torch

    frames = torch.tensor([[[1.0, -5.0], [3.0, -7.0], [9.0, 9.0]]])
    pooled = package.MaxPooling(2)(frames, torch.tensor([[1, 1, 0]]))
    assert pooled.tolist() == [[3.0, -5.0]]
