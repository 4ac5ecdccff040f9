import pytest
from hypothesis import given
from hypothesis import strategies as st

from ser.system.spreadsheet import FORMULA, escape_cell, unescape_cell


@pytest.mark.parametrize("text", ["=1+1", "+41", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_begins_with_an_apostrophe(text):
    assert escape_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "ravdess/01", "o'clock", "'quoted'", "a=b", "0.5"])
def test_other_text_stays_as_it_is(text):
    assert escape_cell(text) == text
    assert unescape_cell(text) == text


@given(st.text(alphabet="'=+-@\t\rab") | st.text())
def test_what_was_escaped_is_restored_and_never_a_formula(text):
    assert unescape_cell(escape_cell(text)) == text
    assert not escape_cell(text).startswith(FORMULA)
