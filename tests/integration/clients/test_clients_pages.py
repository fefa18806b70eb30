"""Snippets of the handbook that need a client library, run as they stand on their page."""

from __future__ import annotations

import subprocess
from itertools import pairwise

import pytest

from support.client_environments import ENVIRONMENTS, PATIENCE, environ
from support.docblocks.blocks import Block, blocks_of, kind_of
from support.docblocks.comparison import text_faults
from support.places import ROOT, files_in

ADDRESS = "http://127.0.0.1:8100"

ROUTER = """
import asyncio, sys, litellm, yaml
router = litellm.Router(model_list=yaml.safe_load(sys.stdin.read())["model_list"])
asked = router.arerank(model="reranker", query="panda", documents=["hi", "a panda"], top_n=1)
assert asyncio.run(asked).results[0]["index"] == 1
"""
"""What LiteLLM's proxy does with the models of its configuration."""


def _snippets() -> list[tuple[Block, Block | None]]:
    """Return the blocks that need an environment of clients, each with what it shows to print."""
    found = []
    for page in files_in(ROOT, "docs/*.md"):
        blocks = blocks_of(page, ROOT)
        for block, after in pairwise([*blocks, None]):
            if block and "runs in" in block.marks:
                shown = after if after and kind_of(after) == "output" else None
                found.append((block, shown))
    return found


@pytest.mark.parametrize(("block", "shown"), _snippets(), ids=lambda one: one and one.place)
def test_snippet_prints_what_its_page_shows(
    block: Block, shown: Block | None, keyless: str
) -> None:
    """The code of a page runs against a server, and prints what stands below it."""
    python = ENVIRONMENTS / block.marks["runs in"] / "bin" / "python"
    text = block.text.replace(ADDRESS, keyless)

    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", text if kind_of(block) == "python" else ROUTER],
        env=environ(),
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert done.returncode == 0, f"{block.place}\n{done.stderr}"
    if shown:
        assert list(text_faults(shown.text, done.stdout)) == [], shown.place


def test_there_are_snippets() -> None:
    """LangChain, LlamaIndex and LiteLLM have some."""
    assert {"langchain", "llamaindex", "litellm"} <= {
        one.marks["runs in"] for one, _ in _snippets()
    }
