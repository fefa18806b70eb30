"""`rerankd config`: the settings in force and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from rerankd.cli import options, output
from rerankd.settings import SECRET, Effective, table


@click.command("config")
@options.with_settings()
def config_command(config_file: Path | None, **flags: Any) -> None:
    """Print every setting's value and source, as a table in a terminal or TOML in a pipe."""
    effective = options.load(config_file, flags)
    if output.is_terminal():
        output.SafeConsole().print(_settings_table(effective))
    else:
        output.print_text(_settings_toml(effective), end="")


def _masked(effective: Effective, name: str) -> Any:
    value = getattr(effective.settings, name)
    return f"({len(value)} set)" if name in SECRET and value else value


def _settings_table(effective: Effective) -> Table:
    grid = Table("setting", "value", "from")
    for setting in table():
        value = _toml_value(_masked(effective, setting.name))
        grid.add_row(setting.name, value, effective.sources[setting.name])
    return grid


def _settings_toml(effective: Effective) -> str:
    lines = []
    for setting in table():
        source = effective.sources[setting.name]
        value = getattr(effective.settings, setting.name)
        hidden = setting.name in SECRET and bool(value)
        shown = _toml_value(_masked(effective, setting.name))
        mark = "# " if hidden else ""
        lines.append(f"{mark}{setting.name} = {shown}  # {source}\n")
    return "".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(part) for part in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
