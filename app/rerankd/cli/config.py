"""`rerankd config`: the settings in force and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage
from rerankd.cli.tables import TableColumn, show_table
from rerankd.settings import SECRET, Effective, table


@click.command(
    "config",
    cls=HelpPage,
    examples=("rerankd config", "rerankd config > rerankd.toml", "rerankd config --json"),
)
@options.with_json
@options.with_settings()
def config_command(*, as_json: bool, config_file: Path | None, **flags: Any) -> None:
    """Print every setting's value and source, as a table in a terminal or TOML in a pipe."""
    effective = options.load(config_file, flags)
    if as_json:
        output.print_json(*_settings_json(effective))
    elif output.is_terminal():
        show_table(output.SafeConsole(), SETTING_COLUMNS, _settings_rows(effective))
    else:
        output.print_text(_settings_toml(effective), end="")


def _masked(effective: Effective, name: str) -> Any:
    value = getattr(effective.settings, name)
    return f"({len(value)} set)" if name in SECRET and value else value


SETTING_COLUMNS = (
    TableColumn("setting"),
    TableColumn("value", wraps=10),
    TableColumn("from", rank=1, wraps=10),
)


class SettingLine(Struct, frozen=True, rename={"source": "from"}):
    """A setting's value and where it came from; a secret is counted instead."""

    setting: str
    value: Any
    source: str


def _settings_json(effective: Effective) -> list[SettingLine]:
    return [
        SettingLine(one.name, _masked(effective, one.name), effective.sources[one.name])
        for one in table()
    ]


def _settings_rows(effective: Effective) -> list[tuple[str, str, str]]:
    return [(one.setting, _toml_value(one.value), one.source) for one in _settings_json(effective)]


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
