"""`rerankd serve`: the server process, from start to a clean end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import click

from rerankd.allocator import exempt_lasting_objects, limit_slack
from rerankd.auth.keys import key_store_of
from rerankd.cli import options
from rerankd.cli.help import HelpPage
from rerankd.errors import RerankdError, SettingsError
from rerankd.http.application import create_app
from rerankd.http.guard import require_safe_binding
from rerankd.http.server import Server, raise_descriptor_limit
from rerankd.service import Service, build, preflight
from rerankd.settings import allows_colours, configures_allocator, state_folder
from rerankd.store import Store, UsageStore
from rerankd.telemetry import log_format
from rerankd.telemetry.observers import Telemetry, traces_of
from rerankd.terminal import visible
from rerankd.threads import shorten_turns

logger = logging.getLogger(__name__)

BACKLOG = 2048


@click.command(
    "serve",
    cls=HelpPage,
    examples=(
        "rerankd serve",
        "rerankd serve --model bge-reranker-v2-m3 --port 9000",
        "rerankd serve --model ./model.gguf --as qwen3-reranker",
        "rerankd serve --config rerankd.toml",
    ),
)
@options.with_settings()
def serve_command(config_file: Path | None, **flags: Any) -> None:
    """Serve a reranker over HTTP until SIGTERM or Ctrl-C."""
    settings = options.load(config_file, flags).settings
    log_format.configure_server_logging(
        settings.log_level, settings.log_format, colours=allows_colours()
    )
    store = Store(state_folder(settings))
    store.tighten()
    key_store = key_store_of(settings, store)
    key_store.load()
    require_safe_binding(settings, keyed=key_store.requires_key)
    preflight(settings)
    raise_descriptor_limit()
    if not configures_allocator():
        limit_slack()
    shorten_turns()
    telemetry = Telemetry(traces_of(settings), kept=UsageStore(state_folder(settings)))
    service = build(settings, keep=True, match_language=True, observer=telemetry)
    app = create_app(service, telemetry, key_store)
    try:
        with listen(settings.host, settings.port) as listener:
            sys.exit(asyncio.run(_serve(service, app, listener)))
    finally:
        telemetry.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises SettingsError when the address can't be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Naming the protocol matters: asyncio sets TCP_NODELAY only where a socket says it is TCP,
    # and without it an answer waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; "
            "choose another --host or --port",
            param="port",
        ) from error
    shown = f"[{host.strip('[]')}]" if family == socket.AF_INET6 else host
    logger.info("listening on http://%s:%d", shown, listener.getsockname()[1])
    return listener


async def _serve(service: Service, app: Any, listener: socket.socket) -> int:
    """Listen at once, load meanwhile; return the exit code."""
    server = Server(app, service)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, server.handle_exit, signal.SIGHUP, None)
    loading = asyncio.create_task(service.start())
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    code = 0
    try:
        await asyncio.wait({loading, serving}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            code = _outcome(loading)
            server.should_exit = server.should_exit or code != 0
            exempt_lasting_objects()
        await serving
        await asyncio.wait({loading})
    finally:
        await service.close()
    return code


def _outcome(loading: asyncio.Task[None]) -> int:
    if loading.cancelled():  # a signal came before the model was loaded
        return 0
    error = loading.exception()
    if error is None:
        return 0
    if not isinstance(error, RerankdError):
        raise error
    click.echo(visible(f"error: {error.message}"), err=True)
    return 2
