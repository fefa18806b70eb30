"""What commands print for a person and for a program."""

from __future__ import annotations

import errno
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner
from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from rerankd import cli
from rerankd.cli import output
from rerankd.errors import InvalidRequest
from rerankd.terminal import visible

from support.places import ROOT, files_in

APP = ROOT / "app" / "rerankd"


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


# Others' words on a terminal

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b1m\u202eback\nfake line\r over [bold]x[/]"
HARMLESS = "␛[31mred\ufffd1m\ufffdback"
OWN_SEQUENCES = re.compile(r"\x1b\[[0-9;]*m")
"""Colours of ours, which a console writes on a terminal."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_terminal(show: Callable[[output.SafeConsole], object]) -> str:
    """Return what is written to a terminal, without colours of ours."""
    console = output.SafeConsole()
    console.file = written = io.StringIO()
    console._force_terminal = True
    console.width = 200
    show(console)
    return OWN_SEQUENCES.sub("", written.getvalue())


def table_of(cell: str | Text) -> Table:
    grid = Table("name")
    grid.add_row(cell)
    return grid


@pytest.mark.parametrize(
    "show",
    [
        lambda console: console.print(EVIL),
        lambda console: console.print(Text(EVIL, "bold")),
        lambda console: console.out(EVIL),
        lambda console: console.print(table_of(EVIL)),
        lambda console: console.print(table_of(Text(EVIL))),
        lambda console: console.print(Panel(EVIL, title=EVIL)),
    ],
)
def test_no_table_or_line_steers_the_terminal(
    show: Callable[[output.SafeConsole], object],
) -> None:
    """Nothing but line ends and the console's own sequences, and brackets are no markup."""
    shown = on_terminal(show)
    assert visible(shown, lines=True) == shown
    assert HARMLESS in shown
    assert "[bold]x[/]" in shown


def test_the_name_of_a_bar_does_not_steer_the_terminal() -> None:
    """Progress is drawn by control sequences of its own; the name is text."""

    def draw(console: output.SafeConsole) -> None:
        with Progress(TextColumn("{task.description}", markup=False), console=console) as bars:
            bars.add_task(EVIL, total=1)

    shown = on_terminal(draw)
    assert HARMLESS in shown
    assert "\x1b]0;" not in shown
    assert "\x9b" not in shown


def test_cells_are_as_wide_as_they_look() -> None:
    """So that the frame stays in place."""
    lines = on_terminal(lambda console: console.print(table_of("\x1b[31m" * 3))).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_notes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, wherever that goes."""
    output.print_note(EVIL)
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_data_changes_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    """A pipe gets what was asked for; JSON means the same in both."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    output.print_text(EVIL)
    text = capfd.readouterr().out
    output.print_json({"name": EVIL})
    line = capfd.readouterr().out

    assert ("\x1b" not in text) is terminal
    assert json.loads(line) == {"name": EVIL}
    assert ("\x9b" not in line) is terminal


class Asked(NamedTuple):
    """A command of the test's own, and what it ends with."""

    error: Exception
    code: int


@pytest.mark.parametrize(
    "asked",
    [
        Asked(InvalidRequest(EVIL), 2),
        Asked(click.UsageError(EVIL), 2),
        Asked(click.ClickException(EVIL), 1),
        Asked(OSError(errno.ENOSPC, "No space left on device"), 2),
    ],
)
def test_errors_are_short_and_harmless(asked: Asked) -> None:
    """Ours, click's, and those of a full disk behind standard output."""

    @click.command("made")
    def made() -> None:
        raise asked.error

    group = cli.LazyGroup("rerankd")
    group.get_command = lambda *_: made  # type: ignore[method-assign]
    ended = CliRunner().invoke(group, ["made"])

    assert ended.exit_code == asked.code
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr
    assert visible(ended.stderr, lines=True) == ended.stderr


def test_a_fault_that_is_no_streams_is_not_hidden() -> None:
    """An error with a file name is about that file, not about the output."""

    @click.command("made")
    def made() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "some file")

    group = cli.LazyGroup("rerankd")
    group.get_command = lambda *_: made  # type: ignore[method-assign]
    assert isinstance(CliRunner().invoke(group, ["made"]).exception, OSError)


def test_commands_write_through_this_module_alone() -> None:
    """Or say `visible` on the same line: nobody else prints, or makes a console."""
    written = re.compile(r"click\.secho\(|click\.echo\((?!visible\()|\bConsole\(|(?<!\.)\bprint\(")
    for path in files_in(APP, "cli/*.py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            called = written.search(line)
            if path.name != "output.py" and "cannot write the output" not in line:
                assert not called, f"{path.name}:{number}: use a function of cli/output.py"
