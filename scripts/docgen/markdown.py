"""Markdown as the handbook writes it: tables, and the parts of a page that are written by code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

END = "<!-- end of what `just docs` writes -->"


def begin_of(name: str) -> str:
    """Return the line that a generated part of a page begins with."""
    return f"<!-- `just docs` writes this: {name} -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars inside cells are escaped."""
    lines = [f"| {' | '.join(map(cell, line))} |" for line in (head, *rows)]
    return "\n".join((lines[0], "|" + "---|" * len(head), *lines[1:]))


def cell(text: str) -> str:
    """Return a text as it stands in a table's cell."""
    return re.sub(r"(?<!\\)\|", r"\|", " ".join(text.split()))


def sentence_part(text: str) -> str:
    """Return a sentence as it stands in a table: without its full stop, its first word small."""
    text = " ".join(text.split()).removesuffix(".")
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def anchor_of(heading: str) -> str:
    """Return what a link to a heading names, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def codes(names: Iterable[object]) -> str:
    """Return names as code, with commas between."""
    return ", ".join(f"`{name}`" for name in names)


def put(page: str, name: str, text: str) -> str:
    """Return a page with a generated part in the place of the one that it has."""
    begin = begin_of(name)
    if page.count(begin) != 1:
        raise ValueError(f"a page needs the line {begin!r} once")
    before, after = page.split(begin)
    _, found, rest = after.partition(END)
    if not found:
        raise ValueError(f"no {END!r} follows {begin!r}")
    return f"{before}{begin}\n{text}\n{END}{rest}"
