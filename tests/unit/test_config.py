import importlib
import inspect
import json
from itertools import chain
from pathlib import Path

import pytest
import yaml

from ser.compose import from_plain, to_plain
from ser.config import TrainConfig
from ser.data_config import SplitKind
from ser.model_config import Schedule

CONF = Path(__file__).parents[2] / "conf"
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "experiment")
OPTIONS = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))
]
EXPERIMENTS = [f"experiment={path.stem}" for path in sorted((CONF / "experiment").glob("*.yaml"))]


# What an option cannot do without.
NEEDED = {
    "data=table": "data.table=README.md",
    "split=corpus": "split.held_out=[savee]",
    "experiment=leave_one_corpus_out": "split.held_out=[savee]",  # the sweep names them
}


@pytest.mark.parametrize("choice", OPTIONS + EXPERIMENTS)
def test_every_file_composes(compose_config, choice):
    needed = [NEEDED[choice]] if choice in NEEDED else []
    assert isinstance(compose_config(choice, "output_dir=x", *needed), TrainConfig)


def test_the_default_is_the_mission(compose_config):
    config = compose_config("output_dir=x")
    assert config.data.corpora == ["ravdess", "cremad", "tess", "savee"]
    assert config.data.synthetic is None
    assert set(config.data.paths.values()) == {None}
    assert (config.split.kind, config.split.val, config.split.test) == (
        SplitKind.stratified,
        0.2,
        0.1,
    )
    assert config.model.backbone.name == "facebook/wav2vec2-large-xlsr-53"
    assert config.model.backbone.pretrained
    assert config.model.freeze_feature_encoder
    assert config.model.schedule == Schedule.linear
    assert config.model.warmup_ratio == 0.1
    assert (config.trainer.accelerator, config.trainer.precision) == ("auto", "auto")


def test_groups_and_settings_can_be_chosen_together(compose_config):
    config = compose_config(
        "data=ravdess",
        "backbone=wav2vec2_base",
        "trainer.devices=1",
        "model.lr=1e-5",
        "output_dir=x",
    )
    assert config.data.corpora == ["ravdess"]
    assert config.model.backbone.name == "facebook/wav2vec2-base"
    assert (config.trainer.devices, config.model.lr) == (1, 1e-5)


def targets(config: TrainConfig) -> list:
    return [config.trainer, *config.callbacks.values(), *config.logger.values()]


@pytest.mark.parametrize("choice", ["callbacks=default", "callbacks=quiet", "logger=csv"])
def test_every_target_binds(compose_config, choice):
    for target in targets(compose_config(choice, "output_dir=x")):
        module, _, name = target._target_.rpartition(".")
        arguments = {key: value for key, value in vars(target).items() if key != "_target_"}
        inspect.signature(getattr(importlib.import_module(module), name)).bind(**arguments)


def test_a_configuration_survives_as_plain_values(compose_config):
    config = compose_config("experiment=quickstart", "output_dir=x")
    stored = to_plain(config)
    assert json.loads(json.dumps(stored)) == stored
    again = from_plain(stored)
    assert to_plain(again) == stored
    assert again.model == config.model
    assert from_plain(stored, {"data": {"batch_size": 3}}).data.batch_size == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.lr=0", r"model\.lr=0\.0"),
        ("model.weight_decay=-1", r"model\.weight_decay=-1"),
        ("model.warmup_ratio=1", r"model\.warmup_ratio=1"),
        ("model.classifier_lr=0", r"model\.classifier_lr=0"),
        ("model.layer_decay=0", r"model\.layer_decay=0"),
        ("model.top_layers=0", r"model\.top_layers=0"),
        (["model=head", "model.top_layers=2"], r"model\.top_layers=2: model=head trains no layer"),
        (
            ["model=lora", "model.backbone.layerdrop=0.1"],
            r"model\.backbone\.layerdrop=0\.1: skipping",
        ),
        ("model.focal_gamma=-1", r"model\.focal_gamma=-1"),
        ("model.mixup=-1", r"model\.mixup=-1"),
        ("model.class_weights=even", r"model\.class_weights=even: balanced, or a weight"),
        ("model.class_weights={angry: x}", r"model\.class_weights=.*: balanced, or a weight"),
        ("model.class_weights={bored: 2}", r"model\.class_weights=bored: is none of the classes"),
        (
            ["model.class_weights=balanced", "data.sampling=balanced"],
            r"data\.sampling=balanced already corrects",
        ),
        ("data.augment.noise=2", r"data\.augment\.noise=2\.0: a probability"),
        ("data.augment.noise_snr=[30,5]", r"data\.augment\.noise_snr=\[30\.0, 5\.0\]"),
        ("data.augment.noise_folder=/nowhere", r"data\.augment\.noise_folder=/nowhere: no such"),
        ("data.augment.crop_share=1", r"data\.augment\.crop_share=1"),
        ("data.augment.pitch_semitones=99", r"data\.augment\.pitch_semitones=99"),
        ("model.lora.rank=0", r"model\.lora\.rank=0"),
        ("model.lora.alpha=0", r"model\.lora\.alpha=0"),
        ("model.lora.dropout=1", r"model\.lora\.dropout=1"),
        ("model.label_smoothing=2", r"model\.label_smoothing=2"),
        ("model.backbone.name=a/b/c", r"model\.backbone\.name=a/b/c: neither a folder"),
        ("model.lr=inf", r"model\.lr=inf"),
        ("model.lr=nan", r"model\.lr=nan"),
        ("model.weight_decay=inf", r"model\.weight_decay=inf"),
        ("data.paths.tess=", r"data\.paths\.tess=: no such folder"),
        ("data.max_seconds=inf", r"data\.max_seconds=inf"),
        ("data.cache_dir=", r"data\.cache_dir='': name a folder"),
        ("split.seed=99999999999", r"split\.seed=99999999999"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0"),
        ("trainer.max_steps=0", r"trainer\.max_steps=0"),
        ("trainer.check_val_every_n_epoch=0", r"trainer\.check_val_every_n_epoch=0"),
        ("trainer.val_check_interval=0", r"trainer\.val_check_interval=0"),
        ("trainer.limit_train_batches=foo", r"trainer\.limit_train_batches=foo"),
        ("trainer.limit_train_batches=0", r"trainer\.limit_train_batches=0: above 0"),
        ("trainer.fast_dev_run=yes1", r"trainer\.fast_dev_run=yes1"),
        ("callbacks.checkpoint.monitor=val/foo", r"callbacks\.checkpoint\.monitor=val/foo"),
        ("callbacks.early_stopping.monitor=uar", r"callbacks\.early_stopping\.monitor=uar"),
        ("callbacks.early_stopping.mode=maximum", r"callbacks\.early_stopping\.mode=maximum"),
        ("~logger.tensorboard", r"callbacks\.learning_rate needs a logger"),
        ("model.backbone.name=FOLDER", r"model\.backbone\.name=FOLDER: neither a folder"),
        ("model.backbone.layerdrop=1", r"model\.backbone\.layerdrop=1"),
        ("split.val=0", r"split\.val=0"),
        ("split.test=0.9", r"split\.val\+split\.test=1\.1"),
        ("split.seed=-1", r"split\.seed=-1"),
        ("seed=-1", r"seed=-1"),
        ("ckpt=nothing.ckpt", r"ckpt=nothing\.ckpt: no such file"),
        ("data.corpora=[]", r"data\.corpora=\[\]"),
        ("data.corpora=[tess,tess]", r"data\.corpora=.*twice"),
        ("data.corpora=[rafdess]", r"data\.corpora=rafdess: there is only .*did you mean ravdess"),
        ("data.paths.tess=/nowhere", r"data\.paths\.tess=/nowhere: no such folder"),
        ("+data.paths.emodb=/nowhere", r"data\.paths=emodb: there is only ravdess"),
        ("data.max_seconds=0.1", r"data\.max_seconds=0\.1"),
        (
            "data.max_batch_seconds=4",
            r"data\.max_batch_seconds=4\.0: null, or at least data\.max_sec",
        ),
        (
            "callbacks.last_checkpoint.every_steps=0",
            r"last_checkpoint\.every_steps=0: above 0, or null",
        ),
        ("callbacks.guards.patience=0", r"callbacks\.guards\.patience=0"),
        ("callbacks.monitoring.worst_errors=-1", r"callbacks\.monitoring\.worst_errors=-1"),
        ("data.batch_size=0", r"data\.batch_size=0"),
        ("data.num_workers=-1", r"data\.num_workers=-1"),
        ("trainer.accelerator=gpuu", r"trainer\.accelerator=gpuu"),
        ("trainer.precision=bf17", r"trainer\.precision=bf17"),
        ("trainer.devices=0", r"trainer\.devices=0"),
        ("trainer.devices=two", r"trainer\.devices=two"),
        ("trainer.max_epochs=-1", r"trainer\.max_epochs=-1: model\.schedule=linear needs an end"),
        ("trainer.accumulate_grad_batches=0", r"trainer\.accumulate_grad_batches=0"),
        ("trainer.gradient_clip_val=0", r"trainer\.gradient_clip_val=0"),
        ("+model.foo=1", r"model\.foo is no setting"),
        (
            "+callbacks.early_stopping.patienc=1",
            r"patienc is no setting; did you mean callbacks\.early_stopping\.patience",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_full_key(compose_config, override, message):
    with pytest.raises(ValueError, match=message):
        compose_config(*([override] if isinstance(override, str) else override), "output_dir=x")


def test_a_folder_that_is_not_used_need_not_exist(compose_config):
    config = compose_config("data=ravdess", "data.paths.tess=/nowhere", "output_dir=x")
    assert config.data.corpora == ["ravdess"]


def test_yaml_files_are_short_and_state_only_differences():
    for path in CONF.rglob("*.yaml"):
        assert len(path.read_text().splitlines()) < 25, path
    default = yaml.safe_load((CONF / "trainer" / "auto.yaml").read_text())
    assert set(chain(default)) == {"accelerator"}
