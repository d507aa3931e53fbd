"""Plots as SVG."""

import re

import pytest

from jobs.nightly.report.plots import Bar, Line, Point, Usual, bar_plot, line_plot
from jobs.nightly.report.text import seconds


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [5.0, 5.0], [1e-9, 1e9], [-3.0, 2.0], [0.99, 1.01], [7.0] * 40])
def test_every_point_stands_within_its_plot(values: list[float]) -> None:
    points = [Point("1 Jan", value, value - 1.0, value + 1.0) for value in values]
    plot = line_plot("a <b>", [Line("", points)], str)
    assert "a &lt;b&gt;" in plot and "<b>" not in plot and "nan" not in plot
    for across, down in re.findall(r'c[xy]="([-\d.]+)" c[xy]="([-\d.]+)"', plot):
        assert 40 <= float(across) <= 340 and 0 <= float(down) <= 170


def test_ticks_of_a_narrow_range_have_different_labels() -> None:
    plot = line_plot("", [Line("", [Point("1", 0.02270), Point("2", 0.02275)])], lambda value: f"{value:.3f}")
    labels = re.findall(r'text-anchor="end">(\.\d+)<', plot)
    assert len(labels) >= 3 and len(set(labels)) == len(labels)


def test_bars_end_within_their_plot_and_nothing_is_drawn_of_nothing() -> None:
    assert line_plot("", [Line("", [])], str) == bar_plot("", [], str) == ""
    plot = bar_plot("time", [Bar("embed", 2.0, Usual(1.0, 5.0, 8.0)), Bar("fit", 0.0, None)], seconds)
    assert "embed 2.0 s, usually 1.0 s to 8.0 s; fit 0.0 s" in plot
    assert max(float(width) for width in re.findall(r'width="([\d.]+)"', plot)) < 340
