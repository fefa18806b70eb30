"""Bytes that aren't UTF-8 in files, names and arguments: one line, or the same bytes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from rerankd import cli
from rerankd.cli import output
from rerankd.deployments.load_check import check_in_child
from rerankd.settings import Settings
from rerankd.telemetry.log_format import formatter

from support.places import ROOT
from support.serving import server_of, service_of

pytestmark = pytest.mark.slow

MINI = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
ODD = os.fsdecode(b"odd\xff\xe9")
DEEP = b'{"text":' * 100_000
NOWHERE = "http://127.0.0.1:9"

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("rank", "q", ODD),
    ("rank", "q", "lines", "--model", ODD),
    ("rank", "q", "--model-id", ODD),
    ("rank", "q", "--config", ODD),
    ("eval", ODD),
    ("eval", "lines", "--models", ODD),
    ("eval", "lines", "--url", ODD),
    ("eval", "lines", "--html", f"{ODD}/page.html"),
    ("pull", ODD),
    ("pull", f"hf:{ODD}/x:y.gguf"),
    ("rm", ODD),
    ("inspect", ODD),
    ("inspect", "lines", "--as", ODD),
    ("convert", ODD),
    ("deploy", ODD, "--url", NOWHERE),
    ("deploy", "x", "--id", ODD, "--url", NOWHERE),
    ("deploy", "x", "--option", f"device={ODD}", "--url", NOWHERE),
    ("deploy", "x", "--url", f"http://{ODD}"),
    ("ps", "--url", NOWHERE, "--api-key", ODD),
    ("ps", "--url", NOWHERE, "--api-key", "é"),
    ("ps", "--url", NOWHERE, f"--api-key={ODD}"),
    ("stop", ODD, "--url", NOWHERE),
    ("restart", ODD, "--url", NOWHERE, "--state-dir", ODD),
    ("keys", "create", ODD),
    ("keys", "create", "x", "--model", ODD),
    ("keys", "revoke", ODD),
    ("bench", "--url", NOWHERE, "--api-key", ODD),
    ("bench", "--url", ODD),
    ("tune", ODD),
    ("config", "--config", ODD),
    ("config", "--host", ODD),
    ("serve", "--model", ODD),
    ("serve", "--config", "lines"),
    ("devices", ODD),
    ("service", ODD),
    ("completion", ODD),
    ("ray", ODD),
    (ODD,),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a file that isn't UTF-8 in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines").write_bytes(b"a \xff bear\n\x00two\n")
    return tmp_path


def run(*words: str, content: bytes = b"") -> Result:
    """Run a command in this process."""
    return CliRunner(env={"RERANKD_STATE_DIR": "state"}).invoke(cli.main, words, input=content)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: ascii(" ".join(words)))
def test_every_command_refuses_odd_words_in_one_line(words: tuple[str, ...]) -> None:
    """It is our error or click's usage, and it can be written to any stream."""
    result = run(*words)
    last = result.stderr.splitlines()[-1]

    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert last.lower().startswith("error: ")
    assert "unexpected" not in last.lower() or "argument" in last
    last.encode()


@pytest.mark.parametrize("words", [("ps", "--api-key", ODD), ("ps", f"--api-key={ODD}")])
def test_a_secret_is_named_and_not_shown(words: tuple[str, ...]) -> None:
    result = run(*words, "--url", NOWHERE)

    assert "--api-key is not" in result.stderr
    assert "odd" not in result.stderr


def test_a_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKD_API_KEY", ODD)
    assert "RERANKD_API_KEY is not" in run("ps", "--url", NOWHERE).stderr


def test_a_fault_of_ours_is_not_blamed_on_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_given: Any) -> None:
        "\ud800".encode()

    monkeypatch.setattr("rerankd.cli.remote.statuses", broken)
    assert isinstance(run("ps").exception, UnicodeEncodeError)


@pytest.mark.parametrize(
    "content",
    [
        b"a \xff bear\n\x00two\n",
        DEEP + b"\n" + DEEP + b"\n",
        b'"a"\n' + DEEP + b"\n",
        b'{"text":"' + b"x" * 100_000,
    ],
)
@pytest.mark.parametrize("by_name", [False, True])
def test_rank_keeps_every_line_and_the_name_of_its_file(
    content: bytes, folder: Path, *, by_name: bool
) -> None:
    """From a file with an odd name and from standard input."""
    (folder / ODD).write_bytes(content)
    result = run("rank", "bear", *([ODD] if by_name else []), content=content)
    found = sorted(map(json.loads, result.stdout.splitlines()), key=lambda one: one["line"])

    assert result.exit_code == 0, result.stderr
    texts = content.decode("utf-8", "replace").splitlines()
    assert [one["text"] for one in found] == texts
    if by_name:
        assert {os.fsencode(one["file"]) for one in found} == {os.fsencode(ODD)}


@pytest.mark.parametrize("line", [DEEP, b"[" * 100_000, b"\xff", b"\x01"])
def test_malformed_jsonl_is_named_with_its_line(line: bytes) -> None:
    """The first line and later ones."""
    for number, content in ((1, line), (2, b'"a"\n' + line)):
        result = run("rank", "q", "--format", "jsonl", content=content)
        assert (result.exit_code, f":{number}: " in result.stderr) == (2, True), result.stderr


def test_standard_input_is_utf8_whatever_the_locale_says() -> None:
    """Python's own decodes it as the locale has it, and stops at other bytes."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rerankd", "rank", "bear"],
        input="a bear \u6c49\n".encode() + b"\xff\n",
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
        check=True,
    )
    found = {json.loads(line)["text"] for line in done.stdout.decode().splitlines()}

    assert found == {"a bear \u6c49", "\ufffd"}


def test_printed_text_keeps_the_bytes_of_names(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.print_text(ODD)
    assert capfdbinary.readouterr().out == os.fsencode(ODD) + b"\n"


def test_a_model_with_an_odd_name_is_inspected_checked_and_served(folder: Path) -> None:
    """Over HTTP its name has U+FFFD, which every client reads."""
    (folder / f"{ODD}.gguf").symlink_to(MINI)
    path = folder / f"{ODD}.gguf"
    shown = json.loads(run("inspect", str(path)).stdout)
    asyncio.run(check_in_child(path, Settings()))
    service = service_of(start=False, model=str(path), model_id="x")
    with server_of(service) as url, httpx.Client(base_url=url) as client:
        (listed,) = client.get("/v1/deployments").json()["data"]
        packed = client.get("/v1/deployments", headers={"Accept": "application/msgpack"})
        models = client.get("/v1/models").status_code

    assert os.fsencode(shown["file"]) == os.fsencode(path)
    assert listed["source"].endswith("odd\ufffd\ufffd.gguf")
    assert (packed.status_code, models) == (200, 200)


@pytest.mark.parametrize("human", [False, True])
def test_a_log_line_may_name_an_odd_file(*, human: bool) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "loading %s", (ODD,), None)
    formatter(human=human).format(record).encode()
