import pytest

from ser.config.evaluate import EvaluateConfig
from ser.config.keys import SYNONYMS, known_keys, suggest_key
from ser.config.train import TrainConfig


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("model.learning_rate", "model.lr"),
        ("lr", "model.lr"),
        ("model.lrr", "model.lr"),
        ("batch_size", "data.batch_size"),
        ("model.batch_size", "data.batch_size"),
        ("epochs", "trainer.max_epochs"),
        ("trainer.epochs", "trainer.max_epochs"),
        ("trainer.max_epoch", "trainer.max_epochs"),
        ("trainer.device", "trainer.devices"),
        ("early_stopping.patience", "callbacks.early_stopping.patience"),
        ("data.path.tess", "data.paths"),
        ("modle", "model"),
        ("resume_from_checkpoint", "ckpt"),
    ],
)
def test_the_intended_key_is_suggested(typed, meant):
    assert f" {meant}?" in suggest_key(typed)


def test_nothing_is_suggested_for_an_unrelated_word():
    assert suggest_key("zzzzz") == ""


def test_only_keys_of_the_command_are_suggested():
    assert "trainer" not in suggest_key("epochs", EvaluateConfig)
    assert set(SYNONYMS.values()) <= set(known_keys(TrainConfig))
