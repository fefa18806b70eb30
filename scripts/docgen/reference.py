"""Which pages are written from the program, and how; `just docs` writes them."""

from __future__ import annotations

import re
from collections.abc import Callable

from rerankd import settings

from docgen import api_page, command_page
from docgen.markdown import anchor_of, codes, put, table
from docgen.metrics_table import metrics
from support.floors import FLOORS
from support.places import ROOT

DOCS = ROOT / "docs"


def settings_table() -> str:
    """Return the table of settings."""
    return table(("setting", "flag", "variable", "default", "meaning"), map(_row, settings.table()))


def _row(setting: settings.Setting) -> tuple[str, ...]:
    flag = "" if setting.name in settings.SECRET else codes([setting.flag])
    default = "" if setting.default in {(), ""} else setting.default
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    return (*map(codes, ([setting.name],)), flag, codes([setting.variable]), shown, setting.help)


def floors_table() -> str:
    """Return the table of rooms, lowest floor first, without the package itself."""
    rows = [
        (str(number), codes([room.name]), room.job, room.unaware_of)
        for number, floor in enumerate(FLOORS)
        for room in floor
        if room.name != "rerankd"
    ]
    return table(("floor", "room", "job", "must not know"), rows)


DECISION = re.compile(r"^### (.+)\n\nCode: (.+)$", re.MULTILINE)


def decisions_index(page: str) -> str:
    """Return a table of the page's decisions, each with the code that carries it out."""
    rows = [(f"[{title}](#{anchor_of(title)})", code) for title, code in DECISION.findall(page)]
    return table(("decision", "code"), rows)


def _design(page: str) -> str:
    page = put(page, "floors", floors_table())
    return put(page, "decisions", decisions_index(page))


PAGES: dict[str, Callable[[str], str]] = {
    "api.md": lambda page: put(
        put(page, "dialects", api_page.dialects()), "errors", api_page.errors()
    ),
    "api-reference.md": lambda _: api_page.page(),
    "cli.md": lambda _: command_page.page(),
    "design.md": _design,
    "observability.md": lambda page: put(page, "metrics", metrics()),
    "settings.md": lambda page: put(page, "settings", settings_table()),
}
"""Each page of docs/ that is written, wholly or in part, and what makes the new text of the old."""


def read(name: str) -> str:
    """Return a page as it is, empty if there is none yet."""
    path = DOCS / name
    return path.read_text("utf-8") if path.exists() else ""


def write() -> None:
    """Write every page."""
    for name, made in PAGES.items():
        (DOCS / name).write_text(made(read(name)), "utf-8")
