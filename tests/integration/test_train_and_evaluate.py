"""Train a tiny network on the synthetic corpora, in process, and look at everything it leaves."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ser import manifest
from ser.calibration import fit_temperature
from ser.config import EvaluateConfig, EvaluateDataConfig, Part
from ser.data import collate
from ser.evaluation import evaluate
from ser.labels import LABELS
from ser.metrics import score
from ser.model import load_network, read_checkpoint, read_validation
from ser.training import TrainResult, build, resolve_precision, train


@pytest.fixture(scope="module")
def run(quick_config, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(quick_config(tmp_path_factory.mktemp("run"), "trainer.max_epochs=2"))


@pytest.fixture(scope="module")
def scores(run):
    return evaluate(EvaluateConfig(ckpt=str(run.checkpoint)))


def test_a_run_keeps_its_checkpoints_and_accounts_for_its_data(run):
    names = {path.name for path in (run.output_dir / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt"}
    utterances = manifest.read(run.output_dir / "manifest.csv")
    assert set(utterances["split"]) == {"train", "val", "test"}
    dropped = pd.read_csv(run.output_dir / "dropped.csv")
    assert len(dropped) == 37
    assert dropped["reason"].notna().all()


def test_a_checkpoint_holds_tensors_and_plain_values_only(run):
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    stored = checkpoint["hyper_parameters"]
    assert json.loads(json.dumps(stored)) == stored
    assert stored["labels"] == list(LABELS)
    assert stored["sample_rate"] == 16_000


def test_a_checkpoint_carries_the_temperature_of_its_own_validation(run, quick_config):
    """Fitted again on what the network of the checkpoint says of the validation part."""
    network, _ = load_network(run.checkpoint)
    table = manifest.read(run.output_dir / "manifest.csv")
    config = quick_config(run.output_dir)
    _, data = build(config, manifest.Manifest(table, table.iloc[:0]))
    logits, labels = [], []
    for batch in data.loader("val"):
        with torch.no_grad():
            mask = batch["attention_mask"]
            logits.append(network(batch["input_values"], attention_mask=mask).logits)
        labels.append(batch["labels"])
    expected = fit_temperature(torch.cat(logits).numpy(), torch.cat(labels).numpy())
    assert read_validation(run.checkpoint).temperature == pytest.approx(expected, rel=1e-3)


def test_an_older_checkpoint_has_no_temperature(run, tmp_path):
    checkpoint = torch.load(run.checkpoint, weights_only=True)
    del checkpoint["temperature"]
    torch.save(checkpoint, tmp_path / "older.ckpt")
    assert read_validation(tmp_path / "older.ckpt").temperature is None


def test_a_loaded_network_gives_the_logits_of_the_trained_one(run, quick_config):
    blueprint, weights = read_checkpoint(run.checkpoint)
    network, _ = load_network(run.checkpoint)
    state = network.state_dict()
    assert set(state) == set(weights)
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    assert blueprint.network["id2label"] == {str(i): label for i, label in enumerate(LABELS)}


def test_the_curves_pictures_and_settings_are_in_tensorboard(run):
    events = EventAccumulator(str(run.output_dir / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    expected = {"train/loss", "val/loss", "val/uar", "val/accuracy", "val/macro_f1", "best/val/uar"}
    assert expected | {"val/recall/calm", "val/f1/angry", "lr-AdamW/pg1"} <= set(tags["scalars"])
    speed = {"speed/utterances_per_second", "speed/audio_seconds_per_second", "speed/data_wait"}
    assert speed | {"train/grad_norm"} <= set(tags["scalars"])
    assert len(events.Images("val/confusion")) == 2
    assert "config/text_summary" in tags["tensors"]
    assert events.Scalars("best/val/uar")[-1].value == pytest.approx(run.score)
    best = max(scalar.value for scalar in events.Scalars("val/uar"))
    assert best == pytest.approx(run.score)


def test_the_table_of_settings_in_tensorboard_has_columns_for_the_test_scores(run, scores):
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(run.output_dir / "tensorboard")).Reload()
    assert events.Scalars("test/uar")[-1].value == pytest.approx(scores.uar)
    content = events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    experiment = metadata.parse_experiment_plugin_data(content)
    columns = {info.name.tag for info in experiment.metric_infos}
    assert columns == {"best/val/uar", "test/uar", "test/accuracy", "test/macro_f1"}
    assert "model.lr" in {info.name for info in experiment.hparam_infos}


def test_the_report_is_complete(run, scores):
    report = run.output_dir / "report"
    assert {path.name for path in report.iterdir()} == {
        "metrics.json",
        "predictions.csv",
        "logits.npy",
        "report.html",
        "report.md",
        "figures",
    }
    metrics = json.loads((report / "metrics.json").read_text())
    assert metrics["synthetic"] is True
    assert metrics["overall"]["uar"] == pytest.approx(scores.uar)
    assert set(metrics["corpora"]) == {"ravdess", "cremad", "savee"}
    assert sum(part["utterances"] for part in metrics["corpora"].values()) == scores.utterances


def test_predictions_are_one_row_an_utterance_and_give_the_scores(run, scores):
    predictions = pd.read_csv(run.output_dir / "report" / "predictions.csv")
    test = manifest.read(run.output_dir / "manifest.csv").query("split == 'test'")
    assert sorted(predictions["id"]) == sorted(test["id"])
    probabilities = predictions[[f"p_{label}" for label in LABELS]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    predicted = predictions["predicted"].map(LABELS.index).to_numpy()
    np.testing.assert_array_equal(predicted, probabilities.argmax(axis=1))
    again = score(predictions["emotion"].map(LABELS.index).to_numpy(), predicted, LABELS)
    assert again == scores


def test_a_row_of_the_predictions_is_what_the_network_says_of_that_file_alone(
    run, scores, quick_config
):
    """Order, labels, padding and weights all have to be right for this."""
    network, _ = load_network(run.checkpoint)
    config = quick_config(run.output_dir)
    table = manifest.read(run.output_dir / "manifest.csv")
    _, data = build(config, manifest.Manifest(table, table.iloc[:0]))
    part = data.manifest.part("test")
    dataset = data.loader("test").dataset
    predictions = pd.read_csv(run.output_dir / "report" / "predictions.csv").set_index("id")
    for row in (0, len(part) // 2, len(part) - 1):
        batch = collate([dataset[row]], 0)
        with torch.no_grad():
            logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
        stored = predictions.loc[part["id"][row], [f"p_{label}" for label in LABELS]]
        alone = logits.softmax(1)[0].numpy()
        np.testing.assert_allclose(stored.to_numpy(float), alone, atol=1e-4)


def test_the_validation_score_of_the_best_checkpoint_is_found_again(run):
    scores = evaluate(
        EvaluateConfig(
            ckpt=str(run.checkpoint), part=Part.val, output_dir=str(run.output_dir / "val")
        )
    )
    assert scores.uar == pytest.approx(run.score, abs=1e-6)


def test_reports_on_other_parts_and_checkpoints_leave_the_first_alone(run, scores):
    report = run.output_dir / "report" / "metrics.json"
    before = report.read_text()
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint), part=Part.val))
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint.with_name("last.ckpt"))))
    some = EvaluateDataConfig(corpora=["ravdess"])
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint), data=some))
    assert report.read_text() == before
    others = {"report-best-val": "val", "report-last-test": "test"}
    for name, part in (others | {"report-best-test-ravdess": "test"}).items():
        assert json.loads((run.output_dir / name / "metrics.json").read_text())["part"] == part


def test_a_report_can_be_put_elsewhere(run, tmp_path):
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint), output_dir=str(tmp_path / "val")))
    assert (tmp_path / "val" / "metrics.json").is_file()


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(quick_config, tmp_path):
    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        result = train(quick_config(tmp_path / name, f"seed={seed}", "trainer.max_steps=3"))
        return read_checkpoint(result.output_dir / "checkpoints" / "last.ckpt")[1]

    one, same, other = weights("one", 1), weights("same", 1), weights("other", 2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_is_resumed_where_it_stopped(run, quick_config, tmp_path):
    last = run.output_dir / "checkpoints" / "last.ckpt"
    result = train(quick_config(tmp_path, f"ckpt={last}", "trainer.max_epochs=3"))
    resumed = torch.load(result.output_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert (resumed["epoch"], torch.load(last, weights_only=True)["epoch"]) == (2, 1)
    assert resumed["global_step"] == 3 * 30


def test_the_last_checkpoint_is_the_last_one_and_not_the_best(quick_config, tmp_path):
    """With a learning rate of nothing, no epoch is better than the first."""
    train(quick_config(tmp_path, "model.lr=1e-30", "trainer.max_epochs=3"))
    epochs = {
        name: torch.load(tmp_path / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 2}


def test_a_checkpoint_of_another_recipe_is_not_resumed(run, quick_config, tmp_path):
    last = run.output_dir / "checkpoints" / "last.ckpt"
    for override, words in (
        ("model.lr=1e-5", r"model\.lr=0\.003"),
        ("split.seed=5", r"split\.seed=0: keep it so"),
        ("model.backbone.layerdrop=0.5", r"model\.backbone\.layerdrop=0\.0"),
        ("data.batch_size=4", r"data\.batch_size=16"),
        ("trainer.max_epochs=2", r"trainer\.max_epochs=2: give more"),
    ):
        with pytest.raises(ValueError, match=words):
            train(quick_config(tmp_path, f"ckpt={last}", "trainer.max_epochs=3", override))


def test_a_finished_run_is_not_overwritten(run, quick_config):
    with pytest.raises(ValueError, match="already holds a run"):
        train(quick_config(run.output_dir))


def test_changed_corpora_are_not_evaluated(quick_config, corpora, tmp_path, write_tone):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(corpora, copy)
    config = quick_config(tmp_path / "run", f"data.synthetic={copy}", "trainer.max_steps=1")
    checkpoint = train(config).checkpoint
    write_tone(copy / "tess" / "OAF_new_sad.wav", pitch=123)
    with pytest.raises(ValueError, match=r"0 recordings gone, 1 new"):
        evaluate(EvaluateConfig(ckpt=str(checkpoint)))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken archive"])
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no checkpoint of this project"):
        read_checkpoint(path)
    with pytest.raises(ValueError, match="is no checkpoint of this project"):
        read_validation(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"hyper_parameters": Evil()}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="is no checkpoint of this project"):
        read_checkpoint(tmp_path / "x.ckpt")
    assert not (tmp_path / "ran").exists()


def test_loss_falls_and_the_network_trains_in_training_mode(quick_config, tmp_path):
    from ser.preparation import prepare

    config = quick_config(tmp_path)
    module, data = build(config, prepare(config.data, config.split))
    batch = next(iter(data.train_dataloader()))
    module.log = lambda *_, **__: None  # no trainer is attached
    assert all(part.training for part in module.network.modules())
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = module.training_step(batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(np.log(8), abs=0.3)
    assert losses[-1] < losses[0] / 2


def test_uniform_padding_csv_logging_and_a_linear_schedule_train_too(quick_config, tmp_path):
    result = train(
        quick_config(
            tmp_path,
            "data.padding=uniform",
            "data.max_seconds=1.0",
            "logger=csv",
            "split=stratified",
            "model.schedule=linear",
            "model.freeze_feature_encoder=true",
            "trainer.limit_train_batches=3",
        )
    )
    metrics = pd.read_csv(tmp_path / "csv" / "metrics.csv")
    assert metrics["val/uar"].dropna().iloc[-1] == pytest.approx(result.score)


def test_precision_follows_the_device_only_where_it_is_left_open(compose_config):
    trainer = compose_config("output_dir=x", "trainer.precision=16-mixed").trainer
    assert resolve_precision(trainer) == "16-mixed"
    chosen = resolve_precision(compose_config("output_dir=x", "trainer=auto").trainer)
    assert chosen in ("bf16-mixed", "32-true")
    if not torch.cuda.is_available() and not torch.cpu._is_avx512_bf16_supported():
        assert chosen == "32-true"


def test_trainer_settings_are_arguments_of_lightning(compose_config):
    import inspect

    from lightning import Trainer

    settings = vars(compose_config("output_dir=x").trainer)
    known = set(inspect.signature(Trainer).parameters)
    assert {name for name in settings if name != "_target_"} <= known


def test_a_run_cut_short_by_steps_is_validated_and_kept(quick_config, tmp_path):
    result = train(quick_config(tmp_path, "trainer.max_epochs=5", "trainer.max_steps=40"))
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 40
    assert result.checkpoint is not None
    assert result.score > 0


def test_another_score_can_choose_the_best_checkpoint(quick_config, tmp_path):
    monitor = ["callbacks.checkpoint.monitor=val/loss", "callbacks.checkpoint.mode=min"]
    result = train(quick_config(tmp_path, *monitor, "trainer.max_steps=2"))
    assert (result.monitor, result.checkpoint) == ("val/loss", tmp_path / "checkpoints/best.ckpt")


def test_a_dry_run_leaves_no_checkpoint(quick_config, tmp_path):
    result = train(quick_config(tmp_path, "trainer.fast_dev_run=true"))
    assert result.checkpoint is None
    assert list(tmp_path.rglob("*.ckpt")) == []
