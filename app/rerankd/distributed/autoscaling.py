"""How many replicas the tokens that wait are worth. Imports nothing: Ray sends it as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

TOKENS = "tokens"
"""The figure that replicas report."""


class AutoscalingState(Protocol):
    """What is read of Ray Serve's AutoscalingContext."""

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None: ...

    @property
    def total_num_requests(self) -> float: ...

    @property
    def current_num_replicas(self) -> int: ...


class TokenPolicy:
    """Wants as many replicas as there are `tokens_per_replica` among the tokens of them all."""

    def __init__(self, tokens_per_replica: int) -> None:
        self._tokens_per_replica = tokens_per_replica

    def __call__(self, context: AutoscalingState) -> tuple[int, dict[str, Any]]:
        """Return how many replicas there should be; Serve keeps the bounds and the delays."""
        reported = (context.aggregated_metrics or {}).get(TOKENS, {})
        if not reported and context.current_num_replicas:
            # Nobody has reported yet: no reason to change anything.
            return context.current_num_replicas, {}
        return max(1, math.ceil(sum(reported.values()) / self._tokens_per_replica)), {}
