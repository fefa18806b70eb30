"""The fenced blocks of the handbook's pages, each with the marks that stand above it.

A mark is an HTML comment just above the fence, such as `<!-- not run: needs a GPU -->`:

    not run: REASON     commands whose words are checked, and that the suite doesn't run
    text: WHAT          no code: a diagram, a template
    output              what the block before prints; numbers may differ a little, … is anything
    sends: POST /path   a body; the server must take it
    checked by: NAME    one of `test_page_blocks.CHECKS`
    runs in: NAME       Python for an environment of `just test-clients`

Without a mark the language of the fence says what a block is, or, where it has none, its first
word: see `kind_of`. A block that nothing is known of is an error, so that no code goes unchecked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.docblocks import shell

PLACE = "tests/support/docblocks"

MARKS = frozenset({"not run", "text", "output", "sends", "checked by", "runs in"})
NEED_WORDS = MARKS - {"output"}
LANGUAGES = {
    **dict.fromkeys(("sh", "bash", "console", "shell"), "shell"),
    **dict.fromkeys(("json", "jsonl", "ndjson"), "json"),
    **dict.fromkeys(("yaml", "yml"), "yaml"),
    **{name: name for name in ("toml", "python", "text", "nginx", "http")},
}
"""What the languages of fences mean."""

FENCE = re.compile(r"^( *)(```+)([\w-]*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
COMMENTS = re.compile(r"((?:^ *<!--(?:(?!-->).)*-->\n+)+)\Z", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.DOTALL)
HTTP_REQUEST = re.compile(r"^(GET|POST|PUT|DELETE) \S+$", re.MULTILINE)


class UnknownBlock(Exception):
    """Nothing is known of a block; the message says where it is and what to do."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its fence's language, its text, and its marks."""

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it is, as editors read it."""
        return f"{self.page}:{self.line}"


def blocks_of(path: Path, root: Path) -> list[Block]:
    """Return a page's blocks in their order."""
    return list(_blocks(path.read_text("utf-8"), str(path.relative_to(root))))


def _blocks(page: str, name: str) -> Iterator[Block]:
    for found in FENCE.finditer(page):
        indent, _, language, text = found.groups()
        line = page.count("\n", 0, found.start()) + 1
        unindented = re.sub(rf"^{indent}", "", text, flags=re.MULTILINE)
        marks = _marks(page[: found.start()], f"{name}:{line}")
        yield Block(name, line, language, unindented.rstrip("\n"), marks)


def _marks(before: str, place: str) -> dict[str, str]:
    """Return the marks in the comments that end a text; other comments are none of ours."""
    above = COMMENTS.search(before)
    marks = {}
    for comment in COMMENT.findall(above[1]) if above else ():
        name, _, words = (part.strip() for part in " ".join(comment.split()).partition(":"))
        if name not in MARKS:
            if "`just docs`" in comment:
                continue
            raise UnknownBlock(f"{place}: no mark is named {name!r}; there are {sorted(MARKS)}")
        if not words and name in NEED_WORDS:
            raise UnknownBlock(f"{place}: {name!r} needs a word on what or why")
        marks[name] = words
    return marks


def kind_of(block: Block) -> str:
    """Return what a block is: shell, json, yaml, toml, python, nginx, http, text or output.

    Raises UnknownBlock.
    """
    if "output" in block.marks:
        return "output"
    if "text" in block.marks:
        return "text"
    if block.language:
        if block.language not in LANGUAGES:
            raise UnknownBlock(
                f"{block.place}: what is {block.language!r}? see tests/support/docblocks/blocks.py"
            )
        return LANGUAGES[block.language]
    if HTTP_REQUEST.match(block.text):
        return "http"
    if shell.is_known(block.text) or "not run" in block.marks:
        return "shell"
    if _is_json_lines(block.text):
        return "json"
    raise UnknownBlock(
        f"{block.place}: nothing is known of {block.text.split()[:1]}: give the fence a language, "
        f"put a mark above it ({PLACE}/blocks.py), or its command into {PLACE}/shell.py"
    )


def _is_json_lines(text: str) -> bool:
    try:
        values = [json.loads(line) for line in text.splitlines()]
    except ValueError:
        return False
    return all(isinstance(value, (dict, list)) for value in values)
