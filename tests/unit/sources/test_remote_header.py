"""A model on the Hub, judged by its header alone: how much is read, and what is refused."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.errors import DownloadError, ModelFileError
from rerankd.settings import Settings
from rerankd.sources import remote_header
from rerankd.sources.remote_header import judge_remote
from rerankd.sources.resolve import ResolvedModel, judge_file

from support.hub_standin import HubStandin, isolate, listening, point
from support.split_gguf import split_gguf
from support.tiny_models import write_bert, write_qwen3

pytestmark = pytest.mark.slow

REPO = "owner/tiny-GGUF"
NAME = f"hf:{REPO}:m.gguf"
STEP = 512
"""What is read first here: the tiny models' headers are a few kilobytes."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[HubStandin, str]]:
    found = HubStandin()
    with listening(found) as address:
        yield found, address


@pytest.fixture
def standin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: tuple[HubStandin, str]
) -> Iterator[HubStandin]:
    """A Hub with an empty cache beside it."""
    found, address = served
    found.reset()
    isolate(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(remote_header, "FIRST_BYTES", STEP)
    point(monkeypatch, address)
    yield found
    found.reset()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert") / "m.gguf")


def header_bytes(path: Path) -> int:
    """Return where the first tensor lies in a file."""
    header, _ = judge_file(ResolvedModel(path, None))
    return min(one.offset for one in header.tensors.values())


def inspect(name: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli.main, ["inspect", name])
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("ranges", [True, False])
def test_the_verdict_is_that_of_the_file(standin: HubStandin, tiny: Path, *, ranges: bool) -> None:
    """From its header alone, also where the Hub knows no ranges and would send everything."""
    weights = b"\0" * 1_000_000
    standin.files = {f"{REPO}:m.gguf": tiny.read_bytes() + weights}
    standin.ranges = ranges
    local = inspect(str(tiny))

    found = inspect(NAME)

    assert found["file"] == NAME
    assert found["bytes"] == local["bytes"] + len(weights)
    same = local.keys() - {"file", "bytes"}
    assert {name: found[name] for name in same} == {name: local[name] for name in same}
    gets = [one for one in standin.requests if one.startswith("GET")]
    assert len(gets) > 1
    if ranges:
        assert standin.sent < 4 * header_bytes(tiny) + STEP


def test_nothing_of_it_stays(standin: HubStandin, tiny: Path, tmp_path: Path) -> None:
    """Neither in the cache nor among the temporary files."""
    standin.files = {f"{REPO}:m.gguf": tiny.read_bytes()}
    judge_remote(NAME, Settings())
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


def test_a_split_model_is_judged_by_the_headers_of_all_parts(
    standin: HubStandin, tmp_path: Path
) -> None:
    """Its size and tensors are those of all parts."""
    parts = split_gguf(write_qwen3(tmp_path / "whole.gguf"), [3, 4])
    standin.files = {f"{REPO}:q/{one.name}": one.read_bytes() for one in parts}
    local, verdict = judge_file(ResolvedModel(parts[0], None))

    remote = judge_remote(f"hf:{REPO}:q/{parts[0].name}", Settings())
    header, remote_verdict = remote.header, remote.verdict

    assert (header.file_bytes, header.parameters) == (local.file_bytes, local.parameters)
    assert remote_verdict == verdict


def endless(count: int) -> bytes:
    """Return the beginning of a header with so many strings in one array."""
    key = b"tokenizer.ggml.merges"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key
    strings = b"".join(struct.pack("<Q", 4) + b"abcd" for _ in range(count))
    return head + struct.pack("<IIQ", 9, 8, 10 * count) + strings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!doctype html>" + b" " * 2000, "not a GGUF file but a web page"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + b"\0" * 2000, "metadata keys"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0) + b"\0" * 2000, "tensors"),
        (endless(500), "more than"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 2**62), "header"),
    ],
)
def test_hostile_headers_are_refused_as_in_files(
    standin: HubStandin, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    """In one line with the name on the Hub, and after a bounded number of bytes."""
    monkeypatch.setattr(remote_header, "HEADER_BYTES", 4 * STEP)
    standin.files = {f"{REPO}:m.gguf": content}
    with pytest.raises(ModelFileError) as refused:
        judge_remote(NAME, Settings())
    assert refused.value.message.startswith(f"{NAME}: ")
    assert said in refused.value.message
    assert "\n" not in refused.value.message
    assert standin.sent <= 4 * STEP + standin.piece


def test_a_file_cut_short_is_named(standin: HubStandin, tiny: Path) -> None:
    """Its header is whole, its weights aren't."""
    standin.files = {f"{REPO}:m.gguf": tiny.read_bytes()[: header_bytes(tiny) + 8]}
    with pytest.raises(ModelFileError, match="truncated"):
        judge_remote(NAME, Settings())


def test_a_connection_that_breaks_off_is_an_error(standin: HubStandin, tiny: Path) -> None:
    """And no verdict on half of a header."""
    standin.files = {f"{REPO}:m.gguf": tiny.read_bytes()}
    standin.cuts = [100]
    with pytest.raises(DownloadError):
        judge_remote(NAME, Settings())


def test_a_model_that_is_here_is_not_asked_for(standin: HubStandin, tiny: Path) -> None:
    """After a pull the file itself is inspected."""
    standin.files = {f"{REPO}:m.gguf": tiny.read_bytes()}
    pulled = CliRunner().invoke(cli.main, ["pull", NAME])
    assert pulled.exit_code == 0
    standin.requests.clear()
    sent = standin.sent
    assert inspect(NAME)["file"] == pulled.stdout.strip()
    assert standin.sent == sent
