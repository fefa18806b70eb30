"""The `rerankd` command: data to stdout, everything else to stderr."""

from __future__ import annotations

import importlib
import sys

import click

from app import __version__
from app.errors import RerankdError

COMMANDS = {
    "serve": "app.cli.serve",
    "rank": "app.cli.rank",
    "models": "app.cli.models",
    "pull": "app.cli.pull",
    "rm": "app.cli.pull",
    "inspect": "app.cli.inspect",
    "devices": "app.cli.devices",
    "deploy": "app.cli.remote",
    "ps": "app.cli.remote",
    "stop": "app.cli.remote",
    "keys": "app.cli.keys",
    "tune": "app.cli.tune",
    "bench": "app.cli.bench",
    "eval": "app.cli.eval",
    "config": "app.cli.config",
    "service": "app.cli.service",
    "completion": "app.cli.completion",
    "ray": "app.cli.ray",
}
"""Each command and its module, which has it under the same name or the one in FUNCTIONS."""

FUNCTIONS = {"eval": "evaluate"}
"""A builtin's name is no name for a function."""


class Group(click.Group):
    """Loads each command when it is named, and ends every error of ours in one line.

    A server should not carry the memory of what only `bench` and `rank` import.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name])
        found = getattr(module, FUNCTIONS.get(cmd_name, cmd_name))
        return found if isinstance(found, click.Command) else None

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RerankdError as error:
            click.echo(f"error: {error.message}", err=True)
            sys.exit(2)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rerankd")
def main() -> None:
    """Rerank documents by their relevance to a query with a GGUF model."""
