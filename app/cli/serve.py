"""`rerankd serve`: the server process, from start to a clean end."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
import uvicorn

from app.cli import options
from app.errors import RerankdError
from app.http import AccessLog, create_app
from app.http.guard import require_safe_binding
from app.service import Service, resolve
from app.settings import Settings

logger = logging.getLogger(__name__)

BACKLOG = 2048


@click.command()
@options.with_settings()
def serve(config_file: Path | None, **flags: Any) -> None:
    """Serve a reranker over HTTP until SIGTERM or Ctrl-C."""
    settings = options.load(config_file, flags).settings
    require_safe_binding(settings)
    service = Service(resolve(settings), settings)
    sys.exit(asyncio.run(_serve(service, settings)))


class _Server(uvicorn.Server):
    """uvicorn that drains on a signal and lets the process exit with its own code."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking work; a second signal stops at once.

        The signal is not kept, so uvicorn doesn't raise it again and the exit code stays 0.
        """
        del sig, frame
        self.force_exit = self.should_exit
        self.should_exit = True
        self._service.drain()


async def _serve(service: Service, settings: Settings) -> int:
    """Listen at once and load beside it; return the exit code."""
    server = _Server(_server_config(service, settings), service)
    loading = asyncio.create_task(service.start())
    serving = asyncio.create_task(server.serve())
    code = 0
    try:
        await asyncio.wait({loading, serving}, return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            code = _outcome(loading)
            server.should_exit = server.should_exit or code != 0
        await serving
        await asyncio.wait({loading})
    finally:
        await service.close()
    return code


def _server_config(service: Service, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        AccessLog(create_app(service)),
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(settings.drain_timeout)),
    )


def _outcome(loading: asyncio.Task[None]) -> int:
    error = loading.exception()
    if error is None:
        return 0
    if not isinstance(error, RerankdError):
        raise error
    click.echo(f"error: {error.message}", err=True)
    return 2
