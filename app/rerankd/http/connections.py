"""Connections that are bounded in number and in time, over uvicorn's HTTP/1.1 protocol.

uvicorn closes an idle connection after a reused one's keep-alive time and does nothing else: a
client that sends nothing, half a header, or never reads its answer holds its connection for ever.
docs/design.md has why this subclasses uvicorn's protocol instead of taking another server.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import h11
from msgspec import Struct
from uvicorn.protocols.http.h11_impl import H11Protocol

from rerankd.http.chunks import ChunkCountingConnection
from rerankd.http.connection_answers import NOT_HTTP, TOO_SLOW, health_only

logger = logging.getLogger(__name__)

RESERVE = 16
"""Connections beyond `most` that are still taken, for health checks alone."""
SLOWEST_READER = 16 * 1024
"""Bytes/s that a client must read on average once `write` seconds have passed."""
WARY_READ, WHOLE_READ = 4 * 1024, 256 * 1024
"""Bytes read at once, by default and of a body of known length: chunks take h11 long."""
MOST_HEADER = 64 * 1024
"""Bytes of a request line and its header."""
LINGER = 1.0
"""Seconds that an idle connection stays open for one last request once the server is stopping."""


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """Bounds of a server's connections; times in seconds."""

    most: int = 1000
    """Connections at once, of all clients together."""
    most_per_address: int = 750
    """Connections at once from one address; a proxy in front is one address."""
    header: float = 10.0
    """From a connection's beginning, or a request's first byte, to the end of its header."""
    keep_alive: float = 75.0
    """From an answer to the first byte of the next request."""
    write: float = 60.0
    """For a client to read what waits for it, before a slow one is held to a least speed."""


class Connections:
    """The connections of one server: how many there are, whose, and which of them are idle."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.refused = 0
        """Connections refused so far because there were too many."""
        self._open: dict[BoundedProtocol, str] = {}
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: BoundedProtocol, address: str) -> bool:
        """Count a connection in; False where it may only ask for the server's health.

        Where there are as many as there may be, the one that has been idle longest makes room.
        """
        most = self.limits.most
        if self._per_address[address] >= self.limits.most_per_address:
            crowded = not self._close_idlest(address)
        else:
            crowded = len(self._open) >= most and not self._close_idlest(None)
        self._open[connection] = address
        self._per_address[address] += 1
        if crowded:
            self.refused += 1
        return not crowded

    @property
    def full(self) -> bool:
        """Whether not even the reserve has room."""
        return len(self._open) >= self.limits.most + RESERVE

    def forget(self, connection: BoundedProtocol) -> None:
        """Count a connection out; one that is not counted changes nothing."""
        address = self._open.pop(connection, None)
        if address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def _close_idlest(self, address: str | None) -> bool:
        """Close the connection that has waited longest for a request; False where none waits."""
        idle = (
            one
            for one, other in self._open.items()
            if one.idle_since is not None and address in {None, other}
        )
        idlest = min(idle, key=lambda one: one.idle_since or 0.0, default=None)
        if idlest is None:
            return False
        idlest.drop()
        return True


class BoundedProtocol(H11Protocol):
    """One connection, which is closed when its client takes longer than the limits allow."""

    registry: Connections
    """Set by `protocol_for`."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.conn = ChunkCountingConnection(h11.SERVER, MOST_HEADER)
        self.timeout_keep_alive = self.registry.limits.keep_alive  # type: ignore[assignment]
        self.idle_since: float | None = None
        """When it began to wait for a request, by the loop's clock; None while one runs."""
        self._last_request = False
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or end it where even the reserve is used up."""
        super().connection_made(transport)
        if self.registry.full:
            self.registry.refused += 1
            transport.abort()
            return
        if not self.registry.admit(self, self.client[0] if self.client else ""):
            self.app = health_only(self.app)
            self._last_request = True
        self._read_at_once(WARY_READ)
        self._await_request()
        self._start_header_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection and its timers."""
        self._stop_timers()
        self.registry.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request's header must be whole within its time, however it trickles in."""
        before = self.cycle
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self.cycle is not before:
            self._stop_header_timer()
        elif self.idle_since is not None and self._header_timer is None:
            self._start_header_timer()

    def handle_events(self) -> None:
        """Handle what h11 has read; a request on the reserve must be for the server's health."""
        before = self.cycle
        super().handle_events()
        if self.cycle is before:
            return
        self.idle_since = None
        if any(name == b"content-length" for name, _ in self.headers):
            self._read_at_once(WHOLE_READ)
        if self._last_request:
            self._announce_end()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._read_at_once(WARY_READ)
        self._await_request()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP and close, without a word where an answer has begun.

        The request's application may be about to answer, too; from now on that goes nowhere.
        """
        del msg
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.write(NOT_HTTP)
        self.transport.close()

    def shutdown(self) -> None:
        """End the connection after its request; an idle one may still hand in a last one.

        Its client may have sent a request before it could know of the end. It gets an answer
        that says `Connection: close` instead of a reset.
        """
        self._last_request = True
        if self.idle_since is None:
            self._announce_end()
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(LINGER, self.timeout_keep_alive_handler)

    def pause_writing(self) -> None:
        """Begin to count the time that a client takes to read."""
        super().pause_writing()
        waiting = self.transport.get_write_buffer_size()
        patience = self.registry.limits.write + waiting / SLOWEST_READER
        self._write_timer = self.loop.call_later(patience, self._give_up_writing)

    def resume_writing(self) -> None:
        """Stop counting: what waited was read."""
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def drop(self) -> None:
        """Close the connection at once, whatever it does."""
        self._stop_timers()
        self._unset_keepalive_if_required()
        self.idle_since = None
        self.registry.forget(self)
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no next request came."""
        if self.idle_since is not None:
            super().timeout_keep_alive_handler()

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: Java's client offers HTTP/2 with each connection, and does without."""

    def _read_at_once(self, size: int) -> None:
        """Bound what the event loop's own transport reads at once; others have no such bound."""
        if hasattr(self.transport, "max_size"):
            self.transport.max_size = size

    def _announce_end(self) -> None:
        """Close after this answer, and say so in it: the client sends nothing more here."""
        self.cycle.keep_alive = False
        self.cycle.default_headers = [*self.cycle.default_headers, (b"connection", b"close")]

    def _await_request(self) -> None:
        self.idle_since = self.loop.time()

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(self.registry.limits.header, self._give_up_header)

    def _stop_header_timer(self) -> None:
        if self._header_timer:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_timers(self) -> None:
        self._stop_header_timer()
        if self._write_timer:
            self._write_timer.cancel()
            self._write_timer = None

    def _give_up_header(self) -> None:
        self._header_timer = None
        if self.idle_since is None or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:  # else nothing was asked, so nothing is answered
            self.transport.write(TOO_SLOW)
        self.transport.close()

    def _give_up_writing(self) -> None:
        self._write_timer = None
        logger.info("a client read its answer too slowly: its connection was closed")
        self.transport.abort()


def protocol_for(connections: Connections) -> type[BoundedProtocol]:
    """Return the protocol class that uvicorn makes an instance of for each connection."""
    return type("ServerProtocol", (BoundedProtocol,), {"registry": connections})
