"""What commands print for a person and for a program."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from rich.console import Console

from rerankd.cli import output


def show(console: Console) -> None:
    console.print("a table")


@pytest.mark.parametrize(
    ("terminal", "as_json", "expected"),
    [(True, False, None), (True, True, [1, {"a": 2}]), (False, False, [1, {"a": 2}])],
)
def test_a_person_sees_a_table_and_a_program_json_lines(
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
    expected: list[Any] | None,
    *,
    terminal: bool,
    as_json: bool,
) -> None:
    """--json gives a person the same lines as a pipe gets."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)

    output.print_results(iter([1, {"a": 2}]), show, as_json=as_json)

    printed = capfdbinary.readouterr().out
    if expected is None:
        assert printed == b"a table\n"
    else:
        assert printed.endswith(b"\n")
        assert expected == [json.loads(line) for line in printed.splitlines()]
