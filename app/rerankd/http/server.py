"""The HTTP server: uvicorn with bounded connections, drained on a signal."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from types import FrameType
from typing import Any

import uvicorn

from rerankd.http.connections import ConnectionLimits, Connections, protocol_for
from rerankd.http.hosts import LOOPBACK
from rerankd.service import Service
from rerankd.settings import Settings

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 5
"""What the answers to ended requests have to go out after the drain limit."""
OWN_DESCRIPTORS = 128
"""Descriptors that are kept for files, the store and child processes."""
WANTED_DESCRIPTORS = 65_536
HINT_EARLIER = 5
"""Seconds by which clients are asked to give a connection up before the server does."""


class Server(uvicorn.Server):
    """uvicorn that drains the service on a signal and leaves the exit code to us."""

    def __init__(self, app: Any, service: Service) -> None:
        settings = service.settings
        connections = Connections(limits_of(settings, descriptor_limit()))
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_for(connections),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                headers=keep_alive_hint(settings),
                # Only a proxy on this machine may say who the client is; uvicorn would let the
                # environment's FORWARDED_ALLOW_IPS name others, whose word opens management.
                forwarded_allow_ips=LOOPBACK,
                timeout_graceful_shutdown=round(settings.drain_timeout) + ANSWER_SECONDS,
            )
        )
        self._service = service
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking work; a second signal ends what runs, too.

        The signal is not kept, so uvicorn doesn't raise it again and the exit code stays 0.
        """
        del sig, frame
        again = self.should_exit
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._service.abort if again else self._stop)

    def _stop(self) -> None:
        logger.info(
            "stopping: running requests have %g s to finish", self._service.settings.drain_timeout
        )
        self._service.drain()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the service beside the connections: what it ends still gets its answer."""
        closing = asyncio.create_task(self._service.close())
        await super().shutdown(sockets)
        await closing


def limits_of(settings: Settings, descriptors: int) -> ConnectionLimits:
    """Return the bounds of connections: the settings', or what the process may open at most."""
    most = max(1, min(settings.max_connections, descriptors - OWN_DESCRIPTORS))
    if most < settings.max_connections:
        logger.warning(
            "only %d connections at once, not %d: the process may open %d files (ulimit -n)",
            *(most, settings.max_connections, descriptors),
        )
    return ConnectionLimits(
        most=most,
        most_per_address=min(settings.max_connections_per_address or most, most),
        header=settings.header_timeout,
        keep_alive=settings.keep_alive_timeout,
        write=settings.write_timeout,
    )


def keep_alive_hint(settings: Settings) -> list[tuple[str, str]]:
    """Return the header that has clients give an idle connection up before the server does.

    A request that is sent at the instant in which the server closes gets no answer.
    """
    seconds = int(settings.keep_alive_timeout) - HINT_EARLIER
    return [("Keep-Alive", f"timeout={seconds}")] if seconds > 0 else []


def descriptor_limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def raise_descriptor_limit() -> None:
    """Let this process open as many files as it may allow itself, as servers do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
