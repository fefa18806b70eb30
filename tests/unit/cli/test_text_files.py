"""Files that editors and other programs write: marks, UTF-16, half characters, kept quotes."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerankd.cli.rank_input import read_documents
from rerankd.cli.rank_records import RankedFields
from rerankd.distributed.shards import form_of
from rerankd.errors import InvalidRequest, SettingsError
from rerankd.measuring.evaluation.data import JsonlData, lines_of
from rerankd.settings.loading import load_settings


def texts_of(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    return [one.text for one in read_documents([str(path)], "auto", RankedFields()).documents]


def test_lines_and_jsonl_are_read_without_their_mark(tmp_path: Path) -> None:
    file = tmp_path / "texts"
    assert texts_of(file, b"\xef\xbb\xbfa\nb\n") == ["a", "b"]
    lines = b'\xef\xbb\xbf{"text":"a bear \\ud83d"}\n"b"\n'
    assert texts_of(file, lines) == ["a bear \ufffd", "b"]


def test_utf16_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="UTF-16"):
        texts_of(tmp_path / "texts", "a\nb".encode("utf-16"))


def test_utf16_is_named_where_models_are_compared_and_on_ray(tmp_path: Path) -> None:
    """As everywhere else, not as malformed JSON."""
    for name in ("a.jsonl", "b.tsv"):
        (tmp_path / name).write_bytes('{"query": "q"}\n'.encode("utf-16"))
    with pytest.raises(InvalidRequest, match="UTF-16"):
        list(JsonlData(tmp_path / "a.jsonl", 10))
    with pytest.raises(InvalidRequest, match="UTF-16"):
        list(lines_of(tmp_path / "b.tsv"))
    with pytest.raises(InvalidRequest, match="UTF-16"):
        form_of(tmp_path / "a.jsonl")


def test_settings_may_begin_with_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "rerankd.toml"
    file.write_bytes("port = 9000\n".encode("utf-8-sig"))
    assert load_settings(config=file, environment={}).settings.port == 9000

    file.write_bytes("port = 9000\n".encode("utf-16"))
    with pytest.raises(SettingsError, match="UTF-16"):
        load_settings(config=file, environment={})


@pytest.mark.parametrize("value", ['"9000"', "'9000'", "9000\r"])
def test_quotes_that_docker_keeps_are_named_with_their_variable(value: str) -> None:
    with pytest.raises(SettingsError, match="RERANKD_PORT has quotes"):
        load_settings(environment={"RERANKD_PORT": value})
