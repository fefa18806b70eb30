"""The `rerankd` command: data to stdout, everything else to stderr."""

from __future__ import annotations

import atexit
import errno
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from rerankd import __version__
from rerankd.cli.help import HelpGroup
from rerankd.errors import RerankdError
from rerankd.terminal import open_closed_streams, visible

COMMANDS = {
    "serve": "rerankd.cli.serve",
    "rank": "rerankd.cli.rank",
    "models": "rerankd.cli.models",
    "pull": "rerankd.cli.pull",
    "rm": "rerankd.cli.pull",
    "inspect": "rerankd.cli.inspect",
    "convert": "rerankd.cli.convert",
    "devices": "rerankd.cli.devices",
    "deploy": "rerankd.cli.remote",
    "ps": "rerankd.cli.remote",
    "stop": "rerankd.cli.stopping",
    "restart": "rerankd.cli.stopping",
    "keys": "rerankd.cli.keys",
    "tune": "rerankd.cli.tune",
    "bench": "rerankd.cli.bench",
    "eval": "rerankd.cli.eval",
    "config": "rerankd.cli.config",
    "service": "rerankd.cli.service",
    "completion": "rerankd.cli.completion",
    "ray": "rerankd.cli.ray",
}
"""Each command and its module, where the function of `serve` is called `serve_command`."""

UNFLUSHED = 120
"""The exit status that Python has where it can't write what is left of the output."""
INTERRUPTED = 128 + signal.SIGINT
"""The exit status on Ctrl-C, as shells have it for a program that SIGINT ended."""

STREAM_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What writing to a full disk or a terminal that is gone raises; click ends on EPIPE quietly."""


class LazyGroup(HelpGroup):
    """Loads each command when it is named, and ends every RerankdError in one line.

    A server should not carry the memory of what only `bench` and `rank` import.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(COMMANDS[cmd_name]), f"{cmd_name}_command")
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            name = error.command_name
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx) from error

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        open_closed_streams()
        words = sys.argv[1:] if args is None else list(args)
        try:
            return super().main(words, *more, **options)
        except UnicodeEncodeError as error:
            odd = _odd_word(words, error.encoding)
            if odd is None:
                raise
            click.echo(visible(f"error: {odd} is not {error.encoding.upper()}"), err=True)
            sys.exit(2)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = visible(error.message, lines=True)  # type: ignore[misc]
            raise
        except RerankdError as error:
            click.echo(visible(f"error: {error.message}"), err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            with suppress(OSError):
                click.echo(visible("interrupted"), err=True)
            sys.exit(INTERRUPTED)
        except OSError as error:
            if error.errno not in STREAM_FAULTS or error.filename is not None:
                raise
            # Standard error may be on the same full disk.
            with suppress(OSError):
                click.echo(f"error: cannot write the output: {error.strerror}", err=True)
            sys.exit(2)


def _odd_word(words: Sequence[str], encoding: str) -> str | None:
    """Return what to call the word or variable that can't be encoded; its value may be a secret."""
    for place, word in enumerate(words):
        if _is_odd(word, encoding):
            option, equals, _ = word.partition("=")
            before = words[place - 1] if place else ""
            is_value = before.startswith("--") and "=" not in before
            return option if equals and option[:2] == "--" else before if is_value else repr(word)
    variables = importlib.import_module("rerankd.settings.environment").own_variables()
    return next((name for name, value in variables.items() if _is_odd(value, encoding)), None)


def _is_odd(word: str, encoding: str) -> bool:
    try:
        word.encode(encoding)
    except UnicodeEncodeError:
        return True
    return False


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    examples=(
        "rerankd serve",
        "rerankd rank 'what is a panda?' notes.txt",
        "rerankd models --fits",
        "rerankd COMMAND --help",
    ),
)
@click.version_option(__version__, prog_name="rerankd")
def main() -> None:
    """Rerank documents by their relevance to a query with a GGUF model."""


class _Program:
    """The process of one command, from its first line to its end."""

    def __init__(self) -> None:
        self.status = 1
        # Registered first, it runs last: files are closed, and threads joined that must be.
        atexit.register(self.leave)

    def run(self, **options: Any) -> None:
        try:
            main(**options)
        except SystemExit as ended:
            self.status = ended.code if isinstance(ended.code, int) else 1
            raise

    def leave(self) -> None:
        """End the process at once if a thread is left, which may be inside a native library.

        A thread that reads certificates, decrypts or decodes crashes when the C library's exit
        takes down OpenSSL or ggml under it. Those that are left are daemons, which may be cut off.
        """
        if threading.active_count() == 1:
            return
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):  # a full disk or a closed pipe
                self.status = self.status or UNFLUSHED
        os._exit(self.status)


def run(**options: Any) -> None:
    """Run the command that this process was started for, and end the process."""
    _Program().run(**options)
