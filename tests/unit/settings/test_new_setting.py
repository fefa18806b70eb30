"""A new setting takes one field: here a toy, in a struct that has the real ones, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner
from msgspec import Meta

from rerankd import settings
from rerankd.cli import options
from rerankd.errors import SettingsError
from rerankd.settings import (
    Mark,
    Settings,
    listing,
    load_settings,
    loading,
    names_marked,
    table,
)
from rerankd.settings.listing import settings_by_name
from rerankd.settings.marks import Help

from docgen import reference


class ToySettings(Settings, frozen=True, kw_only=True):
    """The settings, and one more."""

    toys: Annotated[
        int, Meta(ge=0, le=9), Help("toys to play with"), Mark.PER_MODEL | Mark.CHANGES_SCORES
    ] = 3


@pytest.fixture(autouse=True)
def toy_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the field in the struct that everything is read from."""
    for function in (table, settings_by_name):
        function.cache_clear()
    monkeypatch.setattr(listing, "Settings", ToySettings)
    monkeypatch.setattr(loading, "Settings", ToySettings)
    yield
    for function in (table, settings_by_name):
        function.cache_clear()


def toys(**given: Any) -> tuple[object, str]:
    """Return the value in force, and where it came from."""
    found = load_settings(**{"environment": {}, **given})
    return getattr(found.settings, "toys", None), found.sources["toys"]


def test_it_is_read_from_every_source(tmp_path: Path) -> None:
    """Default, file, variable and flag, each over the one before."""
    file = tmp_path / "rerankd.toml"
    file.write_text("toys = 4")
    variable = {"RERANKD_TOYS": "5"}

    assert toys() == (3, "default")
    assert toys(config=file) == (4, str(file))
    assert toys(config=file, environment=variable) == (5, "RERANKD_TOYS")
    assert toys(flags={"toys": 6}, config=file, environment=variable) == (6, "--toys")


def test_its_bounds_are_kept() -> None:
    """The message names the setting, the value and the source."""
    with pytest.raises(SettingsError, match="toys = '10' from RERANKD_TOYS"):
        toys(environment={"RERANKD_TOYS": "10"})


def test_it_is_an_option_of_commands() -> None:
    """With its help, its variable and its default."""

    @click.command()
    @options.with_settings({"toys"})
    def play(config_file: Path | None, toys: int | None) -> None:
        """Play."""
        click.echo(options.load(config_file, {"toys": toys}).sources["toys"])

    shown = " ".join(CliRunner().invoke(play, ["--help"]).output.split())

    assert CliRunner().invoke(play, ["--toys", "7"]).output == "--toys\n"
    assert "--toys INTEGER toys to play with [env: RERANKD_TOYS]" in shown


def test_its_marks_put_it_on_their_lists() -> None:
    """Nothing else has to name it."""
    assert "toys" in names_marked(Mark.PER_MODEL) & names_marked(Mark.CHANGES_SCORES)
    assert "toys" not in names_marked(Mark.SECRET)


def test_its_row_in_the_docs_is_made_from_the_field() -> None:
    """`just docs` needs nothing but the struct."""
    row = "| `toys` | `--toys` | `RERANKD_TOYS` | 3 | toys to play with |"

    assert row in reference.settings_table()
    assert settings.table is table
