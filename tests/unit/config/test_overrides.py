"""Any value that a shell passes on reaches the config unchanged."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ser.config.overrides import quote, unquote

PATHS = [
    *("größe", "日本語/ä.csv", "it's (1)", "a b", "a#b", "epoch=0-step=1.ckpt", 'say "x"', "x;y"),
    *("[1] run", "~/x", "a&b", "a!b", "a^b", "2026_01_31", "back\\", "quote'\\", "(", "{x", "$x"),
]


def value_of(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


def resolved(override: str) -> object:
    return OmegaConf.create({"x": value_of(override)}).x


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_read_as_typed(path):
    assert value_of(quote(f"output_dir={path}")) == path
    assert unquote(quote(f"output_dir={path}")) == f"output_dir={path}"


@pytest.mark.parametrize(
    "override",
    [
        *("data=ravdess", "model.lr=1e-5", "+model.x=1", "~callbacks.guards", "seed=1,2"),
        *("data.labels=[a,b]", "data.merge={calm:neutral}", "data.table='a,b.csv'", "ckpt=null"),
        *("model.lr=tag(log, interval(1e-6, 1e-4))", "seed=range(0, 3)", "x=${seed}", "seed"),
    ],
)
def test_what_hydra_reads_stays_as_it_is(override):
    assert quote(override) == override
    assert unquote(override) == override


def test_a_mapping_with_keys_in_any_script_reaches_the_config(compose_config):
    typed = "data.label_map={高兴: happy, 'it''s': null}"
    table = ("data=table", "data.table=README.md")
    config = compose_config(*table, quote(typed), "output_dir=x")
    assert config.data.label_map == {"高兴": "happy", "it's": None}
    assert unquote(quote(typed)) == typed


def test_a_list_of_paths_is_quoted_one_by_one():
    assert value_of(quote("hydra.searchpath=[file:///größe,file:///b]")) == [
        "file:///größe",
        "file:///b",
    ]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_quoting_twice_changes_nothing_and_can_be_undone(value):
    quoted = quote(f"output_dir={value}")
    assert quote(quoted) == quoted
    assert quote(unquote(quoted)) == quoted


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("split.test_speakers=[12_1,2024_01]", ["12_1", "2024_01"]),
        ("output_dir=2026_01_31", "2026_01_31"),
        ("data.labels=[1_0,sad]", ["1_0", "sad"]),
        ("x=[1,2]", [1, 2]),
        ("x=[1_0,null,2,größe_1]", ["1_0", None, 2, "größe_1"]),
        ("x={größe: 1_0, b: 1.5}", {"größe": "1_0", "b": 1.5}),
    ],
)
def test_underscores_between_digits_stay(override, expected):
    assert resolved(quote(override)) == expected
