"""Tables as text. The number of rows is always that of the lines that were written."""

import csv
import io
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ser.errors import UserError
from ser.preparation.tables.reader import read_table

WANTED = ("path", "emotion", "speaker", "sentence")
ROWS = [("a.wav", "happy", "Ann", "hello"), ("b c.wav", "sad", "Ärger", "well, yes; no"),
        ("d.wav", "angry", "03", 'so "so"')]  # fmt: skip


@pytest.fixture
def read(tmp_path):
    def read(content: str | bytes, name: str = "my.csv") -> pd.DataFrame:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        return read_table(tmp_path / name, WANTED).rows

    return read


def write(separator: str = ",", newline: str = "\n", header=WANTED, rows=ROWS) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=newline).writerows([header, *rows])
    return text.getvalue()


def cells(table: pd.DataFrame) -> list[tuple]:
    return list(table[list(WANTED)].itertuples(index=False, name=None))


@pytest.mark.parametrize("numbers", [[1, 2, 3], [0, 1, 2], [5, 9, 7]])
def test_row_numbers_without_a_name_are_left_out(read, numbers):
    lines = write(rows=[(number, *row) for number, row in zip(numbers, ROWS, strict=True)])
    assert cells(read(lines)) == ROWS


@pytest.mark.parametrize("name", ["my.csv", "my.TSV", "my.txt", "MY.CSV"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found_by_content(read, separator, name):
    assert cells(read(write(separator), name)) == ROWS


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_encodings_and_line_ends_are_found_by_content(read, encoding, newline):
    assert cells(read(write("\t", newline).encode(encoding))) == ROWS


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", ["Ärger", "Freude", "dégoût"]),
        ("gb18030", ["高兴", "生气", "悲伤"]),
        ("cp1251", ["радость", "гнев", "печаль"]),
    ],
)
def test_a_legacy_encoding_is_guessed_and_reported(read, caplog, encoding, words):
    rows = [(f"{n}.wav", words[n % 3] if n % 40 == 0 else "neutral", "x", "y") for n in range(300)]
    assert cells(read(write(rows=rows).encode(encoding))) == rows
    assert "not UTF-8" in caplog.text


def test_quoted_cells_may_follow_a_space(read):
    header = ", ".join(f'"{name}"' for name in WANTED)
    row = '"a.wav", "sad", "Ann", "well, yes"'
    assert cells(read(f"{header}\n{row}\n")) == [("a.wav", "sad", "Ann", "well, yes")]


@pytest.mark.parametrize("padding", ["\0", "\0\0\0\0", "\x1a", "\x1a\0\0"])
def test_padding_at_the_end_of_a_file_is_no_row(read, padding):
    assert cells(read(write() + padding)) == ROWS


def test_excel_declares_its_separator(read):
    table = read("sep=;\n" + write(";"))
    assert cells(table) == ROWS
    assert table.index.tolist() == [3, 4, 5]


def test_headers_may_be_in_capitals_or_hold_spaces(read):
    header = (" PATH", "Emotion Label", "Speaker ID", "TEXT ")
    assert cells(read(write(header=header))) == ROWS


def test_a_table_of_one_column_is_read(tmp_path):
    (tmp_path / "my.csv").write_text("path\na b.wav\nc;d.wav\n")
    rows = read_table(tmp_path / "my.csv", ("path",)).rows
    assert rows["path"].tolist() == ["a b.wav", "c;d.wav"]


@pytest.mark.parametrize("blank", ["\n", ",,,\n", " , ,,\n", "\n\n\n"])
@pytest.mark.parametrize("place", ["end", "middle", "start"])
def test_blank_rows_are_skipped_and_keep_their_numbers(read, blank, place):
    lines = write().splitlines(keepends=True)
    lines.insert({"end": 4, "middle": 2, "start": 1}[place], blank)
    table = read("".join(lines))
    assert cells(table) == ROWS
    shift = blank.count("\n")
    expected = {
        "end": [2, 3, 4],
        "middle": [2, 3 + shift, 4 + shift],
        "start": [n + shift for n in (2, 3, 4)],
    }
    assert table.index.tolist() == expected[place]


def test_leading_blank_lines_are_skipped(read):
    assert cells(read("\n\n" + write())) == ROWS


def test_comments_before_the_header_are_left_out(read, caplog):
    assert cells(read("# made by a tool\n# on Monday\n" + write())) == cells(read(write()))
    assert "2 comment lines" in caplog.text
    assert cells(read("#" + write())) == cells(read(write()))


def test_a_repeated_header_is_an_error_with_its_row(read):
    with pytest.raises(UserError, match=rf"row {len(ROWS) + 2} .*header"):
        read(write() + write())


@pytest.mark.parametrize("header", [True, False])
def test_a_trailing_separator_adds_no_column(read, caplog, header):
    lines = write().splitlines()
    text = "\n".join([lines[0] + ("," if header else ""), *(line + "," for line in lines[1:])])
    assert cells(read(text)) == ROWS


def test_surplus_cells_are_an_error_with_the_row(read):
    with pytest.raises(UserError, match=r"my\.csv, row 3: 5 cells"):
        read("path,emotion,speaker,sentence\na.wav,sad,x,y\nb.wav,sad,x,well, yes\n")


def test_short_rows_are_completed_and_reported(read, caplog):
    table = read("path,emotion,speaker,sentence\na.wav,sad\nb.wav,sad,x,y\n")
    assert cells(table) == [("a.wav", "sad", "", ""), ("b.wav", "sad", "x", "y")]
    assert "row 2" in caplog.text


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        ("path,emotion,Emotion", "'emotion'", "'Emotion'"),
        ("Path,emotion,path", "'Path'", "'path'"),
        ("path,emotion,x,X", "'x'", "'X'"),
        ("path,emotion,speaker, SPEAKER ", "'speaker'", "'SPEAKER'"),
    ],
)
def test_duplicate_headers_are_an_error_that_names_both(read, header, first, second):
    with pytest.raises(UserError, match=f"{first}.*{second}"):
        read(f"{header}\n" + ",".join("abcd"[: header.count(",") + 1]) + "\n")


def test_r_row_names_are_not_a_column(read):
    text = '"path","emotion","speaker","sentence"\n"1","a.wav","sad","x","y"\n"2","b.wav","happy","x","y"\n'
    assert cells(read(text)) == [("a.wav", "sad", "x", "y"), ("b.wav", "happy", "x", "y")]
    spaces = '"path" "emotion" "speaker" "sentence"\n"1" "a.wav" "sad" "x" "y"\n'
    assert cells(read(spaces)) == [("a.wav", "sad", "x", "y")]


def test_an_index_column_of_pandas_is_ignored(read):
    frame = pd.DataFrame(ROWS, columns=list(WANTED))
    assert cells(read(frame.to_csv())) == ROWS


def test_line_breaks_inside_quotes_belong_to_the_cell(read):
    rows = [("a.wav", "sad", "x", "first\nsecond"), ("b.wav", "sad", "x", "one\r\n\r\ntwo, three")]
    table = read(write(rows=rows))
    assert cells(table) == rows
    assert table.index.tolist() == [2, 4]  # where the rows begin


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("quotes", [1, 2, 3])
def test_unmatched_quotes_never_swallow_rows(read, separator, quotes):
    """Files written without quoting: all rows are read, and the quotes stay in the text."""
    rows = [[f"{n}.wav", "sad", "x", "hello"] for n in range(60)]
    for n in (10, 30, 50)[:quotes]:
        rows[n][3] = '"so what?' if n != 30 else 'well"'
    text = "\n".join(separator.join(row) for row in [list(WANTED), *rows])
    assert cells(read(text)) == [tuple(row) for row in rows]


@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("second", ['"so"', '"so, so"'])
def test_an_unmatched_quote_beside_quoted_cells_is_an_error_with_its_row(read, separator, second):
    rows = [[f"{n}.wav", "sad", "x", "hello"] for n in range(60)]
    rows[10][3], rows[40][3] = '"so what?', second
    text = "\n".join(separator.join(row) for row in [list(WANTED), *rows])
    with pytest.raises(UserError, match=r"my\.csv, rows? 12\b"):
        read(text)


def test_text_behind_a_closing_quote_is_an_error_with_its_row(read):
    lines = write().splitlines()
    with pytest.raises(UserError, match="row 4"):
        read("\n".join([*lines[:3], 'e.wav,sad,x,"a" b', *lines[3:]]))


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_cell_with_a_single_quote_mark_inside_is_text(read, separator):
    rows = [("a.wav", "sad", "x", '6" nails'), ("b.wav", "sad", "x", "it's")]
    text = "\n".join(separator.join(row) for row in [WANTED, *rows])
    assert cells(read(text)) == rows


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=12).map(str.strip)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=8),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_csv_writes_is_read_unchanged(tmp_path_factory, texts, separator, newline):
    rows = [(f"{n}.wav", *cells) for n, cells in enumerate(texts)]
    path = tmp_path_factory.mktemp("csv") / "my.csv"
    path.write_bytes(write(separator, newline, rows=rows).encode())
    assert cells(read_table(path, WANTED).rows) == rows


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(",\t;"), st.integers(3, 40))
def test_one_stray_quote_anywhere_loses_no_row(tmp_path_factory, seed, separator, count):
    """Every row is read, or the error names a row: no row is lost without a message."""
    generator = random.Random(seed)
    rows = [[f"{n}.wav", "sad", f"s{n}", "some words"] for n in range(count)]
    row, column = generator.randrange(count), generator.randrange(1, 4)
    place = generator.choice([0, len(rows[row][column])])
    rows[row][column] = rows[row][column][:place] + '"' + rows[row][column][place:]
    path = tmp_path_factory.mktemp("csv") / "my.csv"
    path.write_text("\n".join(separator.join(cells) for cells in [list(WANTED), *rows]))
    try:
        read = len(read_table(path, WANTED).rows)
    except UserError as error:
        read = count if "row" in str(error) else 0
    assert read == count
