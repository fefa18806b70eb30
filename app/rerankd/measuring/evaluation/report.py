"""A comparison as one HTML file: no script, nothing loaded from anywhere, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from rerankd.measuring.evaluation import plots
from rerankd.measuring.evaluation.comparison import Comparison, Cost, Gap, QualityFigures, Standing
from rerankd.measuring.evaluation.plots import Point
from rerankd.measuring.evaluation.reliability_section import reliability_section
from rerankd.measuring.provenance import provenance_lines

COSTS = ("documents/s", "p95 ms", "memory MB")

DIGEST_DIGITS = 64
MOST_CHANGED = 10
"""Queries listed at each end."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b2026; --muted: #54606c;
  --line: #d4dae0; --c0: #0b5cad; --c1: #a34a00; --c2: #14692f; --c3: #7a3ba8;
  --c4: #a1203f; --c5: #4d5a00; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --text: #e3e7ec; --muted: #a3aeba; --line: #363e47;
    --c0: #7cb7f5; --c1: #f0a868; --c2: #74cf8e; --c3: #c8a2ee; --c4: #ff938a;
    --c5: #cbd66b; } }
body { background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif;
  margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0; }
caption { color: var(--muted); text-align: left; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: right;
  white-space: nowrap; }
th[scope=row] { overflow-wrap: anywhere; white-space: normal; }
footer { overflow-wrap: anywhere; }
th[scope=row], thead th:first-child { text-align: left; }
small, figure p, figcaption { color: var(--muted); }
figure { margin: 2rem 0; }
figure p { margin: .25rem 0; }
svg { height: auto; max-width: 100%; width: 40rem; }
svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg g text { fill: currentColor; }
.grid { stroke: var(--line); } .base { stroke: var(--muted); stroke-dasharray: 4 3; }
.bar { stroke: currentColor; stroke-width: 2; } circle, rect { fill: currentColor; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.5; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(found: Comparison) -> str:
    """Return the whole document; every name from outside is escaped."""
    summary = (
        f"{len(found.queries)} queries, {found.documents} candidates, at most the first "
        f"{found.depth} per query. Intervals of differences to the first stage: 95%, paired "
        f"bootstrap, {found.resamples} resamples, seed {found.seed}."
    )
    body = "\n".join(
        [
            "<h1>Rerankers on your data</h1>",
            f"<p>{escape(summary)}</p>",
            _notes(found),
            _table(found),
            _scatter(found),
            *(_by_query(number, one, found) for number, one in enumerate(found.contenders)),
            *(
                reliability_section(one.name, one.reliability)
                for one in found.contenders
                if one.reliability
            ),
            _made_with(found),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Rerankers on your data</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _made_with(found: Comparison) -> str:
    if found.made is None:
        return ""
    lines = "<br>".join(map(escape, provenance_lines(found.made, shown_digits=DIGEST_DIGITS)))
    return f"<footer><p><small>{lines}</small></p></footer>"


def _notes(found: Comparison) -> str:
    if not found.notes:
        return ""
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in found.notes)}</ul>"


def _table(found: Comparison) -> str:
    names = [quality.measure for quality in found.first_stage.quality]
    head = ["model", *names, f"{names[0]} vs best", *COSTS]
    rows = "".join(_standing_row(one) for one in (found.first_stage, *found.contenders))
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        '<div class="wide"><table><caption>Means over all queries; below each, the difference to '
        f"the first stage and its interval</caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _standing_row(one: Standing) -> str:
    gap = "<br>".join(map(_small, difference_texts(one.gap)))
    cells = [*map(_quality_cell, one.quality), gap or "–", *_cost_cells(one.cost)]
    shown = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{escape(one.name)}</th>{shown}</tr>'


def _quality_cell(quality: QualityFigures) -> str:
    return "<br>".join([f"{quality.mean:.4f}", *map(_small, difference_texts(quality))])


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>"


def difference_texts(measured: QualityFigures | Gap | None) -> list[str]:
    """Return a difference and its interval as text, those of both that there are."""
    if measured is None or measured.difference is None:
        return []
    shown = [f"{measured.difference:+.3f}"]
    if measured.interval is not None:
        shown.append(f"[{measured.interval.low:+.3f}, {measured.interval.high:+.3f}]")
    return shown


def cost_texts(cost: Cost | None) -> list[str]:
    """Return documents/s, p95 in ms and memory in MB as text, empty where there is none."""
    if cost is None:
        return ["", "", ""]
    memory = "" if cost.memory_mb is None else f"{cost.memory_mb:.0f}"
    return [f"{cost.documents_per_second:.1f}", f"{cost.p95_ms:.1f}", memory]


def _cost_cells(cost: Cost | None) -> list[str]:
    return [text or "–" for text in cost_texts(cost)]


def _scatter(found: Comparison) -> str:
    points = [
        _point(one, one.quality[0], one.cost) for one in found.contenders if one.cost is not None
    ]
    if not points:
        return ""
    baseline = found.first_stage.quality[0]
    return plots.quality_against_speed(points, baseline.mean, baseline.measure)


def _point(one: Standing, quality: QualityFigures, cost: Cost) -> Point:
    low = high = quality.mean
    if quality.interval is not None and quality.difference is not None:
        # The bounds of the difference, drawn around the mean that they belong to.
        low += quality.interval.low - quality.difference
        high += quality.interval.high - quality.difference
    return Point(one.name, cost.documents_per_second, quality.mean, low, high)


def _by_query(number: int, one: Standing, found: Comparison) -> str:
    quality, baseline = one.quality[0], found.first_stage.quality[0]
    changes = [
        (after - before, name)
        for after, before, name in zip(
            quality.by_query, baseline.by_query, found.queries, strict=True
        )
    ]
    changes.sort()
    plot = plots.differences(number, one.name, (change for change, _ in changes), quality.measure)
    lost = [item for item in changes[:MOST_CHANGED] if item[0] < 0]
    gained = [item for item in reversed(changes[-MOST_CHANGED:]) if item[0] > 0]
    return f"{plot}{_changed('Largest losses', lost)}{_changed('Largest gains', gained)}"


def _changed(title: str, changes: Iterable[tuple[float, str]]) -> str:
    items = [f"{escape(name)} ({change:+.3f})" for change, name in changes]
    return f"<p>{title}: {', '.join(items)}.</p>" if items else ""
