"""Everything that the project does, with a tiny Whisper network of random weights."""

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from transformers import AutoModelForAudioClassification
from typer.testing import CliRunner, Result

from ser import Predictor
from ser.commands.evaluate import run as run_evaluation
from ser.commands.main import app
from ser.config.evaluate import EvaluateConfig
from ser.config.split import Part
from ser.errors import UserError
from ser.evaluation.evaluate import evaluate
from ser.inference.settings import WindowConfig
from ser.models.checkpoint import Checkpoint
from ser.serving.app import create_app
from ser.serving.limits import Limits
from ser.training.train import train

ROOT = Path(__file__).parents[2]
SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "num_hidden_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
}
TINY = [
    *("backbone=whisper_tiny", "model.backbone.pretrained=false", "trainer.limit_train_batches=3"),
    *(f"model.backbone.architecture.{name}={size}" for name, size in SIZES.items()),
    *("data.near_duplicates=false", "data.max_seconds=3"),
]
MODES = {
    "full": [],
    "top": ["model.top_layers=1"],
    "lora": ["model=lora"],
    "head": ["model=head"],
    "weighted": ["model=head", "model.weighted_layers=true"],
    "attention": ["model.pooling=attention", "model.backbone.mask_feature_prob=0.2"],
    "statistics": ["model.pooling=statistics", "model.top_layers=1"],
    "linear": ["model=linear", "model.layer=1"],
    "joined": ["model=linear", "model.join_layers=[0,1,2]", "model.fit=lda"],
    "silence": ["model.backbone.min_seconds=4"],
    "checkpointing": ["model.gradient_checkpointing=true"],
    "bf16": ["trainer.precision=bf16-mixed"],
}
FAST = ("full", "linear")


@pytest.fixture(scope="module")
def fitted(quick_config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a linear head on the first layer, as `experiment=laptop` trains it."""
    folder = tmp_path_factory.mktemp("fitted")
    result = train(quick_config(folder, *TINY, *MODES["linear"]))
    assert result.checkpoint is not None
    return result.checkpoint


@pytest.fixture(scope="module")
def predictor(fitted) -> Predictor:
    return Predictor.from_checkpoint(fitted, "cpu")


@pytest.fixture
def clip(tmp_path, write_tone) -> Path:
    return write_tone(tmp_path / "clip.wav", seconds=1.1)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[pytest.mark.slow] * (mode not in FAST)) for mode in MODES]
)
def test_every_mode_trains_is_calibrated_and_evaluated_from_its_checkpoint(
    quick_config, tmp_path, mode
):
    result = train(quick_config(tmp_path, *TINY, *MODES[mode]))
    checkpoint = Checkpoint.open(tmp_path / "checkpoints" / "best.ckpt")
    assert checkpoint.validation.temperature is not None
    again = evaluate(EvaluateConfig(ckpt=str(result.checkpoint), part=Part.val))
    assert again.overall.scores.uar == pytest.approx(result.score, abs=0.02)


@pytest.mark.slow
def test_a_compiled_network_trains(quick_config, tmp_path):
    options = [*TINY, "model.compile=true", "trainer.limit_val_batches=2"]
    result = train(quick_config(tmp_path, *options))
    assert 0 <= result.score <= 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "top"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(quick_config, tmp_path, mode):
    masks = ["model.backbone.mask_time_prob=0.2", "model.backbone.mask_feature_prob=0.2"]
    constant = ["model.schedule=constant", "model.warmup_ratio=0", "trainer.limit_val_batches=2"]
    options = [*TINY, *MODES[mode], *masks, *constant]
    train(quick_config(tmp_path / "whole", *options, "trainer.max_epochs=2"))
    train(quick_config(tmp_path / "part", *options, "trainer.max_epochs=1"))
    again = [*options, "trainer.max_epochs=2", f"ckpt={tmp_path / 'part'}"]
    train(quick_config(tmp_path / "part", *again))
    whole, resumed = (
        Checkpoint.open(tmp_path / name / "checkpoints" / "last.ckpt").weights
        for name in ("whole", "part")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(quick_config, corpora, cache_dir, tmp_path):
    options = [*TINY, "data.max_batch_seconds=null", "+model.backbone.architecture.dropout=0.0"]
    train(quick_config(tmp_path / "one", *options, "data.batch_size=16"))
    folder = tmp_path / "two"
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}", "data.batch_size=8"]
    devices = ["trainer.strategy=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
    quick = ["experiment=quickstart", "callbacks=quiet", "trainer.max_epochs=1"]
    words = [*quick, *data, *devices, *options, f"output_dir={folder}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, env=environment, check=True)
    one, two = (
        Checkpoint.open(path / "checkpoints" / "last.ckpt").weights
        for path in (tmp_path / "one", folder)
    )
    # Where a gradient is rounding noise (mel bands without sound), Adam makes a whole step of it. So
    # the mean over all weights is compared, with that to a run that saw half of each batch.
    train(quick_config(tmp_path / "half", *options, "data.batch_size=8"))
    half = Checkpoint.open(tmp_path / "half" / "checkpoints" / "last.ckpt").weights
    assert distance(one, two) < 0.1 * distance(one, half)


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The mean absolute difference of all weights."""
    differences = [(one[name] - other[name]).abs().flatten().float() for name in one]
    return float(torch.cat(differences).mean())


def test_clips_longer_than_the_positions_are_refused(quick_config, tmp_path):
    with pytest.raises(UserError, match=r"data\.max_seconds"):
        train(quick_config(tmp_path, *TINY, "data.max_seconds=31"))


@pytest.mark.slow
def test_the_command_of_a_probe_gives_the_uar_of_the_probe(corpora, cache_dir, tmp_path):
    data = [f"data.synthetic={corpora}", f"data.cache_dir={cache_dir}"]
    words = ["experiment=quickstart", "callbacks=quiet", *data, *TINY]
    done = invoke("probe", *words, "--output", tmp_path / "probe")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert [row["layers"] for row in found["layers"]] == [[0], [1], [2], [1, 2]]
    assert all(set(row["uar"]) == {"train", "val"} for row in found["layers"])
    best = max(found["layers"], key=lambda row: row["uar"]["train"]["value"])
    assert best == found["best"]
    for row in found["layers"]:
        low, high = row["uar"]["train"]["interval"]  # too few speakers for one of val
        assert low <= row["uar"]["train"]["value"] <= high
    assert (tmp_path / "probe" / "figures" / "layers.svg").is_file()
    assert found["command"] in done.output
    _, _, *overrides = shlex.split(found["command"])
    code = (
        f"from ser.commands.train import main; main({[*overrides, f'output_dir={tmp_path}/run']!r})"
    )
    trained = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["score"] == pytest.approx(best["uar"]["val"]["value"], abs=0.005)


@pytest.mark.parametrize("word", ["model.layer=1", "model=full", "model.top_layers=2", "ckpt=runs"])
def test_what_a_probe_chooses_itself_is_refused(word):
    done = invoke("probe", word)
    assert isinstance(done.exception, UserError)
    assert word.partition("=")[0] in str(done.exception)


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_batch(predictor, clip, tmp_path, write_tone):
    longer = write_tone(tmp_path / "longer.wav", 300, seconds=2.7)
    [alone] = predictor([clip])
    together = predictor([longer, clip, longer])
    assert together[1].probabilities == pytest.approx(alone.probabilities, abs=1e-4)
    assert sum(alone.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_long_recording_has_a_timeline(predictor, tmp_path, write_tone):
    path = write_tone(tmp_path / "long.wav", seconds=7.0)
    [whole] = predictor([path])
    assert [(each.start, each.end) for each in whole.windows] == [(0, 3), (3, 6), (4, 7)]
    [fine] = predictor([path], sliding=WindowConfig(2.0, 1.0))
    assert len(fine.windows) == 6


def test_the_command_predicts(fitted, clip):
    done = invoke("predict", clip, "--ckpt", fitted, "--format", "json", "--device", "cpu")
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.stdout)
    assert row["emotion"] in row["probabilities"]


def test_the_service_gives_the_prediction_of_the_predictor(predictor, clip):
    content = clip.read_bytes()
    [expected] = predictor([io.BytesIO(content)])
    with TestClient(create_app(predictor, Limits(megabytes=1, audio_seconds=20))) as client:
        answer = client.post("/predict", files={"file": ("a.wav", content)}).json()
        refused = client.post("/predict", files={"file": ("a.wav", content)}, params={"window": 31})
    assert answer["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
    assert refused.status_code == 422


@pytest.mark.slow
def test_the_demo_shows_the_prediction(predictor, browser, clip):
    from served import serving

    from ser.serving.demo import create_demo

    [expected] = predictor([clip])
    with serving(create_demo(predictor, Limits(), examples=[])) as address:
        page = browser.new_page()
        page.goto(address)
        page.set_input_files("#file", clip)
        page.wait_for_selector("#result:not(.busy) #mel:not([hidden])")
        assert page.inner_text("#answer").split()[0] == expected.emotion
        page.close()


@pytest.mark.slow
def test_ray_gives_the_results_of_the_local_engine(fitted, tmp_path, write_tone, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    for number in range(4):
        write_tone(tmp_path / "clips" / f"{number}.wav", 200 + 50 * number)
    options = ["predict", tmp_path / "clips", "--ckpt", fitted, "--device", "cpu"]
    done = invoke(*options, "--engine", "ray", "--output", tmp_path / "ray", "--workers", "1")
    assert done.exit_code == 0, done.output
    assert invoke(*options, "--output", tmp_path / "local.parquet").exit_code == 0
    parts = [pd.read_parquet(part) for part in sorted((tmp_path / "ray").glob("*.parquet"))]
    expected = pd.read_parquet(tmp_path / "local.parquet")
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), expected, atol=1e-5)


@pytest.mark.slow
def test_a_report_with_robustness_curves_is_written(fitted):
    scores = run_evaluation(EvaluateConfig(ckpt=str(fitted), robustness=True))
    report = fitted.parents[1] / "report"
    assert 0 <= scores.uar <= 1
    assert (report / "report.html").is_file()
    assert (report / "robustness" / "robustness.json").is_file()


def check_onnx(model: Path, predictor: Predictor) -> None:
    """Clips in one padded batch, by onnxruntime alone."""
    from onnxruntime import InferenceSession

    generator = np.random.default_rng(0)
    clips = [generator.normal(0, 0.1, n).astype(np.float32) for n in (1_000, 16_001, 40_000)]
    waveforms, mask = np.zeros((3, 40_000), np.float32), np.zeros((3, 40_000), np.int64)
    for row, clip in enumerate(clips):
        waveforms[row, : len(clip)], mask[row, : len(clip)] = clip, 1
    feed = {"input_values": waveforms, "attention_mask": mask}
    found: Any = InferenceSession(model).run(["logits"], feed)[0]
    # Logits of this untrained network reach 75.
    np.testing.assert_allclose(
        found * predictor.temperature, predictor.logits(clips), rtol=1e-5, atol=2e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["linear", "silence", "weighted"])
def test_onnx_holds_the_spectrogram(quick_config, tmp_path, mode):
    result = train(quick_config(tmp_path / "run", *TINY, *MODES[mode], "data.batch_size=8"))
    # A fitted head on untrained features is too sharp for 8 bits.
    int8 = ["--int8"] if mode == "weighted" else []
    done = invoke(
        "export", str(result.checkpoint), "--to", "onnx", *int8, "--output", tmp_path / "onnx"
    )
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    names = {path.name for path in (tmp_path / "onnx" / "onnx").iterdir()}
    assert names == {"model.onnx", *(["model_quantized.onnx"] if int8 else [])}
    checkpoint = str(result.checkpoint)
    check_onnx(
        tmp_path / "onnx" / "onnx" / "model.onnx", Predictor.from_checkpoint(checkpoint, "cpu")
    )


@pytest.mark.slow
def test_a_hugging_face_folder_is_for_the_predictor_with_onnx_for_others(
    fitted, predictor, clip, tmp_path
):
    folder = tmp_path / "hf"
    done = invoke("export", fitted, "--to", "hf", "--output", folder)
    assert done.exit_code == 0, f"{done.output} {done.exception}"
    assert "WhisperForAudioClassification" in done.output
    names = {path.name for path in folder.iterdir()}
    weights = {"config.json", "model.safetensors", "preprocessor_config.json"}
    assert names == weights | {"README.md", "onnx", "labels.json"}
    assert "transformers.pipeline" in (folder / "README.md").read_text()
    again = Predictor.from_checkpoint(folder, "cpu")
    assert again.max_seconds == 3.0
    [expected] = predictor([clip])
    assert again([clip])[0].probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    check_onnx(folder / "onnx" / "model.onnx", predictor)


@pytest.mark.slow
def test_transformers_alone_gives_other_scores(quick_config, tmp_path):
    """Why the folder is not for `transformers.pipeline`: with a head that it does have."""
    result = train(quick_config(tmp_path / "run", *TINY))
    folder = tmp_path / "hf"
    assert invoke("export", str(result.checkpoint), "--to", "hf", "--output", folder).exit_code == 0
    from transformers import AutoFeatureExtractor

    extractor = AutoFeatureExtractor.from_pretrained(folder)
    theirs = AutoModelForAudioClassification.from_pretrained(folder).eval()
    clip = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    with torch.no_grad():
        found = theirs(**extractor(clip, sampling_rate=16_000, return_tensors="pt")).logits
    ours = Predictor.from_checkpoint(folder, "cpu").logits([clip])
    assert np.abs(found.numpy() - ours).max() > 1e-3


@pytest.mark.slow
def test_half_precision_gives_the_same_emotion(fitted, tmp_path):
    # Without the temperature, which makes the probabilities of this small network much sharper.
    full = Predictor.from_checkpoint(fitted, "cpu", raw=True)
    half = Predictor.from_checkpoint(fitted, "cpu", raw=True, precision="bf16")
    generator, clips = np.random.default_rng(0), []
    for number in range(8):
        clips.append(tmp_path / f"{number}.wav")
        soundfile.write(clips[-1], generator.normal(0, 0.1, 8_000 + 3_000 * number), 16_000)
    for one, other in zip(full(clips), half(clips), strict=True):
        assert other.emotion == one.emotion
        assert other.probabilities == pytest.approx(one.probabilities, abs=0.05)
