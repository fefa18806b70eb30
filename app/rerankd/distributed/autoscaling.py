"""How many replicas the waiting tokens need. Imports nothing of ours: Ray ships it by value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

TOKENS = "tokens"
"""The figure that replicas report."""


class AutoscalingState(Protocol):
    """The part of Ray Serve's AutoscalingContext that is used."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...

    @property
    def total_num_requests(self) -> float: ...

    @property
    def current_num_replicas(self) -> int: ...


class TokenPolicy:
    """Requests a replica for every `tokens_per_replica` of the tokens in all replicas."""

    def __init__(self, tokens_per_replica: int) -> None:
        self._tokens_per_replica = tokens_per_replica

    def __call__(self, context: AutoscalingState) -> tuple[int, dict[str, Any]]:
        """Return how many replicas there should be; Serve keeps the bounds and the delays."""
        reported = (context.aggregated_metrics or {}).get(TOKENS, {})
        if not reported and context.current_num_replicas:
            # No replica has reported yet.
            return context.current_num_replicas, {}
        return max(1, math.ceil(sum(reported.values()) / self._tokens_per_replica)), {}
