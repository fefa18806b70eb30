"""Plots as SVG within a page: no scripts, no fonts, nothing loaded from another host."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from msgspec import Struct

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 20, 52
TICKS = 5
SPEED_ROOM = 0.4
"""Powers of ten added at both ends of the speeds, so that round numbers are on the axis."""
MOST_BARS = 400
"""Of more queries than this, as many are drawn, spaced evenly in their order."""
COLOURS = 6
"""Classes c0 … c5 of the page's style; further contenders begin again."""


class Point(Struct, frozen=True):
    """A contender: documents/s, quality, and the bounds of its quality."""

    name: str
    speed: float
    quality: float
    low: float
    high: float


class SharePoint(Struct, frozen=True):
    """A bin of scores: their mean, the share of relevant documents, its bounds, and how many."""

    score: float
    share: float
    low: float
    high: float
    documents: int


class Axis(Struct, frozen=True):
    """Maps values to pixels."""

    start: float
    end: float
    near: float
    far: float

    def at(self, value: float) -> float:
        share = (value - self.start) / (self.end - self.start)
        return self.near + share * (self.far - self.near)

    @property
    def ticks(self) -> list[float]:
        """Return round values between both ends."""
        raw = (self.end - self.start) / TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * one for one in (1, 2, 5, 10) if power * one >= raw * (1 - 1e-9))
        first = math.ceil(self.start / step - 1e-9)
        last = math.floor(self.end / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def quality_against_speed(points: Sequence[Point], baseline: float, measure: str) -> str:
    """Draw each contender at its speed (logarithmic) and quality, the first stage as a line."""
    speeds = [math.log10(point.speed) for point in points]
    across = _axis([min(speeds) - SPEED_ROOM, max(speeds) + SPEED_ROOM], LEFT, WIDTH - RIGHT)
    bounds = [edge for point in points for edge in (point.low, point.high)]
    up = _axis([*bounds, baseline], HEIGHT - BOTTOM, TOP)
    marks = [_plot_mark(number, point, across, up) for number, point in enumerate(points)]
    parts = [
        *_grid(up),
        *(_speed_tick(across, value) for value in _decades(across)),
        _svg_line("base", LEFT, up.at(baseline), WIDTH - RIGHT, up.at(baseline)),
        _svg_text(WIDTH - RIGHT, up.at(baseline) - 6, "first stage", "end"),
        *marks,
        _svg_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "documents/s", "middle"),
    ]
    return _svg(f"{measure} by speed", "Best is the upper right: good and fast.", parts)


def differences(number: int, name: str, values: Iterable[float], measure: str) -> str:
    """Draw each query's difference to the first stage as a bar, from most lost to most gained."""
    ordered = _thinned(sorted(values))
    up = _axis([min(*ordered, 0.0), max(*ordered, 0.0)], HEIGHT - BOTTOM, TOP)
    width = (WIDTH - LEFT - RIGHT) / len(ordered)
    zero = up.at(0.0)
    bars = [
        f'<rect x="{LEFT + at * width:.1f}" y="{min(up.at(value), zero):.1f}" '
        f'width="{max(0.5, width * 0.9):.2f}" height="{abs(up.at(value) - zero):.1f}"/>'
        for at, value in enumerate(ordered)
    ]
    parts = [
        *_grid(up),
        f'<g class="c{number % COLOURS}">{"".join(bars)}</g>',
        _svg_line("base", LEFT, zero, WIDTH - RIGHT, zero),
        _svg_text(
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "queries, sorted by difference", "middle"
        ),
    ]
    about = "Bars above the line are queries that improved, bars below are queries that got worse."
    return _svg(f"{name}: {measure} by query, minus the first stage", about, parts)


def shares_by_score(name: str, curves: Sequence[tuple[str, Sequence[SharePoint]]]) -> str:
    """Draw what share of documents is relevant by their score, a curve for each scale.

    A mark's area grows with its documents; scores that are shares lie on the dashed line.
    """
    across = Axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    up = Axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    most = max((point.documents for _, points in curves for point in points), default=1)
    parts = [
        *_grid(up),
        *(
            _svg_text(across.at(value), HEIGHT - BOTTOM + 18, f"{value:.1f}", "middle")
            for value in across.ticks
        ),
        _svg_line("base", across.at(0), up.at(0), across.at(1), up.at(1)),
    ]
    for number, (scale, points) in enumerate(curves):
        parts.append(_share_curve(number, points, across, up, most))
        title = _svg_text(LEFT + 12, TOP + 16 + 18 * number, scale, "start")
        parts.append(f'<g class="c{number}">{title}</g>')
    parts.append(_svg_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "score", "middle"))
    about = (
        "The share of relevant documents by score, on queries that the fit has not seen. "
        "On the dashed line, scores are shares; larger marks stand for more documents."
    )
    return _svg(f"{name}: reliability", about, parts)


def _share_curve(
    number: int, points: Sequence[SharePoint], across: Axis, up: Axis, most: int
) -> str:
    marks = []
    for one in points:
        x = across.at(one.score)
        radius = 3 + 7 * math.sqrt(one.documents / most)
        said = f"{one.share:.3f} of {one.documents} documents at {one.score:.3f}"
        marks.append(
            f"{_svg_line('bar', x, up.at(one.low), x, up.at(one.high))}"
            f'<circle cx="{x:.1f}" cy="{up.at(one.share):.1f}" r="{radius:.1f}">'
            f"<title>{said}</title></circle>"
        )
    path = " ".join(f"{across.at(one.score):.1f},{up.at(one.share):.1f}" for one in points)
    return f'<g class="c{number}"><polyline points="{path}"/>{"".join(marks)}</g>'


def _thinned(ordered: Sequence[float]) -> list[float]:
    """Return at most `MOST_BARS` values, the first and the last among them."""
    if len(ordered) <= MOST_BARS:
        return list(ordered)
    last = len(ordered) - 1
    return [ordered[round(at * last / (MOST_BARS - 1))] for at in range(MOST_BARS)]


def _axis(values: Sequence[float], near: float, far: float) -> Axis:
    """Return an axis with some room at both ends, also for values that are all the same."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or 0.05
    return Axis(low - room, high + room, near, far)


def _decades(across: Axis) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that lie on a logarithmic axis."""
    powers = range(math.floor(across.start), math.ceil(across.end) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [value for value in values if across.start <= math.log10(value) <= across.end]


def _grid(up: Axis) -> list[str]:
    parts = []
    for value in up.ticks:
        parts.append(_svg_line("grid", LEFT, up.at(value), WIDTH - RIGHT, up.at(value)))
        parts.append(_svg_text(LEFT - 8, up.at(value) + 4, f"{value:.2f}", "end"))
    return parts


def _speed_tick(across: Axis, value: float) -> str:
    x = across.at(math.log10(value))
    return _svg_line("grid", x, TOP, x, HEIGHT - BOTTOM) + _svg_text(
        x, HEIGHT - BOTTOM + 18, f"{value:g}", "middle"
    )


def _plot_mark(number: int, point: Point, across: Axis, up: Axis) -> str:
    x, y = across.at(math.log10(point.speed)), up.at(point.quality)
    # Names in the right half are left of their mark, so that none leaves the plot.
    left = x > (LEFT + WIDTH - RIGHT) / 2
    beside_x, anchor = (x - 10, "end") if left else (x + 10, "start")
    # Alternately above and below: names of similar contenders would overlap.
    beside = y - 8 if number % 2 == 0 else y + 16
    return (
        f'<g class="c{number % COLOURS}">'
        f"{_svg_line('bar', x, up.at(point.low), x, up.at(point.high))}"
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        f"{_svg_text(beside_x, beside, point.name, anchor)}</g>"
    )


def _svg_line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg_text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(title: str, about: str, parts: Iterable[str]) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{escape(f"{title}. {about}")}">{"".join(parts)}</svg>'
        f"<p>{escape(about)}</p></figure>"
    )
