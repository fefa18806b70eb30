"""Metrics that are read when they are scraped rather than counted: the current state of models."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import get_args

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

from rerankd import __version__
from rerankd.deployments import Status
from rerankd.deployments.state import State
from rerankd.lru import CacheStats


class Snapshot(Struct, frozen=True, kw_only=True):
    """Values that are read when metrics are scraped, rather than counted."""

    deployments: Sequence[Status] = ()
    cache: CacheStats | None = None
    cache_limit: int = 0
    queue_limit: int = 0


class CurrentMetrics(CollectorRegistry):
    """A registry's metrics together with the gauges of a snapshot.

    Gauges that are set would keep the values of models that are gone.
    """

    def __init__(self, counted: CollectorRegistry, now: Snapshot) -> None:
        super().__init__()
        self._counted = counted
        self._now = now

    def collect(self) -> Iterator[Metric]:
        yield from self._counted.collect()
        yield from _gauges_of_models(self._now.deployments)
        yield from _gauges_of_process(self._now)


def _gauges_of_models(deployments: Sequence[Status]) -> Iterator[Metric]:
    def gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"rerankd_{name}", text, labels=("model", *more))

    tokens = gauge("queue_tokens", "Tokens waiting or running.")
    requests = gauge("queue_requests", "Requests waiting or running.")
    speed = gauge("engine_tokens_per_second", "Tokens per second of all workers when busy.")
    memory = gauge("model_memory_bytes", "Estimated memory of a model in bytes.")
    states = gauge("model_state", "1 for the state that a model is in, 0 for the others.", "state")
    for one in deployments:
        tokens.add_metric((one.id,), one.load.tokens)
        requests.add_metric((one.id,), one.load.requests)
        speed.add_metric((one.id,), one.load.tokens_per_second)
        memory.add_metric((one.id,), one.memory_bytes)
        for state in get_args(State):
            states.add_metric((one.id, state), float(one.state == state))
    yield from (tokens, requests, speed, memory, states)


def _gauges_of_process(now: Snapshot) -> Iterator[Metric]:
    limit = "Limit of tokens waiting or running for a model; requests beyond it get 429."
    yield GaugeMetricFamily("rerankd_queue_limit_tokens", limit, value=now.queue_limit)
    kept = now.cache or CacheStats(entries=0, bytes=0, hits=0, misses=0)
    yield GaugeMetricFamily(
        "rerankd_cache_entries", "Scores in the score cache.", value=kept.entries
    )
    yield GaugeMetricFamily(
        "rerankd_cache_bytes", "Bytes used by the score cache.", value=kept.bytes
    )
    yield GaugeMetricFamily(
        "rerankd_cache_limit_bytes", "Limit of the score cache in bytes.", value=now.cache_limit
    )
    yield InfoMetricFamily(
        "rerankd_build",
        "Always 1; the labels are the versions of rerankd, llama-cpp-python and Python.",
        value=_build_gauge(),
    )


@cache
def _build_gauge() -> dict[str, str]:
    """Return versions; looking one up reads the disk."""
    engine = version("llama-cpp-python")
    return {"version": __version__, "engine": engine, "python": platform.python_version()}
