"""Snippets of the handbook that need a client library, run as they stand on their page."""

from __future__ import annotations

import ast
import json
import re
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


INSTALLED = """
import importlib.metadata as metadata, json, re, sys
asked = json.loads(sys.stdin.read())
waiting, reached = [re.sub(r"[-_.]+", "-", name).lower() for name in asked["packages"]], set()
while waiting:
    name = waiting.pop()
    if name in reached:
        continue
    reached.add(name)
    try:
        needed = metadata.requires(name) or ()
    except metadata.PackageNotFoundError:
        continue  # for another platform or Python
    for one in needed:
        if "extra ==" not in one:
            waiting.append(re.sub(r"[-_.]+", "-", re.match(r"[\\w.-]+", one)[0]).lower())
files = {}
for package in metadata.distributions():
    name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
    if name in reached:
        for file in package.files or ():
            path = str(file).removesuffix(".py").removesuffix("/__init__")
            files[path.replace("/", ".")] = name
print(json.dumps([
    module for module in asked["modules"]
    if module.split(".")[0] not in sys.stdlib_module_names and module not in files
]))
"""
"""Prints which modules no package has that pip would install with those that are named."""

INSTALL = re.compile(r"^pip install (.+)$", re.MULTILINE)


def _installs() -> list[tuple[str, list[str], Block]]:
    """Return each snippet after a page's own `pip install`, with the packages named before it."""
    found = []
    for page in files_in(ROOT, "docs/*.md"):
        packages: list[str] = []
        for block in blocks_of(page, ROOT):
            for line in INSTALL.findall(block.text):
                packages += line.split()
            if packages and block.marks.get("runs in") and kind_of(block) == "python":
                found.append((block.marks["runs in"], list(packages), block))
    return found


@pytest.mark.parametrize(
    ("environment", "packages", "block"),
    _installs(),
    ids=lambda one: one.place if isinstance(one, Block) else "",
)
def test_a_pages_own_install_has_what_its_snippets_import(
    environment: str, packages: list[str], block: Block
) -> None:
    """A reader has no more than what the page told them to install, and what that needs."""
    modules = sorted(
        name
        for node in ast.walk(ast.parse(block.text))
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    )
    done = subprocess.run(
        [str(ENVIRONMENTS / environment / "bin" / "python"), "-c", INSTALLED],
        env=environ(),
        input=json.dumps({"packages": packages, "modules": modules}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )

    assert json.loads(done.stdout) == [], f"{block.place}: pip install {' '.join(packages)}"


def test_pages_with_an_install_are_found() -> None:
    """The check has something to check."""
    assert {"langchain", "llamaindex", "sdk"} <= {environment for environment, *_ in _installs()}
