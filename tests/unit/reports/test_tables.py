import io

import pytest
from markdown_it import MarkdownIt  # rich needs it
from markupsafe import Markup
from rich.console import Console

from ser.metrics.intervals import Interval
from ser.reports.markdown import code_block, escape
from ser.reports.tables import SIGNED, Table, fraction, show_interval, show_p

TABLE = Table(["run", "UAR"], [["[ravdess]", "71.3%"], ["a|b", "2.0%"], ["all", "3.0%"]], strong=("all",))  # fmt: skip


def test_a_table_in_markdown_has_one_cell_per_column():
    lines = TABLE.to_markdown().splitlines()
    assert lines[1] == "| :-- | --: |"
    assert lines[2] == "| \\[ravdess\\] | 71.3% |"
    assert lines[3] == "| a\\|b | 2.0% |"


def test_a_table_in_a_terminal_shows_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=60)
    console.print(TABLE.to_rich())
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "[ravdess]" in text


def test_a_narrow_table_has_some_of_the_columns():
    wide = Table(["a", "b", "c"], [["1", "2", "3"]], alignment="lrl")
    narrow = wide.only(["c", "b"])
    assert (narrow.rows, narrow.aligned) == ([["3", "2"]], "lr")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>", "&lt;script&gt;"),
        ("a & b", "a &amp; b"),
        ("*x* [y](z)", "\\*x\\* \\[y\\](z)"),
        ("two\nlines", "two lines"),
        ("by_speaker $1", "by_speaker $1"),
        (Markup("<b>"), "<b>"),
        (3, "3"),
    ],
)
def test_text_is_escaped_for_markdown(text, expected):
    assert escape(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "_x_",
        "__x__",
        "a__b",
        "_",
        "a_b_c",
        "~~x~~",
        "**x**",
        "`x`",
        "[y](z)",
        "<b>",
        "x _y_ z",
        "a|b",
    ],
)
def test_a_reader_of_markdown_sees_the_text_itself(text):
    rules = MarkdownIt("gfm-like", {"linkify": False})
    [paragraph] = [each for each in rules.parse(f"name {escape(text)}") if each.type == "inline"]
    children = paragraph.children or []
    assert {each.type for each in children} <= {"text", "text_special"}
    assert "".join(each.content for each in children) == f"name {text}"


def test_a_code_block_cannot_be_left():
    block = code_block("a ``` b\n<script>")
    assert block == "````bash\na ``` b\n<script>\n````"


def test_numbers_are_formatted():
    assert fraction(None) == "–"
    assert fraction(0.2134) == "0.213"
    assert show_interval(None) == "–"
    assert show_interval(Interval(0.25, 0.5)) == "0.250 to 0.500"
    assert show_interval(Interval(-0.01, 0.02), SIGNED) == "-0.010 to +0.020"
    assert [show_p(value) for value in (None, 0.0001, 0.0312)] == ["–", "< 0.001", "0.031"]
