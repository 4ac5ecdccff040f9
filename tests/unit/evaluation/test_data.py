"""Settings for data that are new to a model."""

from types import SimpleNamespace
from typing import Any

import pytest

from ser.config.data import Ambiguous, DataConfig, LabelSource
from ser.config.evaluate import EvaluateConfig, EvaluateDataConfig
from ser.config.train import TrainConfig
from ser.errors import UserError
from ser.evaluation.data import settings_for_new, update_settings


def test_a_label_map_without_a_table_is_an_error(tmp_path):
    metadata = SimpleNamespace(config=TrainConfig(output_dir=str(tmp_path)))
    checkpoint: Any = SimpleNamespace(metadata=metadata, run_folder=tmp_path)
    data = EvaluateDataConfig(label_map={"anger": "angry"})
    with pytest.raises(UserError, match=r"data\.label_map"):
        update_settings(EvaluateConfig(ckpt=str(tmp_path), data=data), checkpoint)


def test_settings_that_do_not_apply_to_a_new_corpus_are_left_out(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(
        corpora=[],
        table=str(tmp_path / "my.csv"),
        merge={"boredom": "neutral", "calm": "neutral"},
        ambiguous=Ambiguous.drop,
        label_by=LabelSource.perceived,
    )
    data = settings_for_new(trained, ["savee"], None)
    assert data.corpora == ["savee"]
    assert data.merge == {"calm": "neutral"}
    assert (data.ambiguous, data.label_by) == (Ambiguous.keep, LabelSource.intended)
    again = settings_for_new(trained, [], trained.table)
    assert again.merge == trained.merge
    assert again.ambiguous == Ambiguous.drop


def test_a_new_table_is_not_synthetic_if_the_training_data_was(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(synthetic=str(tmp_path / "tones"))
    assert settings_for_new(trained, [], str(tmp_path / "my.csv")).synthetic is None
    assert settings_for_new(trained, ["savee"], None).synthetic == trained.synthetic
