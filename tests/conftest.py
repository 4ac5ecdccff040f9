"""What the tests share: synthetic corpora, a decoded cache, and composed configurations."""

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
    """The four synthetic corpora, written once a session."""
    from ser.synthetic import ensure_corpora

    return ensure_corpora(tmp_path_factory.mktemp("data") / "synthetic")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def compose_config() -> Callable[..., Any]:
    """A configuration composed as the command line would, from overrides."""
    from hydra import compose, initialize_config_dir

    from ser.compose import convert, register
    from ser.config import TrainConfig

    def compose_config(*overrides: str, name: str = "train", kind: type = TrainConfig) -> Any:
        register()
        with initialize_config_dir(version_base="1.3", config_dir=str(ROOT / "conf")):
            return convert(compose(name, [*overrides]), kind)

    return compose_config


@pytest.fixture(scope="session")
def quick_config(
    compose_config: Callable[..., Any], corpora: Path, cache_dir: Path
) -> Callable[..., Any]:
    """The quickstart on the session's synthetic corpora, cut down to seconds."""

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
    """The best checkpoint of a short run whose parts share speakers; it makes mistakes."""
    from ser.training import train

    folder = tmp_path_factory.mktemp("trained")
    checkpoint = train(quick_config(folder, "split=stratified", "trainer.max_epochs=2")).checkpoint
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, from the system: `apt-get install chromium`."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(names)} is on the PATH")
    with sync_playwright() as playwright:
        # A microphone that beeps, and leave to use it.
        arguments = [f"--use-fake-{what}-for-media-stream" for what in ("device", "ui")]
        arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def build_manifest() -> Callable[..., Any]:
    """The cleaned manifest of the corpora in these folders, not yet split."""
    from ser.cache import AudioCache
    from ser.data_config import DataConfig
    from ser.preparation import build

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


@pytest.fixture
def write_tone() -> Callable[..., Path]:
    """Write a short tone; another `pitch` is another recording."""

    def write_tone(
        path: Path, pitch: float = 220.0, rate: int = 16_000, seconds: float = 0.5, **options: Any
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(round(seconds * rate)) / rate
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time), rate, **options)
        return path

    return write_tone
