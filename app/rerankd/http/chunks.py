"""Chunked bodies whose chunks are too many for their size are refused.

h11 takes 25 µs for a chunk of any size: 2 MB in chunks of one byte would keep the event loop busy
for eight seconds. No client sends such bodies; those that write JSON piece by piece stay far above.
"""

from __future__ import annotations

from typing import Any

import h11

MANY_CHUNKS = 512
"""Chunks of a body that may have any size."""
LEAST_MEAN = 16
"""Bytes that the chunks of a body with more of them must have on average."""


class ChunkCountingConnection(h11.Connection):
    """h11's state of a connection, with the chunks of each body counted."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._chunks = 0
        self._bytes = 0

    def next_event(self) -> Any:
        """Return what h11 returns. Raises h11.RemoteProtocolError for a body in crumbs."""
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunks += event.chunk_end
            self._bytes += len(event.data)
            if self._chunks > MANY_CHUNKS and self._bytes < LEAST_MEAN * self._chunks:
                raise h11.RemoteProtocolError("the body comes in too many tiny chunks")
        elif isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
        return event
