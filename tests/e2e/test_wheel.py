"""The wheel, installed into a separate folder, and its command in other working folders."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import ser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel; its dependencies are those of this interpreter."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (folder / "dist").glob("speech_emotion-*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "größe, it's (1)"
    folder.mkdir()
    return folder


def run(site: Path, folder: Path, *words: str) -> str:
    """The output of the installed console script."""
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(site / "bin" / "ser"), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def quick(corpora: Path, cache_dir: Path) -> list[str]:
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    return ["experiment=quickstart", "callbacks=quiet", *data, "trainer.max_steps=4"]


def test_the_wheel_holds_code_configs_templates_and_nothing_else(site):
    assert {path.name for path in site.iterdir()} == {
        *("ser", "bin", f"speech_emotion-{ser.__version__}.dist-info"),
    }
    for kind, folder in (
        ("yaml", "conf"),
        ("py", "src/ser"),
        ("html", "src/ser"),
        ("js", "src/ser"),
    ):
        installed = {path.name for path in site.rglob(f"*.{kind}")}
        assert installed == {path.name for path in (ROOT / folder).rglob(f"*.{kind}")}


@pytest.mark.slow
def test_the_command_finds_its_configs_in_any_folder(site, elsewhere):
    assert run(site, elsewhere, "--version") == f"ser {ser.__version__}\n"
    assert "model.lr" in run(site, elsewhere, "train", "--help")
    mine = elsewhere / "my configs" / "data"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("corpora: [tess]\n", encoding="utf-8")
    shown = run(
        site, elsewhere, *shlex.split("train --config-dir 'my configs' data=mine --cfg job")
    )
    assert "- tess\n" in shown


def test_hints_name_requirements_of_the_extras(site, elsewhere):
    code = "from ser.errors import install_hint; print(install_hint('vad'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = project["optional-dependencies"]["vad"]
    assert shlex.split(done.stdout)[-len(extra) :] == extra


@pytest.mark.slow
def test_everything_works_from_the_wheel_and_printed_commands_can_be_pasted(
    site, elsewhere, corpora, cache_dir, write_tone
):
    folder = "runs/it's größe"
    output = run(site, elsewhere, "train", *quick(corpora, cache_dir), f"output_dir={folder}")
    [line] = [line for line in output.splitlines() if "ser evaluate" in line]
    command = shlex.split(line[line.index("ser evaluate") :])
    run(site, elsewhere, *command[1:])
    assert (elsewhere / folder / "report" / "report.html").is_file()
    write_tone(elsewhere / "a.wav")
    assert "a.wav" in run(site, elsewhere, "predict", "a.wav", "--ckpt", folder)
    resumed = ["train", f"ckpt={folder}", "trainer.max_steps=6"]
    run(site, elsewhere, *resumed)
    last = torch.load(elsewhere / folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 6
    run(site, elsewhere, "prepare", *quick(corpora, cache_dir)[:-1], "--output", "card")
    assert (elsewhere / "card" / "data_card.html").is_file()
    run(site, elsewhere, "export", folder, "--to", "hf", "--output", "exported")
    assert "a.wav" in run(site, elsewhere, "predict", "a.wav", "--ckpt", "exported")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="gloo with two processes is tested on POSIX")
def test_two_processes_train_from_the_wheel(site, elsewhere, corpora, cache_dir):
    devices = ["trainer.devices=2", "trainer.accelerator=cpu", "trainer.strategy=ddp"]
    folder = "runs/größe"
    output = run(
        site, elsewhere, "train", *quick(corpora, cache_dir), *devices, f"output_dir={folder}"
    )
    assert output.count("epoch 1: ") == 1
    assert (elsewhere / folder / "checkpoints" / "last.ckpt").is_file()
    assert [path.name for path in (elsewhere / "runs").iterdir()] == ["größe"]


@pytest.mark.slow
def test_a_sweep_runs_from_the_wheel_with_jobs_in_parallel(site, elsewhere, corpora, cache_dir):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    sweep = ["model.lr=1e-3,1e-2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "-m"]
    output = run(site, elsewhere, "train", *quick(corpora, cache_dir), *sweep, "output_dir=ö")
    assert {path.name for path in (elsewhere / "ö").iterdir() if path.is_dir()} == {"0", "1"}
    [line] = [line for line in output.splitlines() if "ser evaluate" in line]
    assert shlex.split(line)[-1] in {"ckpt=ö/0", "ckpt=ö/1"}
