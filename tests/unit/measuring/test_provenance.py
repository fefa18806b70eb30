"""What a measurement was made with."""

from __future__ import annotations

import hashlib
import platform
from datetime import datetime
from pathlib import Path

import pytest

from rerankd import __version__, machine
from rerankd.errors import InvalidRequest
from rerankd.measuring import provenance
from rerankd.measuring.provenance import provenance_lines, provenance_of, short_names


def test_it_has_date_machine_versions_and_digests(tmp_path: Path) -> None:
    """Enough to measure again, without the names of folders; a file given twice is named once."""
    file = tmp_path / "m.gguf"
    file.write_bytes(b"weights")

    made = provenance_of([file, file])

    assert datetime.fromisoformat(made.date).tzinfo is not None
    assert made.cores == machine.available_cores()
    assert made.versions["rerankd"] == __version__
    assert made.versions["python"] == platform.python_version()
    assert made.versions["llama-cpp-python"][0].isdigit()
    (one,) = made.files
    assert (one.name, one.sha256) == ("m.gguf", hashlib.sha256(b"weights").hexdigest())
    lines = "\n".join(provenance_lines(made))
    assert made.processor in lines
    assert f"m.gguf: sha256 {one.sha256[:12]}…" in lines
    assert str(tmp_path) not in lines


def test_all_digits_are_shown_where_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"")
    made = provenance_of([tmp_path / "m"])
    assert provenance_lines(made, shown_digits=64)[-1] == f"m: sha256 {made.files[0].sha256}"


def test_what_can_t_be_known_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "VERSIONS_OF", ("no-such-package",))
    assert provenance_of().versions["no-such-package"] == "unknown"
    with pytest.raises(InvalidRequest, match="No such file"):
        provenance_of([tmp_path / "gone"])


def test_paths_go_by_the_names_of_their_files() -> None:
    """But for two files of one name; names of the catalog and the Hub stay."""
    sources = ("/a/b/one.gguf", "./c/two.gguf", "d/two.gguf", "bge:Q8_0", "hf:a/b:c.gguf")
    assert short_names(sources) == {
        "/a/b/one.gguf": "one.gguf",
        "./c/two.gguf": "./c/two.gguf",
        "d/two.gguf": "d/two.gguf",
        "bge:Q8_0": "bge:Q8_0",
        "hf:a/b:c.gguf": "hf:a/b:c.gguf",
    }
