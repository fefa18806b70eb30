"""Results that are kept per file until the file changes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rerankd.sources.catalog import unchanged
from rerankd.sources.catalog.unchanged import PerFile


class Counted:
    """Reads a file and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, path: Path) -> str:
        self.calls += 1
        return path.read_text("utf-8")


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("first", "utf-8")
    return path


def test_an_unchanged_file_is_read_once(file: Path) -> None:
    """The second call takes the first one's result."""
    read = Counted()
    kept = PerFile(read, 2)
    assert [kept(file), kept(file)] == ["first", "first"]
    assert read.calls == 1


def test_a_changed_file_is_read_again(file: Path) -> None:
    """Other content, another file at the same path, and other times each count as a change."""
    kept = PerFile(Counted(), 2)
    kept(file)
    file.write_text("second!", "utf-8")
    assert kept(file) == "second!"
    other = file.with_name("other")
    other.write_text("third!!", "utf-8")
    other.replace(file)
    assert kept(file) == "third!!"
    file.write_text("fourth!", "utf-8")
    os.utime(file, ns=(1, 1))
    assert kept(file) == "fourth!"


def test_a_file_that_has_just_changed_is_not_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another change in the same moment might not show in its times."""
    monkeypatch.setattr(unchanged, "SETTLED_SECONDS", time.time())
    read = Counted()
    kept = PerFile(read, 2)
    kept(file)
    kept(file)
    assert read.calls == 2


def test_a_change_while_it_is_read_is_not_kept(file: Path) -> None:
    """What was read may be neither content."""

    def read(path: Path) -> str:
        text = path.read_text("utf-8")
        if text == "first":
            path.write_text("second!", "utf-8")
        return text

    kept = PerFile(read, 2)
    assert [kept(file), kept(file)] == ["first", "second!"]


def test_errors_are_not_kept(tmp_path: Path) -> None:
    """A file that comes later is read."""
    kept = PerFile(Counted(), 2)
    with pytest.raises(FileNotFoundError):
        kept(tmp_path / "late")
    (tmp_path / "late").write_text("now", "utf-8")
    assert kept(tmp_path / "late") == "now"


def test_only_the_last_used_are_kept(tmp_path: Path) -> None:
    """The number of results is bounded."""
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_text(path.name, "utf-8")
    read = Counted()
    kept = PerFile(read, 2)
    for path in (*paths, paths[2], paths[1]):
        kept(path)
    assert read.calls == 3
    kept(paths[0])
    assert read.calls == 4
