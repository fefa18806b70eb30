"""Command-line options made from the table of settings."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from rerankd import settings
from rerankd.cli.completion import complete_model
from rerankd.cli.help import SettingOption
from rerankd.cli.plain_log import configure_logging
from rerankd.settings import Effective, Mark, Setting
from rerankd.settings.groups import heading_of
from rerankd.settings.proxies import is_http_address

Command = Callable[..., Any]


class HttpAddress(click.ParamType[str]):
    """A complete http or https address; a message never repeats it, for it may hold a password."""

    name = "URL"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        if not is_http_address(str(value)):
            self.fail("not an http:// or https:// address", param, ctx)
        return str(value)


HTTP_ADDRESS = HttpAddress()

MODEL_OPTIONS = settings.names_marked(Mark.PER_MODEL | Mark.CHOOSES_MODEL)
"""What matters where no server runs."""


with_json = click.option("--json", "as_json", is_flag=True, help="print JSON even in a terminal")
"""Adds `--json` to a command that prints a table."""


def with_settings(names: Collection[str] | None = None) -> Callable[[Command], Command]:
    """Add an option for each setting (or each of `names`) and `--config` to a command."""

    def decorate(command: Command) -> Command:
        for setting in reversed(settings.table()):
            if Mark.SECRET not in setting.marks and (names is None or setting.name in names):
                command = _option(setting)(command)
        return click.option(
            "--config",
            "config_file",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"TOML file with settings [env: {settings.CONFIG_VARIABLE}]",
        )(command)

    return decorate


def _option(setting: Setting) -> Callable[[Command], Command]:
    help_text = f"{setting.help} [env: {setting.variable}]"
    if setting.kind is bool:
        names = f"{setting.flag}/--no-{setting.flag[2:]}"
        if setting.name.startswith("no_"):
            names = setting.flag
        return click.option(
            names,
            setting.name,
            cls=SettingOption,
            heading=heading_of(setting),
            is_flag=True,
            default=None,
            help=_with_default(setting, help_text),
        )
    kind: Any = click.Choice(setting.choices) if setting.choices else _plain(setting)
    return click.option(
        setting.flag,
        setting.name,
        cls=SettingOption,
        heading=heading_of(setting),
        type=kind,
        default=None,
        help=_with_default(setting, help_text),
        shell_complete=complete_model if setting.name == "model" else None,
    )


def _plain(setting: Setting) -> type:
    return setting.kind if setting.kind in {int, float} else str


def _with_default(setting: Setting, text: str) -> str:
    if setting.default in {"", ()} or setting.kind is bool:
        return text
    return f"{text} [default: {setting.default}]"


def load(config_file: Path | None, flags: dict[str, Any]) -> Effective:
    """Merge a command's options with the other sources, and set up logging from the result."""
    effective = settings.load_settings(flags, config=config_file)
    configure_logging(effective.settings.log_level)
    return effective
