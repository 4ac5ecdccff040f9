"""A trained checkpoint judges recordings through `Predictor`, as evaluation judged them."""

import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hostile import Attack

from ser import Predictor
from ser.audio.decode import load
from ser.commands.evaluate import run as evaluate
from ser.config.evaluate import EvaluateConfig
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.inference.prediction import Failure, Prediction
from ser.inference.settings import WindowConfig
from ser.inference.vad import load_detector
from ser.preparation import manifest
from ser.training.run_folder import TrainResult
from ser.training.train import train


@pytest.fixture(scope="module")
def run(quick_config, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(quick_config(tmp_path_factory.mktemp("run"), "trainer.max_steps=8"))


@pytest.fixture(scope="module")
def predictor(run) -> Predictor:
    return Predictor.from_checkpoint(run.checkpoint, device="cpu")


@pytest.fixture
def tones(tmp_path, write_tone) -> list[Path]:
    lengths = (1.3, 0.4, 2.2, 0.1, 0.9)
    return [
        write_tone(tmp_path / f"{place}.wav", pitch=200 + 60 * place, seconds=seconds)
        for place, seconds in enumerate(lengths)
    ]


def values(prediction: Prediction) -> list[float]:
    return list(prediction.probabilities.values())


@pytest.mark.slow
def test_the_predictor_loads_neither_lightning_nor_hydra():
    code = (
        "import sys, ser; assert 'torch' not in sys.modules; ser.Predictor;"
        "print([m for m in ('lightning', 'hydra', 'pandas', 'sklearn', 'librosa')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_files_are_predicted_as_in_evaluation(run):
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint)))
    stored = pd.read_csv(run.output_dir / "report" / "predictions.csv")
    table = manifest.read(run.output_dir / "manifest.csv").set_index("id")
    rows = stored.iloc[:: max(1, len(stored) // 12)]
    raw = Predictor.from_checkpoint(run.output_dir, raw=True)  # as predictions.csv has them
    predictions = raw([str(path) for path in table.loc[rows["id"], "path"]])
    expected = rows[[f"p_{label}" for label in LABELS]].to_numpy(float)
    np.testing.assert_allclose([values(p) for p in predictions], expected, atol=1e-3)


def test_results_come_in_the_order_given_whatever_the_lengths(predictor, tones):
    together = predictor([*tones, *reversed(tones)], batch_size=3)
    assert [p.path for p in together] == [str(path) for path in [*tones, *reversed(tones)]]
    for prediction in together:
        [alone] = predictor([prediction.path])
        np.testing.assert_allclose(values(prediction), values(alone), atol=1e-5)
        assert prediction.emotion == max(LABELS, key=prediction.probabilities.__getitem__)
        assert sum(values(prediction)) == pytest.approx(1, abs=1e-5)
    assert np.ptp([values(p) for p in together], axis=0).max() > 1e-4  # the files do differ


def test_a_waveform_is_predicted_like_its_file(predictor, tones):
    waveform, rate = load(tones[0]), 16_000
    [from_file, from_memory] = predictor([tones[0], (waveform, rate)])
    assert from_memory.path is None
    assert values(from_memory) == pytest.approx(values(from_file), abs=1e-6)


def test_a_bad_file_is_a_failure_in_its_place(predictor, tones, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    silence = (np.zeros(16_000, np.float32), 16_000)
    results = list(predictor.stream([bad, tones[0], tmp_path / "none.wav", tones[1], silence]))
    kinds = [Failure, Prediction, Failure, Prediction, Failure]
    assert [type(result) for result in results] == kinds
    assert results[0].path == str(bad)
    assert "not a recording" in results[0].error
    assert "silent" in results[4].error
    with pytest.raises(ValueError, match=r"bad.wav cannot be predicted: it is not a recording"):
        predictor([tones[0], bad])


def test_very_many_bad_files_do_not_hold_back_the_good_one_before_them(predictor, tones):
    taken = 0

    def sources():
        nonlocal taken
        yield tones[0]
        while True:
            taken += 1
            yield "none.wav"

    assert isinstance(next(predictor.stream(sources())), Prediction)
    assert taken < 500


def test_the_look_ahead_is_bounded(predictor, tones):
    taken = 0

    def sources():
        nonlocal taken
        while True:
            taken += 1
            yield tones[3]

    stream = predictor.stream(sources())
    for place in range(300):
        next(stream)
        assert taken - place < 320


def test_a_long_recording_has_a_timeline_and_segments(predictor, tmp_path, write_tone):
    path = write_tone(tmp_path / "long.wav", seconds=5.25)
    [prediction] = predictor([path], sliding=WindowConfig(2, 1))
    assert [(w.start, w.end) for w in prediction.windows] == [
        (0, 2), (1, 3), (2, 4), (3, 5), (3.25, 5.25),
    ]  # fmt: skip
    mean = np.mean([list(w.probabilities.values()) for w in prediction.windows], axis=0)
    np.testing.assert_allclose(values(prediction), mean, atol=1e-6)
    assert prediction.segments[0].start == 0
    assert prediction.segments[-1].end == 5.25
    waveform, rate = load(path), 16_000
    [piece] = predictor([(waveform[rate : 3 * rate], rate)])
    assert prediction.windows[1].probabilities == pytest.approx(piece.probabilities, abs=1e-5)


def test_a_recording_longer_than_those_of_training_is_predicted_in_windows(predictor, tones):
    tone, rate = load(tones[2]), 16_000
    waveform = np.tile(tone, 20)
    [prediction] = predictor([(waveform, rate)])
    assert prediction.windows[0].end == predictor.max_seconds
    assert prediction.windows[-1].end == prediction.seconds == len(waveform) / rate
    [short] = predictor([tones[2]])
    assert short.windows == ()


def test_silence_inside_a_recording_is_left_out(predictor, tones):
    tone, rate = load(tones[4]), 16_000
    gap = np.zeros(3 * rate, np.float32)
    [prediction] = predictor(
        [(np.concatenate([tone, gap, tone]), rate)], sliding=WindowConfig(0.9, 0.9)
    )
    assert prediction.windows[0].start == 0
    assert all(w.end <= 1.8 or w.start >= 3.0 for w in prediction.windows)
    assert len(prediction.segments) >= 2
    assert prediction.seconds == pytest.approx(4.8)


def test_a_run_folder_stands_for_its_best_checkpoint(run, predictor, tones):
    [by_folder] = Predictor.from_checkpoint(run.output_dir, device="cpu")(tones[:1])
    assert by_folder == predictor(tones[:1])[0]


def test_a_temperature_calibrates_unless_raw(run, predictor, tones, tmp_path):
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    checkpoint["temperature"] = 0.25
    path = tmp_path / "calibrated.ckpt"
    torch.save(checkpoint, path)
    [calibrated] = Predictor.from_checkpoint(path, device="cpu")(tones[:1])
    raw_predictor = Predictor.from_checkpoint(path, device="cpu", raw=True)
    [raw] = raw_predictor(tones[:1])
    logits = torch.tensor(raw_predictor.logits([load(tones[0])])[0])
    assert values(calibrated) == pytest.approx((logits / 0.25).softmax(0).tolist(), abs=1e-5)
    assert values(raw) == pytest.approx(logits.softmax(0).tolist(), abs=1e-5)


@pytest.mark.parametrize("form", ["bare", "torch"])
def test_a_malicious_pickle_is_refused_and_not_run(run, tmp_path, form):
    path, mark = tmp_path / "evil.ckpt", tmp_path / "mark"
    if form == "bare":
        path.write_bytes(pickle.dumps(Attack(mark)))
    else:
        checkpoint = torch.load(run.checkpoint, weights_only=True)
        torch.save(checkpoint | {"callbacks": Attack(mark)}, path)
        assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match=r"evil\.ckpt is (not a checkpoint|pickled)"):
        Predictor.from_checkpoint(path)
    assert not mark.exists()


def test_a_folder_with_pickled_weights_only_is_refused(run, tmp_path):
    from ser.models.checkpoint import Checkpoint

    network = Checkpoint.open(run.checkpoint).load_network()
    network.config.save_pretrained(tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(mark)))
    (tmp_path / "preprocessor_config.json").write_text(
        '{"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}'
    )
    with pytest.raises(UserError, match="safetensors"):
        Predictor.from_checkpoint(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere/at/all", "no such checkpoint; name a run folder"),
        (".", "holds neither checkpoints/best.ckpt nor config.json"),
        ("nobody/nothing", "from the hub"),
    ],
)
def test_what_is_no_model_is_one_sentence(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError)) as refused:
        Predictor.from_checkpoint(source)
    assert message in str(refused.value)


def test_a_device_that_is_not_there_is_one_sentence(run):
    with pytest.raises(ValueError, match="device=warp cannot be used here"):
        Predictor.from_checkpoint(run.checkpoint, device="warp")


def test_one_path_where_a_list_belongs_is_refused(predictor, tones):
    with pytest.raises(ValueError, match="give a list"):
        predictor(str(tones[0]))


def test_without_a_detector_no_recording_is_to_blame(predictor, tones, monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    load_detector.cache_clear()
    with pytest.raises(UserError, match=r"pip install .*vad"):
        list(predictor.stream(tones, vad=True))


def test_what_is_no_number_is_no_emotion(predictor, tones, tmp_path, monkeypatch):
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, np.full(16_000, 3e38, np.float32), 16_000, subtype="FLOAT")
    nothing = np.full((1, len(predictor.labels)), np.nan, np.float32)
    [failure] = predictor.stream([loud])
    assert "beyond any scale" in failure.error
    monkeypatch.setattr(predictor, "probabilities", lambda waveforms: nothing)
    [failure] = predictor.stream(tones[:1])
    assert "not finite" in failure.error


def test_a_name_that_is_not_utf_8_is_predicted_like_another(predictor, tones, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    try:
        shutil.copy(tones[0], odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    [judged], [expected] = predictor([odd]), predictor(tones[:1])
    assert judged.probabilities == pytest.approx(expected.probabilities, abs=1e-5)


def test_a_run_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="runs/none: no such checkpoint"):
        Predictor.from_checkpoint("runs/none")


@pytest.mark.parametrize(
    "damage",
    [
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"state_dict": [1, 2]},
        {"hyper_parameters": "none"},
        {"no_settings": True},
    ],
)
def test_a_checkpoint_of_odd_structure_is_one_sentence(run, tmp_path, damage):
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    if damage.pop("no_settings", False):
        checkpoint["hyper_parameters"]["config"] = {"seed": 1}
    torch.save(checkpoint | damage, tmp_path / "odd.ckpt")
    with pytest.raises(ValueError, match=r"odd\.ckpt is not a checkpoint of this project"):
        Predictor.from_checkpoint(tmp_path / "odd.ckpt")
