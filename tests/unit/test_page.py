import re

import pytest
from jinja2 import UndefinedError
from matplotlib.figure import Figure

from ser import page
from ser.figures import INK, draw_confusion


@pytest.fixture
def write_template(tmp_path, monkeypatch):
    """A template of the test's own, beside those of the package."""
    from jinja2 import ChoiceLoader, FileSystemLoader, PackageLoader

    loader = ChoiceLoader([FileSystemLoader(tmp_path), PackageLoader("ser")])
    monkeypatch.setattr(page.environment, "loader", loader)

    def write_template(content: str) -> str:
        head = '{% extends "base.html" %}{% import "parts.html" as parts %}'
        (tmp_path / "own.html").write_text(f"{head}{{% block content %}}{content}{{% endblock %}}")
        return "own.html"

    return write_template


def test_a_page_stands_alone_and_escapes_what_comes_from_data(write_template):
    template = write_template("{{ parts.table(['speaker', 'UAR'], rows, strong=['all']) }}")
    text = page.render(template, rows=[("<script>alert(1)</script>", 0.5), ("all", 0.6)])
    assert text.startswith("<!doctype html>")
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert '<tr class="strong">' in text
    assert not re.search(r"(src|href)=\"(?!#|data:)|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_name_that_the_context_has_not_is_an_error(write_template):
    with pytest.raises(UndefinedError, match="utterence"):
        page.render(write_template("{{ utterence }}"), utterance=1)


def test_a_picture_says_what_it_shows_and_takes_the_colours_of_its_page():
    figure = draw_confusion([[3, 1], [0, 4]], ["sad", "calm"])
    svg = page.picture(figure, 'Confusion of "sad" & calm')
    assert svg.startswith('<svg role="img" aria-label="Confusion of &#34;sad&#34; &amp; calm"')
    assert svg.count("<svg") == 1
    assert "var(--ink)" in svg
    assert INK not in svg
    assert ">predicted</text>" in svg  # text stays text


def test_a_figure_is_drawn_to_the_same_bytes_again():
    def draw() -> str:
        figure = Figure()
        axes = figure.subplots()
        axes.plot([1, 2, 3], marker="o")
        return page.draw_svg(figure)

    assert draw() == draw()
