"""What is left of an API key's limits, in the headers of its answers."""

from __future__ import annotations

import time
from typing import Any

from litestar import Request
from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from rerankd.auth.rate_limits import RateLimiter

LIMITER = "rate_limiter"


def limiter_of(request: Request[Any, Any, Any]) -> RateLimiter | None:
    """Return the limits of the key of a request, as the guard found them."""
    found: RateLimiter | None = request.scope["state"].get(LIMITER)
    return found


async def add_limit_headers(message: Message, scope: Scope) -> None:
    """Add to an answer what is left of its key's limits, a hook before Litestar sends.

    RateLimit-* (an IETF draft's) report the limit that ends first; X-RateLimit-*-Requests and
    -Tokens are OpenAI's, which gateways and SDKs read.
    """
    if message["type"] != "http.response.start":
        return
    limiter: RateLimiter | None = scope.get("state", {}).get(LIMITER)
    standings = limiter.quotas(time.monotonic()) if limiter else ()
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
