"""A server's resident memory over the requests of a long run, drawn as one SVG file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from rerankd.measuring.evaluation.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis
from rerankd.measuring.figures import MEGABYTE

MOST_SAMPLES = 200
"""Points of the line; more would not show."""

_STYLE = (
    "text{font:12px sans-serif;fill:#555}.grid{stroke:#ddd}.line{fill:none;stroke:#2a6fdb;"
    "stroke-width:2}.title{font-size:14px;fill:#222}svg{background:#fff}"
)


def sample_interval(requests: int) -> int:
    """Return after how many of a run's requests memory is sampled."""
    return max(1, requests // MOST_SAMPLES)


def draw(samples: Sequence[tuple[int, int]], title: str) -> str:
    """Return the SVG of (requests done, bytes resident); the scale of bytes begins at 0."""
    last = max((done for done, _ in samples), default=1)
    most = max((held for _, held in samples), default=1) / MEGABYTE
    across = Axis(0.0, float(max(last, 1)), LEFT, WIDTH - RIGHT)
    up = Axis(0.0, most * 1.1, HEIGHT - BOTTOM, TOP)
    points = " ".join(
        f"{across.at(done):.1f},{up.at(held / MEGABYTE):.1f}" for done, held in samples
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        *(_y_tick(up, value) for value in up.ticks),
        *(_x_tick(across, value) for value in across.ticks),
        f'<polyline class="line" points="{points}"/>',
        f'<text class="title" x="{LEFT}" y="{TOP - 4}">{escape(title)}, MB</text>',
        f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">requests</text></svg>',
    ]
    return "\n".join(parts) + "\n"


def _y_tick(up: Axis, value: float) -> str:
    y = up.at(value)
    line = f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
    return f'{line}<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'


def _x_tick(across: Axis, value: float) -> str:
    x, y = across.at(value), HEIGHT - BOTTOM + 18
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{value:g}</text>'


def write(file: Path, samples: Sequence[tuple[int, int]], title: str) -> None:
    """Write the SVG."""
    file.write_text(draw(samples, title), "utf-8")
