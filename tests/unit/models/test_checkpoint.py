"""Checkpoints: what they hold, and one UserError for each that is damaged or crafted."""

import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import Attack

from ser.config.data import DataConfig
from ser.config.model import Mode
from ser.config.train import TrainConfig
from ser.corpora.emotions import LABELS
from ser.errors import UserError
from ser.inference.load import load_checkpoint
from ser.models.build import plain
from ser.models.checkpoint import SCHEMA, Checkpoint, CheckpointMetadata, run_folder
from ser.models.families.registry import FAMILIES
from ser.training.resume import find_resume_point


@pytest.fixture
def content(make_network, make_model) -> dict[str, Any]:
    """What a checkpoint of a tiny network holds."""
    network = make_network()
    metadata = CheckpointMetadata(
        config=TrainConfig(output_dir="x", model=make_model(), data=DataConfig(max_seconds=5)),
        labels=LABELS,
        sample_rate=16_000,
        network=plain(network.config),
        feature_extractor=plain(FAMILIES["wav2vec2"].feature_extractor()),
        manifest="fingerprint",
    )
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {
        "hyper_parameters": metadata.to_plain(),
        "state_dict": weights,
        "temperature": 1.5,
        "val_uar": 0.25,
    }


@pytest.fixture
def save(tmp_path):
    def save(content: Any) -> Path:
        torch.save(content, tmp_path / "x.ckpt")
        return tmp_path / "x.ckpt"

    return save


def load(path: Path) -> None:
    load_checkpoint(Checkpoint.open(path))


def test_what_was_saved_is_read(content, save, make_network):
    opened = Checkpoint.open(save(content))
    assert opened.metadata.labels == LABELS
    assert opened.metadata.config.data.max_seconds == 5
    assert opened.metadata.schema == SCHEMA
    assert (opened.validation.temperature, opened.validation.uar) == (1.5, 0.25)
    network, waveforms = opened.load_network(), torch.randn(1, 8000)
    assert not any(module.training for module in network.modules())
    expected = make_network().eval()
    torch.testing.assert_close(network(waveforms).logits, expected(waveforms).logits)
    assert CheckpointMetadata.from_plain(opened.metadata.to_plain()) == opened.metadata


def test_every_family_can_be_restored(kind, make_network, content, save, make_model):
    network = make_network(kind)
    known = content["hyper_parameters"]
    known |= {"network": plain(network.config)}
    known["feature_extractor"] = plain(FAMILIES[kind["model_type"]].feature_extractor())
    content["state_dict"] = {f"network.{k}": v for k, v in network.state_dict().items()}
    model = load_checkpoint(Checkpoint.open(save(content)))
    waveforms = torch.randn(2, 8000)
    with torch.no_grad():
        expected = network.eval()(waveforms).logits
        torch.testing.assert_close(model.network(waveforms).logits, expected)
    assert model.normalizes == (kind["model_type"] not in ("whisper", "wav2vec2-bert"))
    assert model.max_seconds == 5


def test_half_precision_weights_are_restored_in_full_precision(content, save):
    content["state_dict"] = {k: v.bfloat16() for k, v in content["state_dict"].items()}
    network = Checkpoint.open(save(content)).load_network()
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_a_setting_that_did_not_exist_takes_its_default(content, save):
    known = content["hyper_parameters"]
    del known["schema"], known["config"]["data"]["max_seconds"], known["config"]["monitor"]
    known["config"]["trainer"]["removed"] = 1
    opened = Checkpoint.open(save(content))
    assert opened.metadata.schema == 1
    assert opened.metadata.config.data.max_seconds == DataConfig().max_seconds


def test_a_checkpoint_without_validation_results_has_none(content, save):
    del content["temperature"], content["val_uar"]
    validation = Checkpoint.open(save(content)).validation
    assert (validation.temperature, validation.uar) == (None, None)


def test_nan_weights_are_an_error_that_names_them(content, save):
    content["state_dict"]["network.classifier.bias"][2] = float("nan")
    with pytest.raises(UserError, match=r"x\.ckpt.*classifier\.bias"):
        load(save(content))


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.uint8])
def test_weights_that_are_not_floating_point_are_refused(content, save, kind):
    weights = content["state_dict"]
    weights["network.classifier.weight"] = weights["network.classifier.weight"].to(kind)
    with pytest.raises(UserError, match=r"x\.ckpt"):
        load(save(content))


@pytest.mark.parametrize("layers", ["x", [99], [-1], ["1"], 3, None])
def test_joined_layers_that_the_network_lacks_are_refused(content, save, layers):
    content["hyper_parameters"]["network"]["join_layers"] = layers
    with pytest.raises(UserError, match=r"x\.ckpt"):
        load(save(content))


def drop(content: dict[str, Any], *keys: str) -> None:
    *parents, last = keys
    for key in parents:
        content = content[key]
    del content[last]


DAMAGES: dict[str, Any] = {
    "five labels for eight outputs": lambda c: c["hyper_parameters"].update(labels=["a"] * 5),
    "two labels are the same": lambda c: c["hyper_parameters"].update(
        labels=[LABELS[0], *LABELS[:-1]]
    ),
    "labels are numbers": lambda c: c["hyper_parameters"].update(labels=[*range(len(LABELS))]),
    "a label is empty": lambda c: c["hyper_parameters"].update(labels=["", *LABELS[1:]]),
    "labels are a number": lambda c: c["hyper_parameters"].update(labels=5),
    "no metadata": lambda c: drop(c, "hyper_parameters"),
    "metadata are a word": lambda c: c.update(hyper_parameters="none"),
    "no settings": lambda c: drop(c, "hyper_parameters", "config"),
    "settings are a word": lambda c: c["hyper_parameters"].update(config="none"),
    "settings are a list": lambda c: c["hyper_parameters"].update(config=[1]),
    "data settings are a word": lambda c: c["hyper_parameters"]["config"].update(data="none"),
    "a setting of the wrong type": lambda c: c["hyper_parameters"]["config"]["data"].update(
        max_seconds="long"
    ),
    "a setting out of range": lambda c: c["hyper_parameters"]["config"]["data"].update(
        max_seconds=-1
    ),
    "no network": lambda c: drop(c, "hyper_parameters", "network"),
    "an unknown family": lambda c: c["hyper_parameters"]["network"].update(model_type="bert"),
    "an unsupported family": lambda c: c["hyper_parameters"]["network"].update(model_type="sew"),
    "a family that does not exist": lambda c: c["hyper_parameters"]["network"].update(
        model_type="x"
    ),
    "a size of the wrong type": lambda c: c["hyper_parameters"]["network"].update(hidden_size="x"),
    "a size that does not divide": lambda c: c["hyper_parameters"]["network"].update(
        num_attention_heads=5
    ),
    "no heads": lambda c: c["hyper_parameters"]["network"].update(num_attention_heads=0),
    "a negative size": lambda c: c["hyper_parameters"]["network"].update(hidden_size=-3),
    "no convolutions": lambda c: c["hyper_parameters"]["network"].update(conv_dim=[]),
    "an unknown pooling": lambda c: c["hyper_parameters"]["network"].update(pooling="max"),
    "no feature extractor": lambda c: drop(c, "hyper_parameters", "feature_extractor"),
    "a feature extractor of the wrong type": lambda c: c["hyper_parameters"].update(
        feature_extractor="none"
    ),
    "a missing weight": lambda c: drop(c, "state_dict", "network.classifier.bias"),
    "an unknown weight": lambda c: c["state_dict"].update({"network.x": torch.zeros(1)}),
    "a weight of another shape": lambda c: c["state_dict"].update(
        {"network.classifier.bias": torch.zeros(5)}
    ),
    "a weight that is no tensor": lambda c: c["state_dict"].update(
        {"network.classifier.bias": "x"}
    ),
    "no weights": lambda c: drop(c, "state_dict"),
    "weights are a list": lambda c: c.update(state_dict=[1, 2]),
    "a temperature of zero": lambda c: c.update(temperature=0.0),
    "a temperature that is no number": lambda c: c.update(temperature=float("nan")),
    "a temperature that is a word": lambda c: c.update(temperature="warm"),
    "a list": lambda c: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_one_error_that_names_it(content, save, damage):
    DAMAGES[damage](content)
    with pytest.raises(UserError, match=r"x\.ckpt"):
        load(save([content] if damage == "a list" else content))


def test_adapters_that_are_missing_are_an_error(content, save):
    content["hyper_parameters"]["config"]["model"]["mode"] = str(Mode.lora)
    load(save(content))  # nothing to merge
    content["state_dict"]["network.classifier.base_layer.weight"] = torch.zeros(8, 24)
    with pytest.raises(UserError):
        load(save(content))


def test_a_newer_schema_is_an_error_that_says_so(content, save):
    content["hyper_parameters"]["schema"] = SCHEMA + 1
    with pytest.raises(UserError, match="newer version"):
        load(save(content))


@pytest.mark.parametrize("junk", [b"", b"not a checkpoint", b"PK\x03\x04 broken archive"])
def test_another_file_is_an_error(tmp_path, junk):
    (tmp_path / "x.ckpt").write_bytes(junk)
    with pytest.raises(UserError, match=r"x\.ckpt"):
        Checkpoint.open(tmp_path / "x.ckpt")


def test_a_missing_file_or_a_folder_is_an_error(tmp_path):
    for path in (tmp_path / "nothing.ckpt", tmp_path):
        with pytest.raises(UserError, match=path.name):
            Checkpoint.open(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_an_error(content, save, share):
    path = save(content)
    path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"x\.ckpt"):
        Checkpoint.open(path)


def test_every_flipped_bit_of_a_weight_or_a_setting_is_found(content, save):
    path = save(content)
    whole = path.read_bytes()
    weight = content["state_dict"]["network.projector.weight"].numpy().tobytes()
    for place in (whole.index(weight) + 100, whole.index(b"max_seconds") + 5):
        changed = bytearray(whole)
        changed[place] ^= 4
        path.write_bytes(changed)
        with pytest.raises(UserError, match="checksum"):
            Checkpoint.open(path)


def test_every_storage_is_as_long_as_its_tensor(content, save, tmp_path):
    """A shorter one has a correct checksum, and torch would read on into the next tensor."""
    with zipfile.ZipFile(save(content)) as whole:
        entries = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    storages = [name for name in entries if "/data/" in name]
    assert len(storages) > 20
    for name in storages:
        cut = tmp_path / "cut.ckpt"
        with zipfile.ZipFile(cut, "w", zipfile.ZIP_STORED) as archive:
            for each, data in entries.items():
                archive.writestr(each, data[: len(data) // 2] if each == name else data)
        with pytest.raises(UserError, match=f"{name} is shorter"):
            Checkpoint.open(cut)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", -1), ("num_hidden_layers", 10**9), ("num_labels", 10**9),
        ("hidden_dropout", float("nan")), ("attention_dropout", 1.5), ("conv_stride", [0] * 7),
        ("conv_stride", [10**9] * 7), ("layer_norm_eps", float("inf")),
    ],
)  # fmt: skip
def test_numbers_that_no_network_has_are_refused_at_once(content, save, key, value):
    content["hyper_parameters"]["network"][key] = value
    with pytest.raises(UserError, match=key):
        load_checkpoint(Checkpoint.open(save(content)))


@pytest.mark.parametrize(
    ("key", "value"),
    [("threshold", float("nan")), ("threshold", 2.0), ("threshold", -1), ("val_uar", 5.0),
     ("temperature", 0.0)],
)  # fmt: skip
def test_impossible_validation_results_are_damage(content, save, key, value):
    with pytest.raises(UserError, match=key.removeprefix("val_")):
        load_checkpoint(Checkpoint.open(save(content | {key: value})))


@pytest.mark.parametrize("key", ["callbacks", "hyper_parameters", "state_dict"])
def test_code_in_a_checkpoint_does_not_run(content, save, tmp_path, key):
    with pytest.raises(UserError):
        Checkpoint.open(save(content | {key: Attack(tmp_path / "ran")}))
    (tmp_path / "bare.ckpt").write_bytes(pickle.dumps(Attack(tmp_path / "ran")))
    with pytest.raises(UserError):
        Checkpoint.open(tmp_path / "bare.ckpt")
    assert not (tmp_path / "ran").exists()


def test_the_run_folder_of_a_checkpoint(tmp_path):
    assert run_folder(tmp_path / "run" / "checkpoints" / "best.ckpt") == tmp_path / "run"
    assert run_folder(tmp_path / "elsewhere.ckpt") == tmp_path


def test_metadata_are_not_changed_by_a_round_trip_of_other_settings(content):
    metadata = CheckpointMetadata.from_plain(content["hyper_parameters"])
    other = replace(metadata, config=replace(metadata.config, seed=7))
    assert CheckpointMetadata.from_plain(other.to_plain()).config.seed == 7


def test_a_checkpoint_knows_where_training_stopped():
    """Before, within and at the end of an epoch."""

    def content(ready: int, done: int, batches: int, last: bool) -> dict[str, Any]:
        progress = {"current": {"ready": ready, "processed": done}}
        batch = {"current": {"processed": batches}, "is_last_batch": last}
        loops = {"epoch_progress": progress, "epoch_loop.batch_progress": batch}
        return {"loops": {"fit_loop": loops}}

    assert vars(find_resume_point(content(2, 2, 9, True))) == {"epoch": 2, "batches": 0}
    assert vars(find_resume_point(content(2, 1, 9, True))) == {"epoch": 2, "batches": 0}
    assert vars(find_resume_point(content(2, 1, 4, False))) == {"epoch": 1, "batches": 4}


def test_an_unknown_compression_in_the_directory_is_damage(content, save):
    """One flipped bit makes a stored entry a compressed one."""
    path = save(content)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the last entry of the directory
    assert data[entry + 10] == 0  # stored
    data[entry + 10] = 8  # deflate
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        Checkpoint.open(path)
