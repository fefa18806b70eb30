"""Ranking on behalf of an API key: its models, its limits, and what it is told of them."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from rerankd.auth.keys import Caller
from rerankd.auth.rate_limits import RateLimiter
from rerankd.domain import RankedResult, RankRequest
from rerankd.errors import ModelNotFound
from rerankd.ranking.ranker import OnScored
from rerankd.service import Service

ALLOWANCE = "allowance"


async def rank(
    request: Request[Any, Any, Any],
    service: Service,
    asked: RankRequest,
    on_scored: OnScored | None = None,
) -> RankedResult:
    """Rank for whoever sent the request.

    Raises what Service.rank raises, ModelNotFound for a model that is not for this key, and
    RateLimited when too many of its requests run.
    """
    caller: Caller = request.scope["auth"]
    _require_model(caller, service, asked.model)
    allowance: RateLimiter | None = request.scope["state"].get(ALLOWANCE)
    with allowance.running(id(request.scope)) if allowance else nullcontext():
        result = await service.rank(asked, caller=caller.id, on_scored=on_scored)
    if allowance:
        allowance.charge(result.prompt_tokens, time.monotonic())
    return result


def is_limited(request: Request[Any, Any, Any]) -> bool:
    """Tell whether the key of a request has limits."""
    return ALLOWANCE in request.scope["state"]


def _require_model(caller: Caller, service: Service, model: str | None) -> None:
    """Raise ModelNotFound, the same for a model that is not for this key and for one not there."""
    if caller.models is None or caller.may_use(service.deployments.name_of(model)):
        return
    own = ", ".join(map(repr, caller.models))
    what = f"no model {model!r} here" if model else "name a model"
    raise ModelNotFound(f"{what}; this API key may use: {own}", param="model")


async def tell_limits(message: Message, scope: Scope) -> None:
    """Add to an answer what is left of its key's limits, a hook before Litestar sends.

    RateLimit-* (an IETF draft's) tell the limit that ends first; X-RateLimit-*-Requests and
    -Tokens are OpenAI's, which gateways and SDKs read.
    """
    if message["type"] != "http.response.start":
        return
    allowance: RateLimiter | None = scope.get("state", {}).get(ALLOWANCE)
    standings = allowance.standings(time.monotonic()) if allowance else ()
    if not standings:
        return
    headers = MutableScopeHeaders(message)
    first = standings[0]
    headers["RateLimit-Limit"] = str(first.limit)
    headers["RateLimit-Remaining"] = str(first.remaining)
    headers["RateLimit-Reset"] = str(first.reset)
    for one in standings:
        headers[f"X-RateLimit-Limit-{one.unit}"] = str(one.limit)
        headers[f"X-RateLimit-Remaining-{one.unit}"] = str(one.remaining)
        headers[f"X-RateLimit-Reset-{one.unit}"] = f"{one.reset}s"
