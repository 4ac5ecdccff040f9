import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ser.config.mapping import as_mapping, show_override
from ser.errors import UserError

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)


def paste(command: str) -> object:
    """The value that OmegaConf gives after a shell and Hydra have read the command."""
    [argument] = shlex.split(command)
    value = OverridesParser.create().parse_override(argument).value()
    resolved = OmegaConf.to_container(OmegaConf.create({"key": value}), resolve=True)
    assert isinstance(resolved, dict)
    return resolved["key"]


SPECIAL = st.text(alphabet="${}\\\"':.,x ", max_size=8)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(WORDS | SPECIAL, WORDS | SPECIAL | st.none(), max_size=5))
@example({"${x}": None})
@example({"${oc.env:HOME}": "angry", "\\${x}": None, "${": "sad"})
def test_a_shown_mapping_is_read_back_unchanged(mapping):
    command = show_override("data.label_map", mapping)
    assert as_mapping("data.label_map", paste(command)) == mapping


def test_simple_mappings_are_shown_in_the_short_form():
    shown = show_override("data.label_map", {"anger": "angry", "boredom": None})
    assert shown == "'data.label_map={anger: angry, boredom: null}'"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({0: "angry", True: "sad", 1.5: None}, {"0": "angry", "true": "sad", "1.5": None}),
        (
            "{0: angry, 01: sad, no: happy, 'a, b': null}",
            {"0": "angry", "01": "sad", "no": "happy", "a, b": None},
        ),
        ("生气: angry\nÄrger: angry\n", {"生气": "angry", "Ärger": "angry"}),
        ('{"": null, "x": "null"}', {"": None, "x": "null"}),
        ("", {}),
        (None, {}),
    ],
)
def test_keys_are_text(value, expected):
    assert as_mapping("data.label_map", value) == expected


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json", "YAML"])
def test_files_are_read(tmp_path, suffix):
    path = tmp_path / f"my map.{suffix}"
    path.write_text('{"0": "angry", "生气": null}', encoding="utf-8")
    assert as_mapping("data.label_map", str(path)) == {"0": "angry", "生气": None}


@pytest.mark.parametrize(
    "value",
    ["[a, b]", "a", "{a: [b]}", "{a: {b: c}}", "{a: b", "{a: b, a: c}", "gone.yaml", "{[a]: b}"],
)
def test_other_values_are_refused_with_their_key(value):
    with pytest.raises(UserError, match=r"^data\.label_map"):
        as_mapping("data.label_map", value)


def test_a_file_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_bytes("Ärger: angry".encode("latin-1"))
    with pytest.raises(UserError, match=r"map\.yaml"):
        as_mapping("data.label_map", str(path))
