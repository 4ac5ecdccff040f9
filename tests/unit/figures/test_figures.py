"""What a reader can see in the figures, read from their artists and from their SVG."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ser.figures.confusion import draw_confusion
from ser.figures.curves import draw_history, draw_levels, draw_risk_coverage, smooth
from ser.figures.distributions import choose_limits, draw_distribution, draw_durations
from ser.figures.scores import draw_intervals, draw_reliability, draw_strips
from ser.figures.spectrogram import draw_spectrogram
from ser.figures.style import PARTS, SERIES, WIDTH, fit_range, mark
from ser.reports.html import draw_svg

HOSTILE = "$a$b_{<script>&\"'"


def texts(figure: Figure) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", draw_svg(figure))


def lines_of(figure: Figure) -> list[Any]:
    return list(figure.axes[0].lines)


def cells(figure: Figure) -> dict[str, float]:
    """The opacity of each cell of a confusion matrix, by the beginning of its title."""
    patches = [patch for patch in figure.axes[0].patches if patch.get_gid()]
    return {str(patch.get_gid()): float(patch.get_alpha() or 0) for patch in patches}


def test_cells_show_percent_and_their_shades_differ():
    figure = draw_confusion([[60, 3, 37], [0, 10, 0], [0, 0, 0]], ["a", "b", "c"])
    shown = texts(figure)
    assert {"60.0", "3.0", "37.0", "100"} <= set(shown)
    shades = {name: opacity for name, opacity in cells(figure).items() if "a predicted" in name}
    low, high = sorted(shades.values())[0], sorted(shades.values())[1]
    assert high - low > 0.3  # 3 % and 37 %


def test_the_diagonal_is_outlined():
    figure = draw_confusion([[1, 0], [0, 1]], ["a", "b"])
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle) and not p.get_fill()]
    assert [box.get_xy() for box in boxes] == [(-0.5, -0.5), (0.5, 0.5)]


def test_counts_can_be_shown():
    assert "1,200" in texts(draw_confusion([[1200, 1], [2, 3]], ["a", "b"], normalised=False))


@pytest.mark.parametrize("classes", [2, 8, 20])
def test_cell_text_fits_its_cell(classes):
    generator = np.random.default_rng(0)
    confusion = generator.integers(1, 99, (classes, classes)).tolist()
    figure = draw_confusion(confusion, [f"emotion {row}" for row in range(classes)])
    figure.canvas.draw()
    axes = figure.axes[0]
    width = axes.get_window_extent().width / classes
    assert max(text.get_window_extent().width for text in axes.texts) < width


def draw_all(name: str) -> list[Figure]:
    """Every kind of figure with a name from data in it."""
    return [
        draw_confusion([[1, 0], [0, 1]], [name, "b"]),
        draw_history({name: ([1, 2], [0.1, 0.2])}, name, best=(1, name)),
        draw_levels(["none", name], {name: [0.1, 0.2]}, name, chance=0.1, limits=(0, 1)),
        draw_risk_coverage([0.5, 1], [0.1, 0.2], name),
        draw_distribution({name: [1, 2]}, [name, "b"]),
        draw_durations([1.0, 2.0], name, colour=SERIES[0], limits=(3, 1)),
        draw_intervals([(name, 0.5, (0.4, 0.6))], 0.1),
        draw_strips({name: {name: 0.5}}, 0.1),
        draw_reliability([0.5], [0.4], [1.0], name),
    ]


def test_names_are_text_and_not_formulas_or_markup():
    """An unbalanced dollar sign would stop matplotlib, and a balanced pair would vanish."""
    for figure in draw_all(HOSTILE):
        mark(figure, HOSTILE, synthetic=True)
        svg = draw_svg(figure)
        assert "$a$b_{&lt;script&gt;" in svg
        assert "<script" not in svg
    for figure in draw_all("a$b"):
        assert "a$b" in draw_svg(figure)


def test_all_figures_are_as_wide_as_a_phone():
    assert {figure.get_size_inches()[0] for figure in draw_all("x")} == {WIDTH}


def test_a_figure_says_that_its_data_is_synthetic():
    figure = draw_intervals([("a", 0.5, None)])
    mark(figure, "test part", synthetic=True)
    assert "test part, synthetic audio" in texts(figure)
    mark(figure, "", synthetic=False)
    assert not any("synthetic" in text for text in texts(figure))


def test_a_long_curve_is_smoothed_over_its_raw_values():
    values = np.random.default_rng(0).normal(1, 0.3, 200).tolist()
    curves = {"training": (list(range(200)), values)}
    raw, smoothed, marked = lines_of(draw_history(curves, "Loss", best=(50, "best")))
    assert list(raw.get_ydata()) == values
    assert np.std(smoothed.get_ydata()[50:]) < 0.4 * np.std(values)
    assert raw.get_alpha() == 0.3
    assert list(marked.get_xdata()) == [50, 50]


def test_smoothing_keeps_a_constant_and_has_no_bias_at_the_start():
    assert smooth([2.0] * 60) == pytest.approx([2.0] * 60)
    assert smooth([5.0] + [0.0] * 99)[0] == 5


def test_a_short_curve_is_shown_as_it_is():
    figure = draw_history({"val": ([1, 2, 3], [0.1, 0.5, 0.4])}, "UAR", scores=True)
    assert [list(line.get_ydata()) for line in lines_of(figure)] == [[0.1, 0.5, 0.4]]


def test_levels_have_a_line_of_chance_and_a_range_by_data():
    figure = draw_levels(["none", "5"], {"UAR": [0.5, 0.3]}, "Noise", chance=0.125, limits=(0.125, 0.5))  # fmt: skip
    low, high = figure.axes[0].get_ylim()
    assert 0.05 < low < 0.125
    assert 0.5 < high < 0.6
    assert "chance" in texts(figure)
    assert fit_range([0.0, 1.0]) == (0, 1)


def test_groups_are_stacked_on_one_scale():
    figure = draw_distribution({"train": [500, 20], "val": [50, 3]}, ["sad", "calm"], PARTS)
    patches: list[Any] = list(figure.axes[0].patches)
    bars = [(bar.get_x(), bar.get_width()) for bar in patches]
    assert bars == [(0, 500), (0, 20), (500, 50), (20, 3)]
    assert not set(PARTS) & set(SERIES)


def test_durations_beyond_the_axis_are_one_bar_with_their_number():
    generator = np.random.default_rng(0)
    seconds = np.append(generator.uniform(1, 3, 995), [30.0, 40.0, 50.0, 60.0, 600.0])
    limits = choose_limits([seconds])
    figure = draw_durations(seconds.tolist(), "own", colour=SERIES[0], limits=limits)
    patches: list[Any] = list(figure.axes[0].patches)
    heights = [bar.get_height() for bar in patches]
    assert sum(heights) == pytest.approx(1)  # every utterance is shown
    longer = int((seconds > limits[0]).sum())
    assert 1 <= longer <= 6
    assert heights[-1] == pytest.approx(longer / 1000)
    assert any(f"{longer} longer" in text for text in texts(figure))
    assert any("600.0 s" in text for text in texts(figure))


def test_durations_of_corpora_share_their_scale():
    groups = [np.array([1.0, 1.1, 2.0]), np.linspace(1, 7, 50)]
    limits = choose_limits(groups)
    axes = [
        draw_durations(g.tolist(), "x", colour=SERIES[0], limits=limits).axes[0] for g in groups
    ]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert limits[0] == 7  # nothing is cut without need
    assert {each.get_xlabel() for each in axes} == {"seconds"}


def test_intervals_are_drawn_only_for_groups_that_have_one():
    figure = draw_intervals([("a", 0.5, (0.4, 0.6)), ("b", 0.7, None)], 0.25)
    bars = [line for line in lines_of(figure) if line.get_linewidth() == 6]
    assert [list(bar.get_xdata()) for bar in bars] == [[0.4, 0.6]]
    assert {"0.500", "0.700", "chance"} <= set(texts(figure))


def test_each_speaker_has_its_name_in_the_strip():
    figure = draw_strips({"tess": {"OAF": 0.5, "YAF": 0.6}}, 0.1)
    assert re.findall(r"<title>([^<]*)</title>", draw_svg(figure)) == ["OAF: 0.500", "YAF: 0.600"]
    many = {f"s{row}": 0.5 for row in range(1000)}
    assert draw_svg(draw_strips({"c": many}, None)).count("<title>") == 400


def test_colours_of_corpora_and_parts_are_distinct():
    colours = [to_hex(colour) for colour in (*SERIES, *PARTS)]
    assert len(set(colours)) == len(colours)
    lightness = [sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in PARTS]
    assert all(abs(one - other) > 100 for one, other in pairwise(lightness))


def test_a_spectrogram_names_its_axes():
    figure = draw_spectrogram(np.zeros((8, 20)), 1.5)
    assert {"seconds", "mel bands"} <= set(texts(figure))


def test_no_curve_is_left_out_for_lack_of_a_colour():
    names = [f"curve {place}" for place in range(len(SERIES) + 2)]
    history = draw_history({name: ([1, 2], [0.1, 0.2]) for name in names}, "Loss")
    curves = {name: [0.1, 0.2] for name in names}
    levels = draw_levels(["none", "1"], curves, "Noise", chance=0.1, limits=(0.1, 0.2))
    for figure in (history, levels):
        assert set(names) <= set(texts(figure))
