import re

import pytest
from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader, UndefinedError
from matplotlib.figure import Figure

from ser.figures.confusion import draw_confusion
from ser.figures.style import INK
from ser.reports import html as page
from ser.reports.tables import Table


@pytest.fixture
def write_template(tmp_path, monkeypatch):
    """A template of the test's own, beside those of the package."""
    loader = ChoiceLoader([FileSystemLoader(tmp_path), PackageLoader("ser.reports")])
    monkeypatch.setattr(page.environment, "loader", loader)

    def write_template(content: str) -> str:
        head = '{% extends "base.html" %}{% import "parts.html" as parts %}'
        (tmp_path / "own.html").write_text(f"{head}{{% block content %}}{content}{{% endblock %}}")
        return "own.html"

    return write_template


def test_a_page_stands_alone_and_escapes_data(write_template):
    template = write_template("{{ parts.table(table) }}")
    rows = [["<script>alert(1)</script>", "0.5"], ["all", "0.6"]]
    text = page.render(template, table=Table(["speaker", "UAR"], rows, strong=("all",)))
    assert text.startswith("<!doctype html>")
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert '<tr class="strong">' in text
    assert not re.search(r"(src|href)=\"(?!#|data:)|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_confusion_matrix_has_shares_of_its_rows(write_template):
    template = write_template("{{ parts.heat(heat, interactive=true) }}")
    heat = page.Heat(["a<b", "calm"], [[3, 1], [0, 0]])
    text = page.render(template, heat=heat)
    assert re.findall(r"<button[^>]*>([\d.]+)</button>", text) == ["75.0", "25.0"]
    assert re.findall(r"--share: ([\d.]+)%", text) == ["76.0", "28.0", "4.0", "4.0"]
    assert "a&lt;b predicted as calm: 1 of 4" in text


def test_a_markdown_template_escapes_data(tmp_path, write_template):
    (tmp_path / "own.md").write_text("# {{ name }}\n\n{{ table | markdown }}\n")
    text = page.render("own.md", name="<b>*x*", table=Table(["a"], [["<i>"]]))
    assert text.splitlines()[0] == "# &lt;b&gt;\\*x\\*"
    assert "| &lt;i&gt; |" in text


@pytest.mark.parametrize("name", ["own.html", "own.md"])
def test_a_name_that_the_context_does_not_have_is_an_error(tmp_path, write_template, name):
    write_template("{{ utterence }}")
    (tmp_path / "own.md").write_text("{{ utterence }}")
    with pytest.raises(UndefinedError, match="utterence"):
        page.render(name, utterance=1)


def test_a_figure_takes_the_colours_of_its_page():
    figure = draw_confusion([[3, 1], [0, 4]], ["sad", "calm"])
    svg = page.picture(figure, 'Confusion of "sad" & calm')
    assert svg.startswith('<svg role="img" aria-label="Confusion of &#34;sad&#34; &amp; calm"')
    assert svg.count("<svg") == 1
    assert "var(--ink)" in svg
    assert INK not in svg
    assert ">predicted</text>" in svg  # text stays text
    assert "height=" not in svg[: svg.index(">")]  # it scales


def test_named_parts_of_a_figure_have_titles():
    figure = draw_confusion([[3, 1], [0, 4]], ["<sad>", '"calm"'])
    svg = page.picture(figure, "Confusion")
    assert "<title>&lt;sad&gt; predicted as " in svg
    assert "title:" not in svg


def test_a_figure_is_drawn_to_the_same_bytes_again():
    def draw() -> str:
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3], marker="o")
        return page.draw_svg(figure)

    assert draw() == draw()
