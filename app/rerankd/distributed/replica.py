"""A whole server of a cluster but for its socket: HTTP application, service and model."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from rerankd.auth.keys import key_store_of
from rerankd.distributed.autoscaling import TOKENS
from rerankd.distributed.calls import ForwardedRequest, Part, answer
from rerankd.distributed.meters import Meters
from rerankd.errors import ModelFailed
from rerankd.http.application import create_app
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.store import Key
from rerankd.telemetry import log_format
from rerankd.telemetry.observers import Telemetry, traces_of

logger = logging.getLogger(__name__)


class Replica:
    """What Ray Serve makes many of; ready when it has been made."""

    async def __init__(self, settings: Settings, keys: Sequence[Key]) -> None:  # type: ignore[misc]
        """Load the model. Raises ModelFailed with the reason."""
        log_format.configure_server_logging(settings.log_level, settings.log_format, colours=False)
        self._telemetry = Telemetry(traces_of(settings))
        self._meters = Meters(self._telemetry)
        self._service = build(settings, observer=self._meters)
        key_store = key_store_of(settings)
        for key in keys:
            await key_store.add(key)
        self._application: Any = create_app(self._service, self._telemetry, key_store, replica=True)
        try:
            await self._service.start()
        except BaseException:
            await self._service.close()
            raise

    async def answer(self, call: ForwardedRequest) -> AsyncGenerator[Part, None]:
        """Yield the answer to a request."""
        async for part in answer(self._application, call):
            yield part

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Report to Ray Serve how many tokens wait or run here."""
        tokens = sum(one.load.tokens for one in self._service.deployments.statuses)
        self._meters.queued(tokens)
        return {TOKENS: tokens}

    async def check_health(self) -> None:
        """Raise ModelFailed when this replica should be replaced."""
        if not self._service.ready:
            raise ModelFailed("the model is no longer ready")

    async def __del__(self) -> None:
        """Free the model; Ray Serve awaits this when running requests have ended."""
        await self._service.close()
        self._telemetry.close()
