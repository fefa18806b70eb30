"""Each command and snippet of the handbook runs, or is parsed and says why it isn't run.

Commands and requests run against one real server with the embedded model; what a page shows that
they print is compared. tests/support/docblocks/blocks.py has the marks by which a page tells more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from rerankd import settings
from rerankd.measuring.evaluation import data
from rerankd.sources import catalog

from support.docblocks import command_lines, shell
from support.docblocks.blocks import Block, blocks_of, kind_of
from support.docblocks.comparison import json_faults, text_faults
from support.places import ROOT, SOURCE, files_in
from support.process import PATIENCE, Running

PAGES = files_in(ROOT, "README.md", "docs/**/*.md")
ADDRESS = "127.0.0.1:8100"
"""What the pages call the server; the suite's own has another port."""

FILES = {
    "notes.txt": "hello\nit is a bear\n",
    "more.jsonl": '{"text": "The giant panda is a bear species endemic to China."}\n',
    "judged.jsonl": json.dumps(
        {
            "query": "What is a panda?",
            "documents": [
                {"text": "hi", "relevance": 0},
                {"text": "A panda is a bear of China.", "relevance": 1},
            ],
        }
    )
    + "\n",
}
"""Files that the pages take for the reader's own."""

VARIABLE = re.compile(r"\bRERANKD_[A-Z_]*[A-Z]\b")
SOURCES = [
    *files_in(SOURCE, "**/*.py", "**/*.sh"),
    *files_in(ROOT, "justfile", "scripts/*.sh", "binary/launcher.c", "tests/support/container.py"),
]
"""What reads variables beside the settings' own."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


# What every block must be


@each_page
def test_every_block_is_of_a_known_kind(page: Path) -> None:
    """A block has a language, a first word or a mark by which it is run or checked."""
    found = blocks_of(page, ROOT)

    for before, block in zip([None, *found], found, strict=False):
        if kind_of(block) == "output":
            assert before, f"{block.place}: there is nothing before that prints"
            assert kind_of(before) in {"shell", "python", "json"}, block.place
            assert "not run" not in before.marks, f"{block.place}: what isn't run prints nothing"


@each_page
def test_every_command_is_one_that_there_is(page: Path) -> None:
    """What blocks call of `rerankd` and `just` exists, with options and values that it takes."""
    for block in blocks_of(page, ROOT):
        if kind_of(block) == "shell":
            for command in shell.commands(block.text):
                assert list(command_lines.faults(command)) == [], block.place
                if "not run" not in block.marks:
                    shell.reason_not_to_run(command)


@each_page
def test_every_command_in_a_sentence_is_one_that_there_is(page: Path) -> None:
    """The same for code inside sentences, which may leave arguments out."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)

    for code in re.findall(r"`((?:rerankd|just) [^`]+)`", text):
        if not re.search(r"[…<>\[\]]|^(?:rerankd|just) [A-Z]", code):
            assert list(command_lines.faults(code, whole=False)) == [], code


@each_page
def test_every_variable_is_one_that_there_is(page: Path) -> None:
    """Variables named RERANKD_… are read by the program."""
    known = {one.variable for one in settings.table()}
    known |= {name for file in SOURCES for name in VARIABLE.findall(file.read_text("utf-8"))}

    assert set(VARIABLE.findall(page.read_text("utf-8"))) <= known


@each_page
def test_data_can_be_read(page: Path, tmp_path: Path) -> None:
    """JSON, YAML, TOML and requests are what they say, and right for what reads them."""
    for block in blocks_of(page, ROOT):
        if kind_of(block) in READERS:
            assert READERS[kind_of(block)](block.text), block.place
        if name := block.marks.get("checked by"):
            assert CHECKS[name](block.text, tmp_path), block.place


def _read_json(text: str) -> Any:
    """Return the value, or the list of those that have a line each."""
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


READERS: dict[str, Callable[[str], Any]] = {
    "json": _read_json,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "python": lambda text: compile(text, "snippet", "exec"),
    "http": lambda text: json.loads(text.partition("\n")[2] or "{}"),
}


def _check_manifest(text: str, folder: Path) -> object:
    """Take a manifest as `catalog_dir` would."""
    (folder / "mine.toml").write_text(text)
    return tomllib.loads(text)["id"] in {one.id for one in catalog.manifests(folder)}


def _check_settings(text: str, folder: Path) -> object:
    """Take a file of settings as `--config` would."""
    (folder / "settings.toml").write_text(text)
    return settings.load_settings(config=folder / "settings.toml", environment={}).settings


def _check_judged(text: str, folder: Path) -> object:
    """Take judged queries as `rerankd eval` would."""
    (folder / "judged.jsonl").write_text(text)
    return list(data.JsonlData(folder / "judged.jsonl", depth=100))


CHECKS: dict[str, Callable[[str, Path], object]] = {
    "manifest": _check_manifest,
    "settings": _check_settings,
    "judged": _check_judged,
}


# What runs


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a real server with the embedded model, for all pages."""
    running = Running([], {"RERANKD_STATE_DIR": str(tmp_path_factory.mktemp("state"))})
    watchdog = threading.Timer(PATIENCE, running.process.kill)
    watchdog.start()
    try:
        found = running.until(r"listening on (http://\S+)")[1]
        running.until(r"ready: ")
        watchdog.cancel()
        assert running.process.stderr
        log = running.process.stderr
        reading = threading.Thread(target=lambda: [*log])
        reading.start()
        yield found
    finally:
        watchdog.cancel()
        running.process.kill()
        reading.join()
        running.process.communicate()


@pytest.fixture
def reader(tmp_path: Path, url: str) -> Reader:
    """Return a reader at a folder of their own."""
    return Reader(tmp_path, url)


class Reader:
    """Somebody who types what a page says, in a folder with some files of theirs."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.printed: Any = None
        """What the last block printed: text, or JSON of the server; None: it runs elsewhere."""
        for name, text in FILES.items():
            (folder / name).write_text(text)
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        _script(bin_folder / "rerankd", f'exec "{sys.executable}" -m rerankd "$@"')
        _script(bin_folder / "just", 'shift; exec rerankd "$@"')
        (folder / ".curlrc").write_text("silent\nshow-error\nfail-with-body\nmax-time = 30\n")

    def environment(self) -> dict[str, str]:
        """Return what their shell has set."""
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(SOURCE),
            "HOME": str(self.folder),
            "CURL_HOME": str(self.folder),
            "RERANKD_STATE_DIR": str(self.folder / "state"),
            "RERANKD_URL": self.url,
            "HF_HUB_OFFLINE": "1",
            "URL": self.url,
            "KEY": "any-word",
        }

    def read(self, block: Block) -> None:
        """Do what a block says; what it prints is kept for the block that shows it."""
        kind = kind_of(block)
        if kind == "output":
            assert list(self._faults(block)) == [], block.place
        elif "runs in" in block.marks:
            self.printed = None
        elif kind == "shell":
            self._type(block)
        elif kind == "python" and "not run" not in block.marks:
            self.printed = self._run([sys.executable, "-c", self._here(block.text)], block)
        elif "sends" in block.marks:
            self._send(block)

    def _faults(self, block: Block) -> Iterator[str]:
        if self.printed is None:  # tests/integration/clients/test_clients_pages.py compares it
            return iter(())
        if isinstance(self.printed, str):
            return text_faults(block.text, self.printed)
        return json_faults(json.loads(block.text), self.printed)

    def _type(self, block: Block) -> None:
        lines = [] if "not run" in block.marks else shell.commands(block.text)
        kept = [line for line in lines if shell.reason_not_to_run(line) is None]
        if any("curl" in line for line in kept) and not shutil.which("curl"):
            pytest.skip("curl is not installed")
        self.printed = ""
        if kept:
            script = "set -euo pipefail\n" + self._here("\n".join(kept))
            self.printed = self._run(["bash", "-c", script], block)

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, self.url.removeprefix("http://"))

    def _run(self, command: list[str], block: Block) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _send(self, block: Block) -> None:
        method, path = block.marks["sends"].split()
        answer = httpx.request(method, self.url + path, content=block.text, timeout=PATIENCE)
        assert answer.is_success, f"{block.place}: {answer.text}"
        self.printed = answer.json()


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@each_page
def test_a_reader_gets_what_the_page_shows(page: Path, reader: Reader) -> None:
    """Everything on a page that can run here runs, in its order, and prints what is shown."""
    for block in blocks_of(page, ROOT):
        reader.read(block)
