"""Settings for data that are new to a model."""

from ser.config.data import Ambiguous, DataConfig, LabelSource
from ser.evaluation.data import adapt_to_new


def test_settings_that_do_not_apply_to_a_new_corpus_are_left_out(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(
        corpora=[],
        table=str(tmp_path / "my.csv"),
        merge={"boredom": "neutral", "calm": "neutral"},
        ambiguous=Ambiguous.drop,
        label_by=LabelSource.perceived,
    )
    data = adapt_to_new(trained, ["savee"], None)
    assert data.corpora == ["savee"]
    assert data.merge == {"calm": "neutral"}
    assert (data.ambiguous, data.label_by) == (Ambiguous.keep, LabelSource.intended)
    again = adapt_to_new(trained, [], trained.table)
    assert again.merge == trained.merge
    assert again.ambiguous == Ambiguous.drop


def test_a_new_table_is_not_synthetic_if_the_training_data_was(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(synthetic=str(tmp_path / "tones"))
    assert adapt_to_new(trained, [], str(tmp_path / "my.csv")).synthetic is None
    assert adapt_to_new(trained, ["savee"], None).synthetic == trained.synthetic
