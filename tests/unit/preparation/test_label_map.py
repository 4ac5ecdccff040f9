import json
import re
import shlex

import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ser.config.data import DataConfig
from ser.config.mapping import as_mapping
from ser.config.split import SplitConfig
from ser.errors import UserError
from ser.preparation.label_map import LabelMap
from ser.preparation.prepare import prepare
from ser.preparation.table import scan_table

LABELS = {
    "Chinese": ["高兴", "生气"],
    "German": ["Ärger", "Freude"],
    "numbers": ["0", "1"],
    "a comma": ["neutral, calm", "very sad"],
    "missing": ["", "happy"],
    "other spellings": ["ANGER", "Joy "],
    "quotes": ["it's", 'so "so"'],
    "interpolations": ["${x}", "${oc.env:HOME}", "a\\${b}"],
    "symbols": ["a:b", "{x}", "c\\d", "#1", "$HOME", "null", "yes", "1.0", "[sad]"],
}


@pytest.mark.parametrize("words", LABELS.values(), ids=LABELS)
def test_printed_advice_runs_when_pasted_into_a_shell(tmp_path, write_tone, words):
    """The command in the message, read by a shell and by Hydra, makes the table readable."""
    frame = pd.DataFrame({"path": [f"{n}.wav" for n in range(len(words))], "emotion": words})
    for row, name in enumerate(frame["path"]):
        write_tone(tmp_path / name, pitch=100 + 50 * row)
    frame.to_csv(tmp_path / "my.csv", index=False)
    data = DataConfig(corpora=[], table=str(tmp_path / "my.csv"))
    with pytest.raises(UserError) as caught:
        scan_table(tmp_path / "my.csv", data)
    advice = re.search(r"'data\.label_map=.*'(?= \(null)", str(caught.value))
    assert advice is not None, str(caught.value)
    [argument] = shlex.split(advice[0])
    override = OverridesParser.create().parse_override(argument)
    assert override.key_or_group == "data.label_map"
    read = OmegaConf.create({"map": override.value()})  # as a config holds it
    resolved = OmegaConf.to_container(read, resolve=True)
    assert isinstance(resolved, dict)
    done = scan_table(
        tmp_path / "my.csv", DataConfig(corpora=[], table="x", label_map=resolved["map"])
    )
    assert len(done.utterances) + len(done.dropped) == len(words)


@pytest.mark.parametrize("kind", ["yaml", "json"])
@pytest.mark.parametrize("words", [["0", "1"], ["00", "01"], ["0.0", "1.0"]])
def test_files_may_have_numbers_as_keys(tmp_path, write_tone, kind, words):
    write_tone(tmp_path / "a.wav")
    content = {"yaml": "0: angry\n01: sad\n", "json": '{"0": "angry", "1": "sad"}'}[kind]
    (tmp_path / f"map.{kind}").write_text(content)
    pd.DataFrame({"path": ["a.wav", "b.wav"], "emotion": words}).to_csv(tmp_path / "my.csv")
    data = DataConfig(corpora=[], table="x", label_map=str(tmp_path / f"map.{kind}"))
    done = scan_table(tmp_path / "my.csv", data, check_use=True)
    assert done.utterances["intended"].tolist() == ["angry", "sad"]


def test_advice_leaves_out_entries_that_the_table_does_not_need(tmp_path):
    pd.DataFrame({"path": ["a.wav", "b.wav"], "emotion": ["0", "1"]}).to_csv(tmp_path / "my.csv")
    with pytest.raises(UserError) as caught:
        scan_table(
            tmp_path / "my.csv",
            DataConfig(corpora=[], table="x", label_map={"7": "angry", "0": "sad"}),
        )
    advice = re.search(r"'data\.label_map=.*'(?= \(null)", str(caught.value))
    assert advice is not None
    [argument] = shlex.split(advice[0])
    value = OverridesParser.create().parse_override(argument).value()
    assert as_mapping("data.label_map", value) == {"0": "sad", "1": None}


def test_a_map_from_classes_to_labels_is_turned_round_in_the_message():
    with pytest.raises(UserError, match=r"\{0: angry\}"):
        LabelMap(DataConfig(corpora=[], table="x", label_map={"angry": "0"}))


def test_known_words_are_suggested_and_others_are_left_out(own_table, build_table):
    with pytest.raises(UserError) as caught:
        build_table(
            own_table(
                "path,emotion\n0.wav,anger\n1.wav,fearful\n2.wav,suprise\n3.wav,生气\n4.wav,boredom\n"
            )
        )
    advice = re.search(r"'data\.label_map=(.*)'", str(caught.value))
    assert advice is not None
    argument = OverridesParser.create().parse_override(f"data.label_map={advice[1]}").value()
    assert as_mapping("data.label_map", argument) == {
        "anger": "angry", "fearful": "fear", "suprise": "surprise", "生气": "angry", "boredom": None,
    }  # fmt: skip


@pytest.mark.parametrize("form", ["dict", "text", "yaml", "json"])
def test_a_label_map_has_text_keys_in_every_form(own_table, build_table, tmp_path, form):
    mapping = {"0": "happy", "Ärger": "angry", "neutral, calm": None, "no": "sad"}
    value: object = mapping
    if form == "text":
        value = '{0: happy, Ärger: angry, "neutral, calm": null, no: sad}'
    elif form == "yaml":
        (tmp_path / "map.yaml").write_text(
            "0: happy\nÄrger: angry\nneutral, calm: null\nno: sad\n", "utf-8"
        )
        value = str(tmp_path / "map.yaml")
    elif form == "json":
        (tmp_path / "map.json").write_text(json.dumps(mapping))
        value = str(tmp_path / "map.json")
    path = own_table('path,emotion\n0.wav,0\n1.wav,ärger\n2.wav,"neutral, calm"\n3.wav,NO\n')
    built = build_table(path, label_map=value)
    assert built.utterances["emotion"].tolist() == ["happy", "angry", "sad"]
    assert built.dropped["reason"].tolist() == ["left_out"]


def test_missing_labels_can_be_left_out_or_mapped(own_table, build_table):
    path = own_table("path,emotion\n0.wav,happy\n1.wav,\n2.wav,NaN\n3.wav,sad\n")
    assert len(build_table(path, label_map={"": None}).dropped) == 2
    assert build_table(path, label_map={"": "neutral"}).utterances["emotion"].tolist() == [
        "happy", "neutral", "neutral", "sad",
    ]  # fmt: skip
    words = own_table("path,emotion\n0.wav,none\n1.wav,happy\n", "words.csv")
    assert set(build_table(words, label_map={"None": "neutral"}).utterances["emotion"]) == {
        "neutral",
        "happy",
    }


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"label_map": {"bordom": None, "boredom": None}}, "'bordom'.*did you mean boredom"),
        ({"label_map": {"boredom": "bored"}}, "bored is not a class"),
        ({"label_map": {"boredom": "neutral"}, "merge": {"joy": "happy"}}, "data.merge=joy"),
        (
            {"label_map": {"boredom": None}, "labels": ["happy", "sad", "angryy"]},
            "data.labels=angryy",
        ),
    ],
)
def test_map_entries_merges_and_labels_without_effect_are_errors(
    own_table, tmp_path, settings, problem
):
    path = own_table("path,emotion\n0.wav,happy\n1.wav,boredom\n2.wav,sad\n")
    data = DataConfig(corpora=[], table=str(path), cache_dir=str(tmp_path / "cache"), **settings)
    with pytest.raises(UserError, match=problem):
        prepare(data, SplitConfig())
    assert not list((tmp_path / "cache").glob("*/*.csv"))  # before anything is decoded


def test_a_number_is_found_in_the_form_that_pandas_writes():
    labels = LabelMap(DataConfig(corpora=[], table="t.csv", label_map={"0": "sad", "1": None}))
    assert [labels["0.0"], labels["0"], labels["1.0"]] == ["sad", "sad", ""]
    labels.check_used(["0.0", "1.0"])
    assert "10.0" not in labels


def test_booleans_are_not_taken_for_misspelt_emotions():
    labels = LabelMap(DataConfig(corpora=[], table="t.csv"))
    assert "null" in labels.explain_unknown(["True"], ["True"])


def test_a_map_that_leaves_everything_out_is_one_message(own_table, build_table):
    table = own_table("path,emotion\n0.wav,a\n1.wav,b\n")
    with pytest.raises(UserError, match="no utterance"):
        build_table(table, label_map={"a": None, "b": None})
