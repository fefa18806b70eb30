"""Which requests are let in: limits that all kinds of work share, and what errors count as."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import msgspec

from rerankd.auth.keys import Caller
from rerankd.auth.rate_limits import RateLimiter
from rerankd.deployments import Deployments
from rerankd.domain import RankRequest
from rerankd.errors import ModelNotFound, QueueFull, RerankdError, TooManyDocuments
from rerankd.settings import Settings

CLIENT_CLOSED = "client_closed"
"""What a request counts as whose client has gone."""


class Admission:
    """The limits of a service, and how many requests are in it."""

    def __init__(self, settings: Settings, deployments: Deployments) -> None:
        self._settings = settings
        self._deployments = deployments
        self._requests = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold one of the places for requests. Raises QueueFull when none is free."""
        if self._requests >= self._settings.max_requests:
            raise QueueFull(
                f"{self._requests} requests are waiting (max_requests); try again later",
                retry_after=1,
            )
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    def patience(self, timeout_ms: int | None) -> float:
        """Return the seconds that a request may take: its own limit, or the server's."""
        own = math.inf if timeout_ms is None else timeout_ms / 1000
        return min(own, self._settings.request_timeout or math.inf)

    def with_defaults(self, request: RankRequest, caller: Caller) -> RankRequest:
        """Return a request that says what its deadline ends in."""
        found = request.on_timeout or caller.on_timeout or self._settings.on_timeout
        if found == request.on_timeout:
            return request
        return msgspec.structs.replace(request, on_timeout=found)

    def require_few_documents(
        self, count: int, param: str = "documents", what: str = "documents"
    ) -> None:
        """Raise TooManyDocuments for more than a request may have."""
        most = self._settings.max_documents
        if count > most:
            raise TooManyDocuments(
                f"{count} {what}, the limit is {most} (max_documents)", param=param
            )

    def require_models(self, caller: Caller, models: Iterable[str | None]) -> None:
        """Raise ModelNotFound alike for a model not meant for this caller and for a missing one."""
        for model in set(models):
            if caller.models is None or caller.may_use(self._deployments.name_of(model)):
                continue
            own = ", ".join(map(repr, caller.models))
            what = f"no model {model!r} here" if model else "name a model"
            raise ModelNotFound(f"{what}; this API key may use: {own}", param="model")


@contextmanager
def rate_limited(limiter: RateLimiter | None) -> Iterator[None]:
    """Hold one of the places for a caller's requests. Raises RateLimited when none is free."""
    if limiter is None:
        yield
        return
    with limiter.running():
        yield


def code_of(failure: BaseException) -> str:
    """Return what a request counts as that ended so."""
    if isinstance(failure, RerankdError):
        return failure.code
    return CLIENT_CLOSED if isinstance(failure, asyncio.CancelledError) else RerankdError.code
