"""`rerankd deploy`: how far the server is, and names that it can't be told."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from rerankd import cli
from rerankd.cli import output
from rerankd.cli.progress import stages_shown
from rerankd.cli.remote import follow_status
from rerankd.deployments import Status
from rerankd.scheduling.tickets import Load
from rerankd.sources.hub.meter import DownloadProgress

DOWNLOADING = Status(
    id="bge",
    source="hf:a/b:c.gguf",
    model="",
    state="downloading",
    message="downloading",
    default=False,
    pinned=False,
    created=1.0,
    changed=1.0,
    used=1.0,
    progress=None,
    memory_bytes=0,
    load=Load(0, 0, 0.0),
    facts=None,
)


def at(done: int) -> Status:
    return msgspec.structs.replace(DOWNLOADING, progress=DownloadProgress(done, 1000, 100.0, 5.0))


READY = msgspec.structs.replace(DOWNLOADING, state="ready", message="serving")
OTHER = msgspec.structs.replace(READY, id="other")


def client_of(*statuses: Status) -> httpx.Client:
    """Return a client of a server that reports these and ends."""
    events = b"".join(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in statuses)
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=events))
    return httpx.Client(transport=transport, base_url="http://server")


def test_a_download_is_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    """With size, rate and time left; not one for each event."""
    steps = [at(done) for done in range(0, 1001, 10)]
    found = follow_status(client_of(DOWNLOADING, *steps, OTHER, READY), DOWNLOADING)

    assert found.state == "ready"
    first, *tenths, last = capsys.readouterr().err.splitlines()
    assert first == "bge downloading: downloading"
    assert len(tenths) == 11
    assert tenths[5] == "bge: downloading 500 bytes of 1.0 kB, 100 bytes/s, 0:05 left"
    assert last == "bge ready: serving"


def test_events_that_end_in_the_middle_end_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The last status is what is known."""
    assert follow_status(client_of(at(0), at(500)), DOWNLOADING) == at(500)
    assert "500 bytes of 1.0 kB" in capsys.readouterr().err


class Interrupted(httpx.SyncByteStream):
    """Events in the midst of which somebody presses Ctrl-C."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"data: " + msgspec.json.encode(at(100)) + b"\n\n"
        raise KeyboardInterrupt


def test_ctrl_c_says_that_the_server_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """The deployment is not undone by it."""
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Interrupted()))
    with pytest.raises(KeyboardInterrupt):
        follow_status(httpx.Client(transport=transport, base_url="http://server"), DOWNLOADING)
    assert "the server goes on with bge; `rerankd ps` shows" in capsys.readouterr().err


class TerminalText(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [80, 60, 40])
def test_a_bar_keeps_to_one_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every stage, whatever the width; the name stands above it."""
    written = TerminalText()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    console = output.SafeConsole(stderr=True)
    assert isinstance(console, Console)
    assert console.width == width

    with stages_shown("some-long-name-of-a-model") as on_stage:
        for stage in ("downloading", "verifying"):
            on_stage(stage, DownloadProgress(400_000_000, 1_000_000_000, 2_000_000.0, 300.0))

    lines = (
        re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).replace("\r", "\n").split("\n")
    )
    bars = [line for line in lines if "━" in line]
    assert bars
    assert max(map(len, lines)) <= width
    assert any("400.0 MB of 1.0 GB" in line or "40%" in line for line in bars)


def test_a_path_that_json_cannot_hold_is_refused_with_what_to_do() -> None:
    """Before the server is asked."""
    result = CliRunner().invoke(cli.main, ["deploy", "odd\udcff.gguf", "--url", "http://nowhere"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "ln -s THE-FILE model.gguf" in result.stderr
