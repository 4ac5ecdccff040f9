"""Shared fixtures: synthetic corpora, a decoded cache, composed configurations, tiny models."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parent.parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may wait for a network


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four synthetic corpora, written once per session."""
    from ser.corpora.synthetic import ensure_corpora

    return ensure_corpora(tmp_path_factory.mktemp("data") / "synthetic")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def leftover_of() -> Callable[[Path], Path]:
    """The name under which a process that is dead now was writing a file or folder."""
    from ser.system.atomic import HOST

    above_all = 2**22 + 1  # Linux gives no process a larger number
    return lambda path: path.with_name(f".{path.name}.{HOST}-{above_all}-abcdef.tmp")


@pytest.fixture(scope="session")
def compose_config() -> Callable[..., Any]:
    """The config that the command line would compose from overrides."""
    from hydra import compose, initialize_config_dir

    from ser.config import plain
    from ser.config.compose import register
    from ser.config.train import TrainConfig

    register()

    def compose_config(
        *overrides: str, name: str = "train", kind: type = TrainConfig, convert: bool = True
    ) -> Any:
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
            composed = compose(name, [*overrides])
        return plain.convert(composed, kind) if convert else composed

    return compose_config


@pytest.fixture(scope="session")
def quick_config(
    compose_config: Callable[..., Any], corpora: Path, cache_dir: Path
) -> Callable[..., Any]:
    """The quickstart on the session's synthetic corpora, reduced to seconds."""

    def quick_config(output_dir: Path, *overrides: str) -> Any:
        return compose_config(
            "experiment=quickstart",
            "callbacks=quiet",
            f"output_dir={output_dir}",
            f"data.synthetic={corpora}",
            f"data.cache_dir={cache_dir}",
            "trainer.max_epochs=1",
            *overrides,
        )

    return quick_config


@pytest.fixture(scope="session")
def trained(quick_config: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best checkpoint of a short run whose parts share speakers; it is wrong at times."""
    from ser.training.train import train

    folder = tmp_path_factory.mktemp("trained")
    checkpoint = train(quick_config(folder, "split=stratified", "trainer.max_epochs=2")).checkpoint
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="session")
def tiny_predictor() -> Any:
    """A Predictor with a tiny untrained network, three classes and clips of up to 2 s."""
    import torch

    from ser.config.backbone import BackboneConfig
    from ser.config.model import ModelConfig
    from ser.inference.load import TrainedModel
    from ser.inference.predictor import Predictor
    from ser.models.build import build_network

    architecture = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 15,
        "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "group",
    }  # fmt: skip
    backbone = BackboneConfig("tiny", pretrained=False, architecture=architecture)
    labels = ("sad", "happy", "calm")
    torch.manual_seed(0)
    network = build_network(ModelConfig(backbone=backbone), labels).eval()
    for parameter in network.parameters():  # larger weights, so that predictions differ
        parameter.data += 0.1 * torch.randn_like(parameter)
    return Predictor(TrainedModel("tiny", network, True, labels, 0.7, 2.0), "cpu")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of the system: `apt-get install chromium`."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"Chromium is not installed: none of {', '.join(names)} is on the PATH")
    with sync_playwright() as playwright:
        # A microphone that beeps, and permission to use it.
        arguments = [f"--use-fake-{what}-for-media-stream" for what in ("device", "ui")]
        arguments += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def build_manifest() -> Callable[..., Any]:
    """The cleaned manifest of the corpora in these folders, before the split."""
    from ser.audio.cache import AudioCache
    from ser.config.data import DataConfig
    from ser.preparation.prepare import build

    def build_manifest(cache_dir: Path, settings: dict[str, Any] | None = None, **folders: Path):
        paths: dict[str, str | None] = {name: str(folder) for name, folder in folders.items()}
        data = DataConfig(corpora=list(paths), paths=paths, **(settings or {}))
        return build(data, AudioCache(cache_dir))

    return build_manifest


@pytest.fixture(scope="session")
def real_audio() -> Path:
    """The folder with real RAVDESS and TESS files that SER_REAL_AUDIO names."""
    folder = os.environ.get("SER_REAL_AUDIO")
    if not folder:
        pytest.skip("SER_REAL_AUDIO is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def real_backbone() -> Path:
    """The folder with the weights of Whisper base that SER_REAL_BACKBONE names."""
    folder = os.environ.get("SER_REAL_BACKBONE")
    if not folder:
        pytest.skip("SER_REAL_BACKBONE is not set")
    return Path(folder)


@pytest.fixture
def write_tone() -> Callable[..., Path]:
    """Write a short tone; each `pitch` is a different recording."""

    def write_tone(
        path: Path, pitch: float = 220.0, rate: int = 16_000, seconds: float = 0.5, **options: Any
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * rate)) / rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time), rate, **options)
        return path

    return write_tone
