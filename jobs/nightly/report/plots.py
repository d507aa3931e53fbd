"""Plots of a run's report, as SVG inside the page, with the page's colours and fonts, light or dark.

Each is as wide as a phone screen, so that its text is readable there; the page puts them side by side. There is no
plotting library, since importing one takes longer than a whole run without new data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from jobs.nightly.report.figures import Point, Usual

WIDTH: Final = 340
HEIGHT: Final = 190
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 24
ROW: Final = 26

Shown = Callable[[float], str]
"""Formats a figure."""


@dataclass(frozen=True)
class Line:
    """One line of a plot. look: 0 to 2, its colour and dashes."""

    name: str
    points: Sequence[Point]
    look: int = 0


@dataclass(frozen=True)
class Bar:
    """A length beside its usual range."""

    name: str
    value: float
    usual: Usual | None


def line_plot(title: str, lines: Sequence[Line], shown: Shown, x_name: str = "") -> str:
    """Lines with their intervals as bands; the last figure of the first line is labelled. "" without a point.

    Points have equal distances, in their order; those of several lines share their positions.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    every = [point for line in lines for point in line.points]
    ticks = _ticks([edge for point in every for edge in (point.value, point.low, point.high) if edge is not None])
    most = max(len(line.points) for line in lines)

    def x(place: int) -> float:
        room = WIDTH - LEFT - RIGHT
        return LEFT + room * (place / (most - 1) if most > 1 else 0.5)

    def y(value: float) -> float:
        low, high = ticks[0], ticks[-1]
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    parts = [_grid(ticks, y, shown), _x_labels(max(lines, key=lambda line: len(line.points)).points, x, x_name)]
    for line in lines:
        parts += [_band(line, x, y), _line(line, x, y)]
    first = lines[0].points
    falls = len(first) > 1 and first[-1].value < first[-2].value
    parts.append(_last(first[-1], x(len(first) - 1), y(first[-1].value), shown, falls=falls))
    description = "; ".join((f"{line.name}: " if line.name else "") + _in_words(line.points, shown) for line in lines)
    return _svg(f"{title}. {description}", HEIGHT, parts)


def bar_plot(title: str, bars: Sequence[Bar], shown: Shown) -> str:
    """Bars from the left, a line across each for the range of earlier runs; "" without a bar."""
    if not bars:
        return ""
    left, right = 74, 84
    most = max(max(bar.value, bar.usual.high if bar.usual else 0.0) for bar in bars) or 1.0

    def x(value: float) -> float:
        return left + (WIDTH - left - right) * value / most

    parts = []
    for place, bar in enumerate(bars):
        middle = ROW * place + ROW / 2 + 2
        wide = x(bar.value) - left
        parts.append(_text(left - 8, middle + 4, bar.name, "end"))
        parts.append(f'<rect class="bar" x="{left}" y="{middle - 7:.1f}" width="{wide:.1f}" height="14"/>')
        if bar.usual:
            low, high = x(bar.usual.low), x(bar.usual.high)
            path = f"M{low:.1f} {middle - 5:.1f}v10m0 -5H{high:.1f}m0 -5v10"
            parts.append(f'<path class="range" d="{path}"/>')
        parts.append(_text(WIDTH - 4, middle + 4, shown(bar.value), "end", "strong"))
    description = "; ".join(
        f"{bar.name} {shown(bar.value)}"
        + (f", usually {shown(bar.usual.low)} to {shown(bar.usual.high)}" if bar.usual else "")
        for bar in bars
    )
    return _svg(f"{title}. {description}", ROW * len(bars) + 4, parts)


def _svg(alt: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alt)}">'
        f"<title>{escape(alt)}</title>{''.join(parts)}</svg>"
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """Three to six round numbers around all values; from 0 where that costs little space."""
    low, high = min(values), max(values)
    low = 0.0 if 0.0 <= low <= 0.6 * high else low
    if high - low < 1e-9:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(times * unit for times in (1, 2, 2.5, 5, 10) if times * unit >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _grid(ticks: Sequence[float], y: Callable[[float], float], shown: Shown) -> str:
    parts = []
    for tick, label in zip(ticks, _tick_labels(ticks, shown), strict=True):
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, y(tick) + 4, label, "end"))
    return "".join(parts)


def _tick_labels(ticks: Sequence[float], shown: Shown) -> list[str]:
    """With as many decimals as tell the ticks apart, where `shown` rounds several to the same text."""
    labels = [shown(tick) for tick in ticks]
    if len(set(labels)) == len(labels):
        return labels
    n_decimals = math.ceil(-math.log10(ticks[1] - ticks[0])) + 1
    return [f"{tick:.{min(max(n_decimals, 0), 9)}f}".replace("0.", ".", 1) for tick in ticks]


def _x_labels(points: Sequence[Point], x: Callable[[int], float], name: str) -> str:
    foot, last = HEIGHT - 6, len(points) - 1
    if last == 0:
        return _text(x(0), foot, points[0].label, "middle")
    parts = [_text(x(0), foot, points[0].label, "middle" if last > 8 else "start")]
    parts.append(_text(x(last), foot, points[last].label, "end"))
    if name:
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, foot, name, "middle"))
    return "".join(parts)


def _band(line: Line, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    """One per sequence of points with an interval; a single point has a bar."""
    runs: list[list[tuple[int, float, float]]] = [[]]
    for place, point in enumerate(line.points):
        if point.low is None or point.high is None:
            runs.append([])
        else:
            runs[-1].append((place, point.low, point.high))
    parts = []
    for run in runs:
        if len(run) == 1:
            (place, low, high) = run[0]
            parts.append(f'<path class="whisker" d="M{x(place):.1f} {y(low):.1f}V{y(high):.1f}"/>')
        elif run:
            upper = [f"{x(place):.1f},{y(high):.1f}" for place, _, high in run]
            lower = [f"{x(place):.1f},{y(low):.1f}" for place, low, _ in reversed(run)]
            parts.append(f'<polygon class="band" points="{" ".join(upper + lower)}"/>')
    return "".join(parts)


def _line(line: Line, x: Callable[[int], float], y: Callable[[float], float]) -> str:
    places = [(x(place), y(point.value)) for place, point in enumerate(line.points)]
    path = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    look = f"look{line.look}"
    dots = "".join(f'<circle class="dot {look}" cx="{a:.1f}" cy="{d:.1f}" r="2.2"/>' for a, d in places)
    return f'<polyline class="line {look}" points="{path}"/>{dots}'


def _last(point: Point, across: float, down: float, shown: Shown, *, falls: bool) -> str:
    """The dot, and its figure above or below, where it does not cover the line and fits."""
    is_below = (falls and down < HEIGHT - BOTTOM - 18) or down < TOP + 14
    above = down + 17 if is_below else down - 9
    anchor = "end" if across > WIDTH / 2 + 1 else "middle"
    dot = f'<circle class="now" cx="{across:.1f}" cy="{down:.1f}" r="4"/>'
    return dot + _text(across + (4 if anchor == "end" else 0), above, shown(point.value), anchor, "strong")


def _text(across: float, down: float, content: str, anchor: str, look: str = "") -> str:
    shape = f' class="{look}"' if look else ""
    return f'<text{shape} x="{across:.1f}" y="{down:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _in_words(points: Sequence[Point], shown: Shown) -> str:
    last = points[-1]
    interval = f" ({shown(last.low)} to {shown(last.high)})" if last.low is not None and last.high is not None else ""
    if len(points) == 1:
        return f"{shown(last.value)}{interval}"
    return f"from {shown(points[0].value)} ({points[0].label}) to {shown(last.value)}{interval} ({last.label})"
