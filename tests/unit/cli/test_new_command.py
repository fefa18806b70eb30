"""A new command takes a module and a line of COMMANDS: here a toy, in a temporary module."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rerankd import cli

from docgen import command_page

TOY = '''
import click

from rerankd.cli import options
from rerankd.errors import SettingsError


@click.command()
@click.option("--many", type=int, default=2, show_default=True, help="how many to count")
@options.with_settings({"log_level"})
def toy_command(many, config_file, log_level):
    """Count toys."""
    del config_file, log_level
    if many > 9:
        raise SettingsError("so many toys don't fit")
    click.echo(many)
'''


@pytest.fixture(autouse=True)
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the command."""
    (tmp_path / "toy_module.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(cli.COMMANDS, "toy", "toy_module")


def test_it_runs_with_its_own_options_and_those_of_settings() -> None:
    """In the module that COMMANDS names, the command's function is `toy_command`."""
    done = CliRunner().invoke(cli.main, ["toy", "--many", "3", "--log-level", "error"])

    assert (done.exit_code, done.output) == (0, "3\n")


def test_its_errors_end_in_one_line_and_2() -> None:
    """What it raises on purpose is no traceback."""
    done = CliRunner().invoke(cli.main, ["toy", "--many", "10"])

    assert (done.exit_code, done.stderr) == (2, "error: so many toys don't fit\n")


def test_help_lists_it() -> None:
    assert "Count toys." in CliRunner().invoke(cli.main, ["--help"]).output


def test_its_section_in_the_docs_is_made_from_its_help() -> None:
    """`just docs` needs nothing but the command."""
    page = command_page.page()

    assert "| [`rerankd toy`](#rerankd-toy) | Count toys. |" in page
    assert "| `--many` INTEGER | `2` | how many to count |" in page
    assert "Takes the [settings](settings.md) `--log-level`." in page
