"""Tables that fit the terminal: columns give way one after the other, and no name is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rerankd.terminal import visible

GAP = 2
"""Cells between two columns: one of padding, one of the box."""
NARROWEST = 4
"""Cells below which no column is folded."""

TableRow = Sequence[str]


class TableColumn(Struct, frozen=True):
    """A column: columns with the highest `rank` are left out first, those with 0 never."""

    heading: str
    rank: int = 0
    wraps: int = 0
    """The fewest cells it may be wrapped to; 0: it is never wrapped while others can give way."""
    right: bool = False
    style: str = ""


class _Room(Struct):
    """How wide a column must be, would like to be, and is."""

    least: int
    natural: int
    width: int = 0


def show_table(
    console: Console, columns: Sequence[TableColumn], rows: Sequence[TableRow], *, hint: bool = True
) -> None:
    """Print rows as a table that fits the console; with `hint`, name the columns left out.

    A column without any content is left out. What remains folds, so that every character of a name
    is shown, however narrow the terminal is.
    """
    filled = [at for at in range(len(columns)) if not rows or any(row[at] for row in rows)]
    rooms = {at: _room_of(columns[at], [row[at] for row in rows]) for at in filled}
    shown = _columns_that_fit(columns, rooms, console.width)
    _widen(shown, console.width)
    console.print(_drawn_table(columns, rows, shown))
    left_out = [columns[at].heading for at in filled if at not in shown]
    if left_out and hint:
        console.print(f"not shown: {', '.join(left_out)}; widen the terminal or use --json")


def _room_of(column: TableColumn, cells: Sequence[str]) -> _Room:
    lines = (line for text in (column.heading, *cells) for line in _on_screen(text).split("\n"))
    natural = max(map(cell_len, lines))
    return _Room(min(natural, column.wraps) if column.wraps else natural, natural)


def _columns_that_fit(
    columns: Sequence[TableColumn], rooms: dict[int, _Room], total: int
) -> dict[int, _Room]:
    """Return the columns for which there is room, by their places."""
    shown = dict(rooms)
    while _cells_taken([one.least for one in shown.values()]) > total:
        last = max(shown, key=lambda at: (columns[at].rank, at))
        if not columns[last].rank:
            break
        del shown[last]
    return shown


def _widen(shown: dict[int, _Room], total: int) -> None:
    """Share out the room: what columns need, then the rest to those that wrap, narrowest first."""
    for one in shown.values():
        one.width = one.least
    while _cells_taken([one.width for one in shown.values()]) > total:
        widest = max(shown.values(), key=lambda one: one.width)
        if widest.width <= NARROWEST:
            break
        widest.width -= 1
    spare = total - _cells_taken([one.width for one in shown.values()])
    for one in sorted(shown.values(), key=lambda one: one.natural):
        more = max(0, min(spare, one.natural - one.width))
        one.width += more
        spare -= more


def _cells_taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _drawn_table(
    columns: Sequence[TableColumn], rows: Sequence[TableRow], shown: dict[int, _Room]
) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for at, room in shown.items():
        column = columns[at]
        justify: Literal["right", "left"] = "right" if column.right else "left"
        grid.add_column(
            Text(column.heading),
            justify=justify,
            style=column.style,
            overflow="fold",
            width=room.width,
        )
    for row in rows:
        grid.add_row(*(Text(_on_screen(row[at])) for at in shown))
    return grid


def _on_screen(text: str) -> str:
    return visible(text, lines=True)


def show_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Print names and values under one another; long values fold beside their names."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in facts:
        grid.add_row(Text(name), Text(_on_screen(value)))
    console.print(grid)
