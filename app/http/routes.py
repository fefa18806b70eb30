"""The routes. Each one reads, asks the service, and writes; decisions live below."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency

from app.deployments import LOADING_RETRY
from app.dialects import native
from app.domain import RankedResult, RankRequest, Timings
from app.errors import ModelLoading, RequestTimeout, ShuttingDown
from app.http.access_log import request_id
from app.http.guard import PUBLIC
from app.service import Service

CLIENT_CLOSED = 499


@post(["/v1/rerank", "/rerank"], status_code=200)
async def rerank(
    request: Request[Any, Any, Any], service: NamedDependency[Service]
) -> Response[bytes]:
    """Rank documents for a query."""
    asked, wire = native.read(await body_of(request, service.settings.read_timeout))
    result = await _unless_gone(request, service, asked)
    if result is None:
        return Response(b"", status_code=CLIENT_CLOSED)
    reply = native.reply(f"rerank-{request_id(request.scope)}", wire, asked, result)
    return Response(
        native.encode(reply),
        media_type="application/json",
        headers={"Server-Timing": _server_timing(result.timings)},
    )


async def body_of(request: Request[Any, Any, Any], seconds: float) -> bytes:
    """Return the body. Raises RequestTimeout when it takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await request.body()
    except TimeoutError as error:
        raise RequestTimeout(f"the body did not arrive within {seconds:g} s") from error


async def _unless_gone(
    request: Request[Any, Any, Any], service: Service, asked: RankRequest
) -> RankedResult | None:
    """Rank, or return None as soon as the client has gone: Litestar doesn't cancel handlers."""
    work = asyncio.create_task(service.rank(asked))
    watch = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        return await work if work.done() else None
    finally:
        for task in (work, watch):
            task.cancel()
        await asyncio.wait({work, watch})


async def _gone(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _server_timing(timings: Timings) -> str:
    return (
        f"tokenize;dur={timings.tokenize_ms}, queue;dur={timings.queue_ms}, "
        f"engine;dur={timings.engine_ms}, total;dur={timings.total_ms}"
    )


@get("/v1/models", sync_to_thread=False)
def list_models(service: NamedDependency[Service]) -> Response[bytes]:
    """List the models this server answers for."""
    models = [native.model(status) for status in service.deployments.statuses]
    return as_json(native.ModelList(data=models))


@get(["/health/live", "/health"], opt={PUBLIC: True}, sync_to_thread=False)
def live() -> Response[bytes]:
    """Tell that the process answers."""
    return as_json({"status": "live"})


@get("/health/ready", opt={PUBLIC: True}, sync_to_thread=False)
def ready(service: NamedDependency[Service]) -> Response[bytes]:
    """Tell whether a rerank request would be served now."""
    if service.draining:
        raise ShuttingDown("the server is stopping", retry_after=1)
    if not service.ready:
        raise ModelLoading("no model is ready yet", retry_after=LOADING_RETRY)
    return as_json({"status": "ready"})


def as_json(value: Any, status_code: int | None = None) -> Response[bytes]:
    """Answer with a struct as JSON."""
    return Response(native.encode(value), media_type="application/json", status_code=status_code)
