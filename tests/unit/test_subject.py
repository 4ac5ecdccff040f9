"""Data that are new to a model, under the rules of its training."""

from ser.data_config import Ambiguous, DataConfig, LabelSource
from ser.subject import foreign


def test_rules_that_do_not_apply_to_a_new_corpus_are_left_out(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(
        corpora=[],
        table=str(tmp_path / "my.csv"),
        merge={"boredom": "neutral", "calm": "neutral"},
        ambiguous=Ambiguous.drop,
        label_by=LabelSource.perceived,
    )
    data = foreign(trained, ["savee"], None)
    assert data.corpora == ["savee"]
    assert data.merge == {"calm": "neutral"}
    assert (data.ambiguous, data.label_by) == (Ambiguous.keep, LabelSource.intended)
    again = foreign(trained, [], trained.table)
    assert again.merge == trained.merge
    assert again.ambiguous == Ambiguous.drop


def test_a_new_table_is_spoken_by_people_whatever_the_model_learned_from(tmp_path):
    (tmp_path / "my.csv").touch()
    trained = DataConfig(synthetic=str(tmp_path / "tones"))
    assert foreign(trained, [], str(tmp_path / "my.csv")).synthetic is None
    assert foreign(trained, ["savee"], None).synthetic == trained.synthetic
