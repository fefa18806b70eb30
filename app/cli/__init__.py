"""The `rerankd` command: data to stdout, everything else to stderr."""

from __future__ import annotations

import sys

import click

from app import __version__
from app.cli.bench import bench
from app.cli.config import config
from app.cli.rank import rank
from app.cli.serve import serve
from app.errors import RerankdError

COMMANDS = (serve, rank, bench, config)


class Group(click.Group):
    """Ends every error of ours in one line and exit code 2."""

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


for command in COMMANDS:
    main.add_command(command)
