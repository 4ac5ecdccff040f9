"""Composed configs: defaults, rules, deprecated keys, plain values."""

import importlib
import inspect
import json
import re
import zipfile
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from ser.config.backbone import BackboneConfig
from ser.config.data import DataConfig
from ser.config.evaluate import EvaluateConfig
from ser.config.model import Schedule
from ser.config.plain import convert, from_plain, to_plain
from ser.config.split import SplitKind
from ser.config.train import TrainConfig
from ser.corpora import CORPORA
from ser.errors import UserError

CONF = Path(__file__).parents[3] / "conf"
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "experiment")
OPTIONS = [
    f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))
]
EXPERIMENTS = [f"experiment={path.stem}" for path in sorted((CONF / "experiment").glob("*.yaml"))]


# What an option needs besides.
NEEDED = {
    "data=table": "data.table=README.md",
    "data=emodb": "data.paths.emodb=conf",
    "data=iemocap": "data.paths.iemocap=conf",
    "data=msp_podcast": "data.paths.msp_podcast=conf",
    "data=meld": "data.paths.meld=conf",
    "data=esd": "data.paths.esd=conf",
    "split=corpus": "split.held_out=[savee]",
    "split=cross_speaker": "split.test_speakers=[YAF]",
    # The sweep names them.
    "experiment=leave_one_corpus_out": "split.held_out=[savee]",
    "experiment=cross_corpus_matrix": "split.held_out=[savee]",
    "experiment=tess_cross_speaker": "split.test_speakers=[YAF]",
}


@pytest.mark.parametrize("choice", OPTIONS + EXPERIMENTS)
def test_every_file_composes(compose_config, choice):
    needed = [NEEDED[choice]] if choice in NEEDED else []
    assert isinstance(compose_config(choice, "output_dir=x", *needed), TrainConfig)


def test_the_default_is_to_finetune_xlsr53_on_all_corpora(compose_config):
    config = compose_config("output_dir=x")
    assert config.data.corpora == ["ravdess", "cremad", "tess", "savee"]
    assert config.data.synthetic is None
    assert config.data.paths == {}
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


@pytest.mark.parametrize(
    "choice", ["callbacks=default", "callbacks=average", "callbacks=quiet", "logger=csv"]
)
def test_every_target_accepts_its_settings(compose_config, choice):
    for target in targets(compose_config(choice, "output_dir=x")):
        module, _, name = target._target_.rpartition(".")
        arguments = {key: value for key, value in vars(target).items() if key != "_target_"}
        inspect.signature(getattr(importlib.import_module(module), name)).bind(**arguments)


def test_a_config_survives_as_plain_values(compose_config):
    config = compose_config("experiment=quickstart", "output_dir=x")
    stored = to_plain(config)
    assert json.loads(json.dumps(stored)) == stored
    again = from_plain(stored)
    assert to_plain(again) == stored
    assert again.model == config.model


BAD_VALUES: list[tuple[str, ...]] = [
    ("seed=-1", "seed"),
    ("output_dir=", "output_dir"),
    ("ckpt=nothing.ckpt", "ckpt"),
    ("monitor=val/foo", "monitor"),
    ("monitor=uar", "monitor"),
    ("monitor=val/recall/bored", "monitor"),
    ("data.corpora=[]", "data.corpora"),
    ("data.corpora=[tess,tess]", "data.corpora"),
    ("data.corpora=[rafdess]", "data.corpora"),
    ("data.paths.tess=/nowhere", "data.paths.tess"),
    ("data.paths.tess=", "data.paths.tess"),
    ("data.paths.emotb=/nowhere", "data.paths"),
    ("data.cache_dir=", "data.cache_dir"),
    ("data.max_seconds=0.1", "data.max_seconds"),
    ("data.max_seconds=inf", "data.max_seconds"),
    ("data.max_batch_seconds=4", "data.max_batch_seconds"),
    ("data.batch_size=0", "data.batch_size"),
    ("data.num_workers=-1", "data.num_workers"),
    ("data.augment.noise=2", "data.augment.noise"),
    ("data.augment.noise_snr=[30,5]", "data.augment.noise_snr"),
    ("data.augment.noise_folder=/nowhere", "data.augment.noise_folder"),
    ("data.augment.crop_share=1", "data.augment.crop_share"),
    ("data.augment.pitch_semitones=99", "data.augment.pitch_semitones"),
    ("model.class_weights=balanced", "data.sampling=balanced", "model.class_weights"),
    ("split.val=0", "split.val"),
    ("split.test=0.9", "split.val+split.test"),
    ("split.seed=-1", "split.seed"),
    ("split.seed=99999999999", "split.seed"),
    ("model.lr=0", "model.lr"),
    ("model.lr=inf", "model.lr"),
    ("model.lr=nan", "model.lr"),
    ("model.weight_decay=-1", "model.weight_decay"),
    ("model.weight_decay=inf", "model.weight_decay"),
    ("model.warmup_ratio=1", "model.warmup_ratio"),
    ("model.classifier_lr=0", "model.classifier_lr"),
    ("model.layer_decay=0", "model.layer_decay"),
    ("model.top_layers=0", "model.top_layers"),
    ("model=head", "model.top_layers=2", "model.top_layers"),
    ("model=lora", "model.backbone.layerdrop=0.1", "model.backbone.layerdrop"),
    ("model.compile=true", "model.backbone.layerdrop=0.1", "model.backbone.layerdrop"),
    ("model.backbone.layerdrop=1", "model.backbone.layerdrop"),
    ("model.backbone.mask_time_prob=1", "model.backbone.mask_time_prob"),
    ("model.backbone.name=FOLDER", "model.backbone.name"),
    ("model.backbone.name=a/b/c", "model.backbone.name"),
    ("model.backbone.name=a/b@main", "model.backbone.revision"),
    ("model.backbone.name=https://huggingface.co/a/b/tree/v2", "model.backbone.revision"),
    ("model.focal_gamma=-1", "model.focal_gamma"),
    ("model.mixup=-1", "model.mixup"),
    ("model.label_smoothing=2", "model.label_smoothing"),
    ("model.class_weights=even", "model.class_weights"),
    ("model.class_weights={angry: x}", "model.class_weights"),
    ("model.class_weights={angry: 1e308}", "model.class_weights"),
    ("model.class_weights={angry: -1}", "model.class_weights"),
    ("model.class_weights={bored: 2}", "model.class_weights"),
    ("model=linear", "model.class_weights={happy: 0}", "model.class_weights"),
    ("model.lora.rank=0", "model.lora.rank"),
    ("model.lora.alpha=0", "model.lora.alpha"),
    ("model.lora.dropout=1", "model.lora.dropout"),
    ("trainer.accelerator=gpuu", "trainer.accelerator"),
    ("trainer.precision=bf17", "trainer.precision"),
    ("trainer.devices=0", "trainer.devices"),
    ("trainer.devices=two", "trainer.devices"),
    ("trainer.num_nodes=0", "trainer.num_nodes"),
    ("trainer.max_epochs=0", "trainer.max_epochs"),
    ("trainer.max_epochs=-1", "trainer.max_epochs"),
    ("trainer.max_steps=0", "trainer.max_steps"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches"),
    ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val"),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch"),
    ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps"),
    ("trainer.val_check_interval=0", "trainer.val_check_interval"),
    ("trainer.val_check_interval=1.5", "trainer.val_check_interval"),
    ("trainer.limit_train_batches=foo", "trainer.limit_train_batches"),
    ("trainer.limit_train_batches=0", "trainer.limit_train_batches"),
    ("trainer.limit_train_batches=5.0", "trainer.limit_train_batches"),
    ("trainer.limit_val_batches=-1", "trainer.limit_val_batches"),
    ("trainer.fast_dev_run=yes1", "trainer.fast_dev_run"),
    ("callbacks.checkpoint.monitor=val/foo", "callbacks.checkpoint.monitor"),
    ("callbacks.early_stopping.monitor=uar", "callbacks.early_stopping.monitor"),
    ("callbacks.early_stopping.monitor=val/f1/bored", "callbacks.early_stopping.monitor"),
    ("callbacks.early_stopping.mode=maximum", "callbacks.early_stopping.mode"),
    ("callbacks.last_checkpoint.every_steps=0", "callbacks.last_checkpoint.every_steps"),
    ("callbacks.guards.patience=0", "callbacks.guards.patience"),
    ("callbacks.monitoring.worst_errors=-1", "callbacks.monitoring.worst_errors"),
    ("~logger.tensorboard", "callbacks.learning_rate"),
    ("logger.tensorboard=null", "callbacks.learning_rate"),
    ("+model.foo=1", "model.foo"),
    ("+callbacks.guards.patienc=1", "callbacks.guards.patienc"),
]


@pytest.fixture(scope="module")
def default(compose_config) -> DictConfig:
    """The default config before it is converted; composing takes most of the time of a test."""
    return compose_config("output_dir=x", convert=False)


@pytest.mark.parametrize("case", BAD_VALUES, ids=lambda case: " ".join(case[:-1]))
def test_a_bad_value_is_an_error_that_names_the_full_key(compose_config, default, case):
    *overrides, key = case

    def compose() -> None:
        if any(each.startswith(("+", "~", "model=")) for each in overrides):
            compose_config(*overrides, "output_dir=x")
        config = default.copy()
        for each in OverridesParser.create().parse_overrides(overrides):
            OmegaConf.update(config, each.key_or_group, each.value())
        convert(config, TrainConfig)

    with pytest.raises(UserError, match=re.escape(key)):
        compose()


def test_a_message_names_the_value_the_rule_and_a_likely_name(compose_config):
    with pytest.raises(UserError) as caught:
        compose_config("data.corpora=[rafdess]", "output_dir=x")
    message = str(caught.value)
    assert message.startswith("data.corpora=rafdess: ")
    assert message.endswith("did you mean ravdess?")
    assert all(name in message for name in CORPORA)


@pytest.mark.parametrize(
    "monitor", ["val/uar", "val/loss", "val/accuracy", "val/macro_f1", "val/recall/sad"]
)
def test_every_metric_can_be_monitored(compose_config, monitor):
    config = compose_config(f"monitor={monitor}", "output_dir=x")
    assert config.monitor == monitor


def test_the_metric_of_a_class_of_the_user_can_be_monitored(compose_config):
    own = ["data=table", "data.table=README.md", "data.labels=[happy,sad,bored]"]
    assert compose_config(*own, "monitor=val/recall/bored", "output_dir=x")


BACKBONES = [path.stem for path in sorted((CONF / "backbone").glob("*.yaml"))]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_random_weights_keep_the_name_of_their_architecture(compose_config, backbone):
    """`backbone=tiny model.backbone.name=FOLDER` would train the tiny network as FOLDER."""
    random = [f"backbone={backbone}", "model.backbone.pretrained=false", "output_dir=x"]
    config = compose_config(*random).model.backbone
    assert config.architecture["name_or_path"] == config.name
    for name in (str(CONF), "owner/name", "other"):
        with pytest.raises(UserError, match=r"model\.backbone\.name"):
            replace(config, name=name).check_files()


def test_a_folder_can_name_its_own_architecture_or_its_weights(compose_config):
    name = f"model.backbone.name={CONF}"
    loaded = compose_config("backbone=tiny", "model.backbone.pretrained=true", name, "output_dir=x")
    assert loaded.model.backbone.pretrained
    BackboneConfig(str(CONF), pretrained=False).check_files()
    with pytest.raises(UserError, match=r"model\.backbone\.name"):
        BackboneConfig(str(CONF), pretrained=False, architecture={"hidden_size": 8}).check_files()


DEPRECATED = [
    ("split.from=conf/train.yaml", "split.manifest", "conf/train.yaml"),
    ("split.reuse=conf/train.yaml", "split.manifest", "conf/train.yaml"),
    ("trainer.use_distributed_sampler=false", None, None),
    ("trainer.logger=false", None, None),
    ("trainer.callbacks=[]", None, None),
    ("trainer.sync_batchnorm=true", None, None),
    ("trainer.gradient_clip_algorithm=norm", None, None),
    ("trainer.overfit_batches=0", None, None),
    ("callbacks.guards._target_=ser.guards.Guards", "callbacks.guards._target_",
     "ser.training.callbacks.guards.Guards"),
    ("callbacks.monitoring._target_=ser.monitoring.Monitoring", "callbacks.monitoring._target_",
     "ser.training.callbacks.monitoring.Monitoring"),
    ("callbacks.last_checkpoint._target_=ser.last_checkpoint.LastCheckpoint",
     "callbacks.last_checkpoint._target_",
     "ser.training.callbacks.last_checkpoint.LastCheckpoint"),
]  # fmt: skip


@pytest.mark.parametrize(
    "override",
    ["split.held_out=[savee]", "split.test_speakers=[YAF]", "split.train_speakers=[OAF]",
     "split.fold=2", "split.folds=3"],
)  # fmt: skip
def test_a_setting_of_another_split_is_refused(compose_config, override):
    with pytest.raises(UserError, match=override.partition("=")[0].replace(".", r"\.")):
        compose_config(override, "output_dir=x")


def test_published_folds_have_a_number_of_their_own(compose_config):
    published = ("data=ravdess", "split=folds", "split.scheme=emobox", "output_dir=x")
    assert compose_config(*published).split.folds == 5
    with pytest.raises(UserError, match=r"split\.folds"):
        compose_config(*published, "split.folds=3")


@pytest.mark.parametrize(
    "override",
    ["callbacks.checkpoint.filename=last", "callbacks.checkpoint.save_top_k=2",
     "callbacks.checkpoint.dirpath=elsewhere", "callbacks.last_checkpoint.dirpath=elsewhere"],
)  # fmt: skip
def test_checkpoints_are_where_the_other_commands_look_for_them(compose_config, override):
    with pytest.raises(UserError, match=override.partition("=")[0]):
        compose_config(override, "output_dir=x").check_files()


def test_the_place_of_the_checkpoints_may_be_typed(compose_config):
    compose_config("callbacks.checkpoint.dirpath=x/checkpoints", "output_dir=x").check_files()


def test_settings_that_a_fitted_head_ignores_are_listed(compose_config):
    settings = ["model.label_smoothing=0.1", "data.sampling=balanced", "data.augment.noise=0.5"]
    found = compose_config("model=linear", *settings, "output_dir=x").ignored_by_fit
    assert found == ["model.label_smoothing", "data.sampling=balanced", "data.augment.noise"]
    assert compose_config("model=head", *settings, "output_dir=x").ignored_by_fit == []


def test_ignored_settings_of_a_fitted_head_exclude_nothing(compose_config):
    ignored = ("data.sampling=balanced", "data.augment.noise=0.5")
    config = compose_config("model=linear", "model.class_weights=balanced", *ignored)
    assert config.reuses_hidden_states
    assert not compose_config("model=head", "data.augment.noise=0.5").reuses_hidden_states


@pytest.mark.parametrize("name", ["bad name", "nowhere"])
def test_a_name_of_no_backbone_is_refused_as_such(compose_config, name):
    with pytest.raises(UserError) as refused:
        compose_config("backbone=tiny", f"model.backbone.name={name}", "output_dir=x").check_files()
    assert "pretrained" not in str(refused.value)


@pytest.mark.parametrize(("override", "key", "value"), DEPRECATED)
def test_a_deprecated_key_still_works_and_logs_a_message(
    compose_config, caplog, monkeypatch, override, key, value
):
    monkeypatch.chdir(CONF.parent)
    config = compose_config(override, "output_dir=x")
    assert override.partition("=")[0] in caplog.text
    for name in key.split(".") if key else []:
        config = config[name] if isinstance(config, dict) else getattr(config, name)
    assert config == value or key is None


@pytest.mark.parametrize(
    "override",
    [
        "trainer.use_distributed_sampler=true",
        "trainer.gradient_clip_algorithm=value",
        "trainer.overfit_batches=2",
    ],
)
def test_an_unsupported_option_is_an_error_with_a_reason(compose_config, override):
    with pytest.raises(UserError, match=override.partition("=")[0]):
        compose_config(override, "output_dir=x")


@pytest.mark.parametrize("text", ["a${b}c", r"\${x} ${oc.env:HOME}", r"C:\a\${b}" + "\\", "${"])
def test_plain_values_are_never_resolved(text):
    config = TrainConfig(output_dir=text, data=DataConfig(cache_dir=text))
    again = from_plain(to_plain(config))
    assert (again.output_dir, again.data.cache_dir) == (text, text)


def test_settings_of_other_versions_are_filled_in_or_ignored():
    plain = to_plain(TrainConfig(output_dir="x", seed=3))
    del plain["monitor"], plain["data"]["max_seconds"]
    plain["split"]["reuse"], plain["model"]["removed"] = "manifest.csv", 1
    again = from_plain(plain)
    assert (again.seed, again.monitor, again.data.max_seconds) == (3, "val/uar", 8.0)
    assert again.split.manifest == "manifest.csv"


@pytest.mark.parametrize("plain", ["none", [1], None, {}, {"output_dir": "x", "data": 5}])
def test_values_that_are_no_settings_are_an_error(plain):
    with pytest.raises(UserError):
        from_plain(plain)


def test_a_config_from_python_has_the_defaults_of_the_command_line(compose_config):
    composed = to_plain(compose_config("output_dir=x", "data.cache_dir='~/.cache/ser'"))
    del composed["model"]["backbone"]["architecture"]
    plain = to_plain(TrainConfig(output_dir="x"))
    del plain["model"]["backbone"]["architecture"]
    # Only the group model=full, which the command line starts from, has a rate for the classifier.
    assert composed["model"].pop("classifier_lr") == 3e-4
    assert plain["model"].pop("classifier_lr") is None
    assert plain == composed


def test_a_checkpoint_or_a_run_folder_can_be_evaluated(compose_config, tmp_path):
    (tmp_path / "best.ckpt").touch()
    for ckpt in (tmp_path, tmp_path / "best.ckpt"):
        compose_config(f"ckpt={ckpt}", name="evaluate", kind=EvaluateConfig)
    with pytest.raises(UserError, match="ckpt"):
        compose_config(f"ckpt={tmp_path}/none", name="evaluate", kind=EvaluateConfig)


@pytest.mark.parametrize("key", ["label_map", "data.label_map"])
@pytest.mark.parametrize("form", ["{anger: angry}", '"{anger: angry}"', "FILE"])
def test_an_evaluation_takes_a_label_map_in_every_form(compose_config, tmp_path, key, form):
    (tmp_path / "map.yaml").write_text("anger: angry\n")
    override = f"{key}={form.replace('FILE', str(tmp_path / 'map.yaml'))}"
    given = [f"ckpt={tmp_path}", f"data_from={tmp_path}", override]
    config = compose_config(*given, name="evaluate", kind=EvaluateConfig)
    found = config.data.label_map if key.startswith("data") else config.label_map
    assert found == {"anger": "angry"}


def test_an_evaluation_takes_the_corpora_and_copies_that_training_takes(
    compose_config, tmp_path, monkeypatch
):
    with zipfile.ZipFile(tmp_path / "savee.zip", "w") as archive:
        archive.writestr("a.wav", b"")
    monkeypatch.setattr("ser.corpora.installed_names", lambda: ["birds"])
    copies = [f"data.paths.savee={tmp_path / 'savee.zip'}", f"data.paths.birds={tmp_path}"]
    given = [f"ckpt={tmp_path}", "data.corpora=[birds,savee]", *copies]
    config = compose_config(*given, name="evaluate", kind=EvaluateConfig)
    assert config.data.corpora == ["birds", "savee"]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.corpora=[tes]", "data.corpora=tes"),
        ("data.paths.tes=x", "data.paths=tes"),
        ("data.paths.tess=/nowhere", "data.paths.tess=/nowhere"),
        ("data.label_map=gone.yaml", "data.label_map=gone.yaml"),
    ],
)
def test_a_bad_value_of_an_evaluation_names_its_key(compose_config, tmp_path, override, key):
    with pytest.raises(UserError, match=f"^{re.escape(key)}"):
        compose_config(f"ckpt={tmp_path}", override, name="evaluate", kind=EvaluateConfig)


def test_a_folder_that_is_not_used_need_not_exist(compose_config):
    config = compose_config("data=ravdess", "data.paths.tess=/nowhere", "output_dir=x")
    assert config.data.corpora == ["ravdess"]


def test_the_default_trainer_states_only_what_differs():
    default = yaml.safe_load((CONF / "trainer" / "auto.yaml").read_text())
    assert set(chain(default)) == {"accelerator"}


def test_a_cut_zip_file_is_told_from_a_missing_one(tmp_path):
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 and nothing else")
    for name, words in (("cut.zip", "download it again"), ("none.zip", "no such folder")):
        with pytest.raises(UserError, match=words):
            DataConfig(paths={"ravdess": str(tmp_path / name)}).check_copy("ravdess")
