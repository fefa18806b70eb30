"""Ctrl-C while a command downloads what it is asked for."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rerankd import cli
from rerankd.errors import DownloadError
from rerankd.sources.hub import files

MODEL = "hf:owner/some-GGUF:some-Q8_0.gguf"
JUDGED = {"query": "q", "documents": [{"id": "a", "text": "a", "relevance": 1}]}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take SIGINT as a shell's programs do, which those in its background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    "words",
    [
        ("rank", "q", "texts", "--model", MODEL),
        ("pull", MODEL),
        ("inspect", MODEL, "--load"),
        ("tune", MODEL),
        ("eval", "judged", "--models", MODEL),
        ("eval", "judged", "--quant-loss", MODEL, "--against", MODEL),
    ],
    ids=lambda words: " ".join(words[:1]),
)
def test_ctrl_c_ends_a_download_at_once(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its wait for the Hub is not waited for."""
    (tmp_path / "texts").write_text("a\nb\n", "utf-8")
    (tmp_path / "judged").write_text(json.dumps(JUDGED) + "\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []

    def download(*_wanted: object, **_options: object) -> Path:
        asked.append("begun")
        signal.raise_signal(signal.SIGINT)
        asked.append("went on")
        raise DownloadError("nobody had to wait for this")

    monkeypatch.setattr(files, "download", download)
    ended = CliRunner().invoke(cli.main, words)

    assert (asked, ended.exit_code) == (["begun"], cli.INTERRUPTED), ended.output
