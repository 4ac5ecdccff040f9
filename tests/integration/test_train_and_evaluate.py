"""Train a tiny network on the synthetic corpora in process, and check all its results."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ser.commands.evaluate import run as run_evaluation
from ser.config.backbone import BackboneConfig
from ser.config.data import DataConfig
from ser.config.evaluate import EvaluateConfig, EvaluateDataConfig
from ser.config.loggers import CsvConfig
from ser.config.model import ModelConfig
from ser.config.split import Part, SplitConfig, SplitKind
from ser.config.train import TrainConfig
from ser.config.trainer import TrainerConfig
from ser.corpora.emotions import LABELS
from ser.data.dataset import collate
from ser.data.sampler import SampleIndex
from ser.errors import UserError
from ser.evaluation.evaluate import evaluate
from ser.evaluation.result import EvaluationResult
from ser.metrics.calibration import fit_temperature
from ser.metrics.scores import score
from ser.models.checkpoint import Checkpoint
from ser.preparation import manifest
from ser.preparation.prepare import prepare
from ser.training.run_folder import TrainResult
from ser.training.train import build, train


@pytest.fixture(scope="module")
def run(quick_config, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train(quick_config(tmp_path_factory.mktemp("run"), "trainer.max_epochs=2"))


@pytest.fixture(scope="module")
def checkpoint(run) -> Checkpoint:
    return Checkpoint.open(run.checkpoint)


@pytest.fixture(scope="module")
def scores(run):
    """The scores on the test part; the report is written."""
    return run_evaluation(EvaluateConfig(ckpt=str(run.checkpoint)))


@pytest.fixture(scope="module")
def data(run, quick_config) -> Any:
    """The data module of the run, from its manifest."""
    table = manifest.read(run.output_dir / "manifest.csv")
    config = quick_config(run.output_dir)
    return build(config, manifest.Manifest(table, table.iloc[:0]))[1]


def test_a_run_keeps_its_checkpoints_and_accounts_for_its_data(run):
    names = {path.name for path in (run.output_dir / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt"}
    utterances = manifest.read(run.output_dir / "manifest.csv")
    assert set(utterances["split"]) == {"train", "val", "test"}
    dropped = pd.read_csv(run.output_dir / "dropped.csv")
    assert len(dropped) == 37
    assert dropped["reason"].notna().all()


def test_a_checkpoint_holds_tensors_and_plain_values_only(run):
    content = torch.load(run.checkpoint, weights_only=True)
    stored = content["hyper_parameters"]
    assert json.loads(json.dumps(stored)) == stored
    assert stored["labels"] == list(LABELS)
    assert stored["sample_rate"] == 16_000


def test_a_checkpoint_carries_the_temperature_of_its_own_validation(checkpoint, data):
    """Fitted again to the logits of its network on the validation part."""
    network, logits, labels, rows = checkpoint.load_network(), [], [], []
    for batch in data.val_dataloader():
        with torch.no_grad():
            mask = batch["attention_mask"]
            logits.append(network(batch["input_values"], attention_mask=mask).logits)
        labels.append(batch["labels"])
        rows += batch["rows"]
    speakers = data.manifest.part("val")["speaker"].to_numpy(str)[rows]
    expected = fit_temperature(torch.cat(logits).numpy(), torch.cat(labels).numpy(), speakers)
    found = checkpoint.validation
    assert found.temperature == found.fit.temperature
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert (found.fit.by, found.fit.folds) == ("speaker", len(set(speakers)))


def test_a_loaded_network_has_the_weights_of_the_checkpoint(checkpoint):
    state, weights = checkpoint.load_network().state_dict(), checkpoint.weights
    assert set(state) == set(weights)
    assert all(torch.equal(state[name], weights[name]) for name in weights)
    names = checkpoint.metadata.network["id2label"]
    assert names == {str(index): label for index, label in enumerate(LABELS)}


def test_curves_and_figures_are_in_tensorboard(run):
    events = EventAccumulator(str(run.output_dir / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    expected = {"train/loss", "val/loss", "val/uar", "val/accuracy", "val/macro_f1", "best/val/uar"}
    assert expected | {"val/recall/calm", "val/f1/angry", "lr-AdamW/pg1"} <= set(tags["scalars"])
    speed = {"speed/utterances_per_second", "speed/audio_seconds_per_second", "speed/data_wait"}
    assert speed | {"train/grad_norm"} <= set(tags["scalars"])
    assert len(events.Images("val/confusion")) == 2
    assert events.Scalars("best/val/uar")[-1].value == pytest.approx(run.score)
    best = max(scalar.value for scalar in events.Scalars("val/uar"))
    assert best == pytest.approx(run.score)


@pytest.mark.slow
def test_the_hyperparameters_of_tensorboard_have_columns_for_the_test_scores(run, scores):
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
        "label_errors.csv",
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


def test_predictions_have_one_row_per_utterance_and_give_the_scores(run, scores):
    predictions = pd.read_csv(run.output_dir / "report" / "predictions.csv")
    test = manifest.read(run.output_dir / "manifest.csv").query("split == 'test'")
    assert sorted(predictions["id"]) == sorted(test["id"])
    probabilities = predictions[[f"p_{label}" for label in LABELS]].to_numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    predicted = predictions["predicted"].map(LABELS.index).to_numpy()
    np.testing.assert_array_equal(predicted, probabilities.argmax(axis=1))
    again = score(predictions["emotion"].map(LABELS.index).to_numpy(), predicted, LABELS)
    assert again == scores


def test_a_row_of_the_predictions_is_what_the_network_predicts_for_that_file_alone(
    run, scores, checkpoint, data
):
    """Order, labels, padding and weights all have to be right for this."""
    network, part = checkpoint.load_network(), data.manifest.part("test")
    dataset = data.test_dataloader().dataset
    predictions = pd.read_csv(run.output_dir / "report" / "predictions.csv").set_index("id")
    for row in (0, len(part) // 2, len(part) - 1):
        batch = collate([dataset[SampleIndex(row)]])
        with torch.no_grad():
            logits = network(batch["input_values"], attention_mask=batch["attention_mask"]).logits
        stored = predictions.loc[part["id"][row], [f"p_{label}" for label in LABELS]]
        alone = logits.softmax(1)[0].numpy()
        np.testing.assert_allclose(stored.to_numpy(float), alone, atol=1e-4)


def test_evaluating_the_validation_part_gives_the_validation_score(run, checkpoint):
    result = evaluate(EvaluateConfig(ckpt=str(run.output_dir), part=Part.val))
    assert result.predicted.fit == checkpoint.validation.fit is not None
    assert result.overall.scores.uar == pytest.approx(run.score, abs=1e-6)
    assert checkpoint.validation.uar == pytest.approx(run.score, abs=1e-6)
    assert result.val_uar == pytest.approx(run.score, abs=1e-6)


def files(folder) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_training_and_evaluation_print_nothing_and_evaluation_writes_nothing(
    quick_config, tmp_path, capsys
):
    few = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=2"]
    trained = train(quick_config(tmp_path, *few))
    before = files(tmp_path)
    result = evaluate(EvaluateConfig(ckpt=str(trained.checkpoint)))
    assert isinstance(result, EvaluationResult)
    assert files(tmp_path) == before
    assert capsys.readouterr().out == ""


def test_the_manifest_is_handed_over_before_training(quick_config, tmp_path):
    seen = []
    config = quick_config(tmp_path, "trainer.fast_dev_run=true")
    train(config, on_prepared=lambda given: seen.append(set(given.utterances["split"])))
    assert seen == [{"train", "val", "test"}]


def test_a_backbone_that_is_not_found_is_refused_before_the_data_are_prepared(
    quick_config, tmp_path
):
    where = [f"model.backbone.name={tmp_path / 'none'}", "model.backbone.architecture={}"]
    options = [*where, "model.backbone.pretrained=true", f"data.cache_dir={tmp_path / 'cache'}"]
    with pytest.raises(UserError, match="backbone"):
        train(quick_config(tmp_path / "run", *options))
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_reports_on_other_parts_and_checkpoints_have_their_own_folders(run, scores):
    report = run.output_dir / "report" / "metrics.json"
    before = report.read_text()
    run_evaluation(EvaluateConfig(ckpt=str(run.checkpoint), part=Part.val))
    run_evaluation(EvaluateConfig(ckpt=str(run.checkpoint.with_name("last.ckpt"))))
    some = EvaluateDataConfig(corpora=["ravdess"])
    run_evaluation(EvaluateConfig(ckpt=str(run.checkpoint), data=some))
    assert report.read_text() == before
    others = {"report-best-val": "val", "report-last-test": "test"}
    for name, part in (others | {"report-best-test-ravdess": "test"}).items():
        assert json.loads((run.output_dir / name / "metrics.json").read_text())["part"] == part


@pytest.mark.slow
def test_a_report_can_be_written_elsewhere(run, tmp_path):
    run_evaluation(EvaluateConfig(ckpt=str(run.checkpoint), output_dir=str(tmp_path / "val")))
    assert (tmp_path / "val" / "metrics.json").is_file()


@pytest.mark.slow
def test_the_last_checkpoint_is_the_last_one_and_not_the_best(quick_config, tmp_path):
    """With a learning rate of almost zero, no epoch is better than the first."""
    few = ["trainer.limit_train_batches=2", "trainer.max_epochs=3"]
    train(quick_config(tmp_path, "model.lr=1e-30", *few))
    epochs = {
        name: Checkpoint.open(tmp_path / "checkpoints" / f"{name}.ckpt").content["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": 0, "last": 2}


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.lr=1e-5", r"model\.lr=0\.003"),
        ("split.seed=5", r"split\.seed=0"),
        ("model.backbone.layerdrop=0.5", r"model\.backbone\.layerdrop=0\.0"),
        ("data.batch_size=4", r"data\.batch_size=16"),
        ("trainer.max_epochs=2", r"trainer\.max_epochs=2"),
    ],
)
def test_a_checkpoint_of_other_settings_is_not_resumed(run, quick_config, tmp_path, override, key):
    ckpt = f"ckpt={run.output_dir}"
    with pytest.raises(UserError, match=key):
        train(quick_config(tmp_path, ckpt, "trainer.max_epochs=3", override))


@pytest.mark.slow
def test_another_precision_or_clipping_is_resumed_and_reported(run, quick_config, tmp_path, caplog):
    changed = ["trainer.precision=bf16", "trainer.gradient_clip_val=2"]
    longer = ["trainer.max_epochs=3", f"ckpt={run.output_dir}"]
    train(quick_config(tmp_path, *longer, *changed))
    assert "trainer.precision was fp32" in caplog.text
    assert "trainer.gradient_clip_val was 1.0" in caplog.text
    last = Checkpoint.open(tmp_path / "checkpoints" / "last.ckpt").content
    assert (last["epoch"], last["global_step"]) == (2, 3 * 30)


def test_an_existing_run_is_not_overwritten(run, quick_config):
    with pytest.raises(UserError, match="output_dir"):
        train(quick_config(run.output_dir))


@pytest.mark.slow
def test_changed_corpora_are_not_evaluated(run, corpora, tmp_path, write_tone):
    copy = tmp_path / "copy"
    shutil.copytree(corpora, copy)
    moved = EvaluateDataConfig(synthetic=str(copy))
    evaluate(EvaluateConfig(ckpt=str(run.checkpoint), data=moved))
    write_tone(copy / "tess" / "OAF_new_sad.wav", pitch=123)
    with pytest.raises(UserError, match=r"0 recordings gone, 1 new"):
        evaluate(EvaluateConfig(ckpt=str(run.checkpoint), data=moved))


@pytest.mark.parametrize("source", ["nothing", "."])
def test_evaluation_needs_a_checkpoint(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="ckpt"):
        evaluate(EvaluateConfig(ckpt=source))


def test_loss_falls_and_the_network_trains_in_training_mode(quick_config, tmp_path):
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


@pytest.mark.slow
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


def test_a_training_without_usable_data_lists_the_dropped_files(quick_config, tmp_path):
    with pytest.raises(UserError, match=r"data\.strict"):
        train(quick_config(tmp_path, "data.strict=true"))
    assert len(pd.read_csv(tmp_path / "dropped.csv")) == 37  # as in tests/unit/preparation


def test_a_config_from_python_trains(corpora, cache_dir, tmp_path):
    """Without Hydra, with the default callbacks."""
    architecture = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 16,
    }  # fmt: skip
    config = TrainConfig(
        output_dir=str(tmp_path / "run"),
        data=DataConfig(corpora=["savee"], synthetic=str(corpora), cache_dir=str(cache_dir)),
        split=SplitConfig(kind=SplitKind.stratified),
        model=ModelConfig(
            backbone=BackboneConfig("small", pretrained=False, architecture=architecture)
        ),
        trainer=TrainerConfig(accelerator="cpu", devices=1, max_steps=2),
        logger={"csv": CsvConfig()},
    )
    result = train(config)
    assert result.checkpoint is not None
    assert evaluate(EvaluateConfig(ckpt=str(result.output_dir))).overall.scores.utterances > 0
    stored = Checkpoint.open(result.checkpoint).metadata.config
    assert stored.model == config.model
    longer = replace(config, ckpt=str(tmp_path / "run"))
    longer.trainer = replace(config.trainer, max_steps=3)
    assert train(longer).checkpoint == result.checkpoint
    with pytest.raises(UserError, match="output_dir"):
        train(TrainConfig())


@pytest.mark.slow
def test_a_run_that_ends_within_an_epoch_is_validated_and_kept(quick_config, tmp_path):
    result = train(quick_config(tmp_path, "trainer.max_epochs=5", "trainer.max_steps=40"))
    last = Checkpoint.open(tmp_path / "checkpoints" / "last.ckpt").content
    assert last["global_step"] == 40
    assert last["val_uar"] is not None
    assert result.checkpoint is not None
    assert result.score > 0


@pytest.mark.slow
def test_another_metric_can_choose_the_best_checkpoint(quick_config, tmp_path):
    result = train(quick_config(tmp_path, "monitor=val/loss", "trainer.max_steps=2"))
    assert (result.monitor, result.checkpoint) == ("val/loss", tmp_path / "checkpoints/best.ckpt")


def test_a_dry_run_leaves_no_checkpoint(quick_config, tmp_path):
    result = train(quick_config(tmp_path, "trainer.fast_dev_run=true"))
    assert result.checkpoint is None
    assert list(tmp_path.rglob("*.ckpt")) == []


@pytest.mark.slow
def test_demographics_that_are_gone_cost_only_their_groups(quick_config, tmp_path, caplog):
    """The training looks for them where they were; they may have moved since."""
    actors = "".join(f"{1001 + n},{20 + n % 60},Male,{'AB'[n % 2]},C\n" for n in range(91))
    (tmp_path / "actors.csv").write_text(f"ActorID,Age,Sex,Race,Ethnicity\n{actors}")
    place = f"data.demographics.cremad={tmp_path / 'actors.csv'}"
    train(quick_config(tmp_path / "run", place, "trainer.max_steps=2"))
    moved = (tmp_path / "actors.csv").rename(tmp_path / "moved.csv")
    gone = evaluate(EvaluateConfig(ckpt=str(tmp_path / "run")))
    assert "data.demographics.cremad" in caplog.text
    assert set(gone.predicted.utterances["race"]) == {""}
    data = EvaluateDataConfig(demographics={"cremad": str(moved)})
    found = evaluate(EvaluateConfig(ckpt=str(tmp_path / "run"), data=data))
    table = found.predicted.utterances
    actor = (
        table.loc[table["corpus"] == "cremad", "speaker"].str.removeprefix("cremad/").astype(int)
    )
    assert table.loc[actor.index, "race"].tolist() == ["ab"[(n - 1001) % 2] for n in actor]
    assert found.overall.scores == gone.overall.scores
