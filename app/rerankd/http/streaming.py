"""Scores as lines of JSON while they are computed, then the ranking as the last line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec
from litestar import Request, Response
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send
from msgspec import Struct

from rerankd.domain import RankedDocument, RankedResult
from rerankd.errors import RerankdError
from rerankd.http.disconnects import unless_gone
from rerankd.http.large_answers import encode_apart
from rerankd.http.negotiation import JSON
from rerankd.ranking.collector import OnScored

logger = logging.getLogger(__name__)


class StreamedRanking(Protocol):
    """Ranks, and reports scores on the way."""

    def __call__(self, *, on_scored: OnScored) -> Coroutine[Any, Any, RankedResult]: ...


HEADERS = {"X-Accel-Buffering": "no"}
"""A proxy in between is asked not to hold lines back."""

_lines = msgspec.json.Encoder().encode_lines


class Line(Struct, frozen=True):
    """A final score, which the document has in the ranking too."""

    index: int
    relevance_score: float


class Wording(Struct, frozen=True):
    """How a dialect says what comes last: the ranking, or why there is none."""

    reply: Callable[[Any], Any]
    """Takes what ranking returned."""
    failure: Callable[[RerankdError], Any]


class ScoreStream(Response[Any]):
    """A ranking that is sent line by line.

    Scores wait for a slow client as numbers, at most one per document: a line is made when it is
    sent. Ranking ends when the client leaves.
    """

    def __init__(
        self, rank: StreamedRanking, wording: Wording, media_type: str, *, is_large: bool = False
    ) -> None:
        """Ranking begins at once, and needs a running event loop.

        The last line of a large request may repeat all of its texts.
        """
        super().__init__(None, status_code=200, headers=HEADERS, media_type=media_type)
        self._wording = wording
        self._is_large = is_large
        self._scores: list[RankedDocument] = []
        self._news = asyncio.Event()
        self._work = asyncio.create_task(rank(on_scored=self._take))
        self._work.add_done_callback(lambda _: self._news.set())

    def _take(self, scored: Sequence[RankedDocument]) -> None:
        self._scores.extend(scored)
        self._news.set()

    async def begin(self, request: Request[Any, Any, Any]) -> bool:
        """Wait for the first score; return whether the client has waited as well.

        Raises what ranking raises until then, so that a status can still report it.
        """
        begun = False
        try:
            begun = bool(await unless_gone(request.receive, self._first()))
        finally:
            if not begun:
                await self._end()
                del self._work  # its error holds this stream
        return begun

    async def _first(self) -> bool:
        await self._news.wait()
        if self._work.done() and not self._scores:
            self._work.result()
        return True

    async def _told(self) -> AsyncIterator[bytes]:
        """Yield all lines, those that are ready together."""
        ended = False
        while not ended:
            await self._news.wait()
            self._news.clear()
            ended = self._work.done()
            scored, self._scores = self._scores, []
            if scored:
                yield _lines([Line(one.index, one.score) for one in scored])
        if self._is_large:
            yield await encode_apart(self._last, JSON) + b"\n"
        else:
            yield _lines([self._last()])

    def _last(self) -> Any:
        # Raised here, an error would hold this frame, which holds the task that holds the error.
        error = self._work.exception()
        try:
            if error is None:
                return self._wording.reply(self._work.result())
        except Exception as failed:  # noqa: BLE001 - the status has been sent
            error = failed
        if isinstance(error, RerankdError):
            return self._wording.failure(error)
        logger.error("unexpected error", exc_info=error)
        return self._wording.failure(RerankdError("internal error; see the server's log"))

    async def _end(self) -> None:
        self._work.cancel()
        await asyncio.wait({self._work})
        if not self._work.cancelled():
            self._work.exception()  # nobody is left to report it to

    def to_asgi_response(
        self, app: Any, request: Request[Any, Any, Any], **given: Any
    ) -> ASGIStreamingResponse:
        """See Response."""
        del app, request, given
        return _Ending(
            self._end,
            iterator=self._told(),
            headers=self.headers,
            media_type=self.media_type,
            status_code=self.status_code,
        )


class _Ending(ASGIStreamingResponse):
    """A streaming response that ends what it streams, even when the client leaves at once."""

    def __init__(self, end: Callable[[], Awaitable[None]], **given: Any) -> None:
        super().__init__(**given)
        self._end = end

    async def send_body(self, send: Send, receive: Receive) -> None:
        try:
            await super().send_body(send, receive)
        finally:
            await self._end()
