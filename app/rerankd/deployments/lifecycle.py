"""How a deployment is loaded and unloaded, and what is unloaded to make room for it.

    absent → downloading → verifying → loading → ready → draining → absent
    and `failed` from anywhere before ready, with the reason.

Everything here runs on one event loop, so there is no lock: slow work (download, load) is awaited
in threads or a child process, and after each await the state is looked at again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from rerankd.deployments.events import StatusEvents
from rerankd.deployments.runtime import Runtime
from rerankd.deployments.state import (
    BUSY,
    HOLDING,
    LOADING_RETRY,
    ON_DEMAND_WAIT,
    Deployment,
    Loader,
    State,
)
from rerankd.errors import ModelFailed, ModelLoading, OutOfMemory, RerankdError
from rerankd.logs import about_deployment
from rerankd.settings import Settings
from rerankd.sources.hub.meter import DownloadProgress

logger = logging.getLogger(__name__)


class Lifecycle:
    """Moves deployments from state to state within the limits of the settings."""

    def __init__(
        self,
        deployments: Mapping[str, Deployment],
        settings: Settings,
        loader: Loader,
        events: StatusEvents,
        clock: Callable[[], float],
    ) -> None:
        """`deployments` are all there are: those among them that nobody uses make room."""
        self._deployments = deployments
        self._settings = settings
        self._loader = loader
        self._events = events
        self._clock = clock

    def begin(self, deployment: Deployment) -> None:
        """Start to load a deployment that is absent or failed."""
        self._enter(deployment, "downloading", "finding the file")
        name = f"load-{deployment.spec.id}"
        deployment.task = asyncio.create_task(self._load(deployment), name=name)

    async def unload(self, deployment: Deployment, why: str) -> None:
        """Stop loading; or let running requests finish within the drain limit, then free it."""
        if deployment.state in BUSY and deployment.task:
            deployment.task.cancel()
            await asyncio.wait({deployment.task})
        if deployment.state == "ready" and deployment.runtime:
            runtime, deployment.runtime = deployment.runtime, None
            self._enter(deployment, "draining", why)
            await runtime.close(self._settings.drain_timeout)
            self._enter(deployment, "absent", why)

    async def loaded(self, found: Deployment, deadline: float) -> Runtime:
        """Return a deployment's model, loaded if it is absent, after waiting as long as it may.

        Raises ModelLoading after `load_wait`, or when the monotonic clock reaches `deadline`, and
        ModelFailed with the deployment's reason.
        """
        if found.on_demand and found.state == "draining" and found.task:
            await asyncio.wait({found.task})  # it was idle, so this is short
        if found.state == "absent":
            self.begin(found)
        load_wait = max(self._settings.load_wait, ON_DEMAND_WAIT if found.on_demand else 0.0)
        patience = min(load_wait, deadline - time.monotonic())
        if found.state in BUSY and found.task and patience > 0:
            await asyncio.wait({found.task}, timeout=patience)
        if found.runtime and found.state == "ready":
            return found.runtime
        if found.state == "failed":
            raise ModelFailed(f"{found.spec.id!r} could not be loaded: {found.message}")
        raise ModelLoading(
            f"{found.spec.id!r} is {found.state}; try again later", retry_after=LOADING_RETRY
        )

    def watch_idle(self, deployment: Deployment) -> None:
        """Unload a deployment later if nobody uses it for its idle time from now on."""
        seconds = deployment.idle_seconds(self._settings.idle_timeout)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self.unload_idle)

    def unload_idle(self) -> None:
        """Start to unload every model that has had no request for its idle time."""
        now = self._clock()
        for one in self._deployments.values():
            seconds = one.idle_seconds(self._settings.idle_timeout)
            if seconds and one.may_be_unloaded and one.used <= now - seconds:
                one.task = asyncio.create_task(self.unload(one, "unloaded because it was idle"))

    async def _load(self, deployment: Deployment) -> None:
        try:
            with about_deployment(deployment.spec.id):
                await self._load_in_steps(deployment)
        except RerankdError as error:
            self._enter(deployment, "failed", error.message, error.code)
        except asyncio.CancelledError:
            self._enter(deployment, "absent", "stopped while loading")
            raise
        except Exception as error:  # a bug of ours ends this deployment, not the others
            about = {"deployment": deployment.spec.id}
            logger.exception("loading %s failed", deployment.spec.id, extra=about)
            reason = f"unexpected {type(error).__name__}; see the log"
            self._enter(deployment, "failed", reason, RerankdError.code)

    async def _load_in_steps(self, deployment: Deployment) -> None:
        spec = deployment.spec
        resolved = await self._loader.download(spec, lambda now: self._report(deployment, now))
        if resolved.manifest:
            deployment.take_names(resolved.manifest)
        why = f"; {resolved.chosen}" if resolved.chosen else ""
        self._enter(deployment, "verifying", f"checking the file{why}")
        target, deployment.memory_bytes = await self._loader.verify(spec, resolved)
        self._enter(deployment, "loading", "loading the weights")
        await self._make_room(deployment)
        runtime = await _uncut(self._loader.load(spec, target), _close_now)
        deployment.runtime, facts = runtime, runtime.facts
        threads = f"{facts.workers} x {facts.threads} threads"
        self._enter(deployment, "ready", f"on {facts.device}, {threads}")
        self.watch_idle(deployment)

    async def _make_room(self, newcomer: Deployment) -> None:
        """Unload models that nobody uses, least recently used first, until the budget holds."""
        budget = self._settings.memory_budget
        while budget and self._held_bytes() > budget:
            others = [one for one in self._deployments.values() if one is not newcomer]
            idle = [one for one in others if one.may_be_unloaded]
            if not idle:
                raise OutOfMemory(
                    f"{newcomer.spec.id!r} needs {newcomer.memory_bytes} bytes, but models in use "
                    f"or pinned leave no room within memory_budget, {budget}"
                )
            oldest = min(idle, key=lambda one: one.used)
            # Shielded: stopping the newcomer must not leave the other one half unloaded.
            await asyncio.shield(self.unload(oldest, f"made room for {newcomer.spec.id}"))

    def _held_bytes(self) -> int:
        return sum(one.memory_bytes for one in self._deployments.values() if one.state in HOLDING)

    def _report(self, deployment: Deployment, progress: DownloadProgress) -> None:
        if deployment.state == "downloading":
            deployment.progress, deployment.message = progress, "downloading"
            self._events.publish(deployment.status)

    def _enter(self, deployment: Deployment, state: State, message: str, error: str = "") -> None:
        deployment.enter(state, message, self._clock(), error)
        self._events.publish(deployment.status)


async def _close_now(runtime: Runtime) -> None:
    await runtime.close(0)


async def _uncut(
    work: Awaitable[Runtime], discard: Callable[[Runtime], Awaitable[None]]
) -> Runtime:
    """Await work that can't be cut short; when cancelled, wait for it and discard its result."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            await discard(task.result())
        raise
