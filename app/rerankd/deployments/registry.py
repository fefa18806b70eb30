"""Which models are served, in which state each is, and what comes and goes for memory's sake.

    absent → downloading → verifying → loading → ready → draining → absent
    and `failed` from anywhere before ready, with the reason.

Everything here runs on one event loop, so that there is no lock: slow work (download, load) is
awaited in threads or a child process, and after each await the state is looked at again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rerankd.deployments.runtime import Runtime
from rerankd.deployments.state import (
    BUSY,
    HOLDING,
    LOADING_RETRY,
    MOST_EVENTS_WAITING,
    TRANSITIONS,
    Deployment,
    Loader,
    State,
    Status,
)
from rerankd.errors import (
    Conflict,
    ModelFailed,
    ModelLoading,
    ModelNotFound,
    OutOfMemory,
    RerankdError,
    ShuttingDown,
)
from rerankd.logs import about_deployment
from rerankd.settings import Settings
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.store import Spec, Store

logger = logging.getLogger(__name__)


class Deployments:
    """All deployments of this process."""

    def __init__(
        self,
        settings: Settings,
        steps: Loader,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without a `store`, nothing survives a restart."""
        self._settings = settings
        self._steps = steps
        self._store = store
        self._clock = clock
        self._all: dict[str, Deployment] = {}
        self._listeners: set[asyncio.Queue[Status]] = set()
        self._closing = False

    # What there is

    @property
    def closing(self) -> bool:
        """Tell whether nothing new is taken any more."""
        return self._closing

    @property
    def statuses(self) -> list[Status]:
        """Return every deployment's status, the default one first, then oldest first."""
        return [one.status for one in self._all.values()]

    def status(self, deployment_id: str) -> Status:
        """Return one status. Raises ModelNotFound."""
        return self._find(deployment_id).status

    async def events(self) -> AsyncGenerator[Status, None]:
        """Yield every status now and then each that changes; a slow listener misses old ones."""
        queue: asyncio.Queue[Status] = asyncio.Queue(MOST_EVENTS_WAITING)
        for status in self.statuses:
            queue.put_nowait(status)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)

    # Coming and going

    def deploy(self, spec: Spec, *, default: bool = False) -> Deployment:
        """Take a model in and begin to load it.

        Raises Conflict when the id is taken, ShuttingDown when the server stops, StateError
        when it can't be remembered.
        """
        if self._closing:
            raise ShuttingDown("the server is stopping", retry_after=1)
        if spec.id in self._all:
            raise Conflict(f"{spec.id!r} is deployed already; stop it first", param="id")
        found = Deployment(spec, self._clock(), default=default)
        if self._store and not default:
            self._store.keep(spec, found.created)
        self._all[spec.id] = found
        self._begin(found)
        return found

    def restore(self) -> None:
        """Deploy again what the store remembers; one that can't be is told in its status."""
        for spec in self._store.deployments() if self._store else []:
            if spec.id not in self._all:
                found = Deployment(spec, self._clock(), default=False)
                self._all[spec.id] = found
                self._begin(found)

    def restart(self, deployment_id: str) -> None:
        """Load a model again that is absent or failed. Raises Conflict in any other state."""
        found = self._find(deployment_id)
        if found.state not in {"absent", "failed"}:
            raise Conflict(f"{deployment_id!r} is {found.state}", param="id")
        self._begin(found)

    async def stop(self, deployment_id: str) -> None:
        """Let running requests finish within the drain limit, free the model and forget it."""
        found = self._find(deployment_id)
        if self._store and not found.default:
            self._store.forget(deployment_id)
        await self._unload(found, "stopped")
        self._all.pop(deployment_id, None)

    async def close(self) -> None:
        """Stop taking models and requests, drain all, free all; what is deployed is kept."""
        self._closing = True
        await asyncio.gather(*(self._unload(one, "the server stops") for one in self._all.values()))

    def abort(self) -> None:
        """End running requests with ShuttingDown, without waiting."""
        self._closing = True
        for one in self._all.values():
            if one.runtime:
                one.runtime.abort()

    def drain(self) -> None:
        """Refuse new requests from now on; running ones go on."""
        self._closing = True

    # Use

    @asynccontextmanager
    async def use(self, model: str | None, deadline: float = math.inf) -> AsyncIterator[Runtime]:
        """Hold a model that is ready; it is neither unloaded nor evicted meanwhile.

        An absent one begins to load. Raises ModelNotFound, ModelLoading (after `load_wait`, or
        when the monotonic clock reaches `deadline`), ModelFailed with the deployment's reason,
        or ShuttingDown.
        """
        if self._closing:
            raise ShuttingDown("the server is stopping", retry_after=1)
        found = self._find(model)
        runtime = found.runtime or await self._loaded(found, deadline)
        found.requests += 1
        try:
            yield runtime
        finally:
            found.requests -= 1
            found.used = self._clock()
            self._watch_idle(found)

    def name_of(self, model: str | None) -> str:
        """Return the id of the deployment that requests of this name go to, empty for none."""
        try:
            return self._find(model).spec.id
        except ModelNotFound:
            return ""

    def _find(self, model: str | None) -> Deployment:
        if not model:
            default = [one for one in self._all.values() if one.default]
            if default or len(self._all) == 1:
                return (default or list(self._all.values()))[0]
            raise ModelNotFound("there is no default model: name one", param="model")
        found = self._all.get(model) or self._by_alias(model)
        if found is None and self._settings.any_model:
            return self._find(None)
        if found is None:
            served = ", ".join(map(repr, self._all)) or "none"
            raise ModelNotFound(f"no model {model!r} here; served: {served}", param="model")
        return found

    def _by_alias(self, name: str) -> Deployment | None:
        return next((one for one in self._all.values() if name.lower() in one.aliases), None)

    async def _loaded(self, found: Deployment, deadline: float) -> Runtime:
        if found.state == "absent":
            self._begin(found)
        patience = min(self._settings.load_wait, deadline - time.monotonic())
        if found.state in BUSY and found.task and patience > 0:
            await asyncio.wait({found.task}, timeout=patience)
        if found.runtime and found.state == "ready":
            return found.runtime
        if found.state == "failed":
            raise ModelFailed(f"{found.spec.id!r} could not be loaded: {found.message}")
        raise ModelLoading(
            f"{found.spec.id!r} is {found.state}; try again soon", retry_after=LOADING_RETRY
        )

    # Loading

    def _begin(self, found: Deployment) -> None:
        self._set(found, "downloading", "looking for the file")
        found.task = asyncio.create_task(self._load(found), name=f"load-{found.spec.id}")

    async def _load(self, found: Deployment) -> None:
        try:
            with about_deployment(found.spec.id):
                await self._load_steps(found)
        except RerankdError as error:
            self._set(found, "failed", error.message)
        except asyncio.CancelledError:
            self._set(found, "absent", "stopped while loading")
            raise
        except Exception as error:  # a fault of ours ends this deployment, not the others
            logger.exception(
                "loading %s failed", found.spec.id, extra={"deployment": found.spec.id}
            )
            self._set(found, "failed", f"unexpected {type(error).__name__}; the log says more")

    async def _load_steps(self, found: Deployment) -> None:
        resolved = await self._steps.download(found.spec, lambda now: self._progress(found, now))
        if resolved.manifest:
            found.model = resolved.manifest.id
            names = (resolved.manifest.id, *resolved.manifest.aliases)
            found.aliases = frozenset(name.lower() for name in names)
        self._set(found, "verifying", "checking the file")
        target, found.memory_bytes = await self._steps.verify(found.spec, resolved)
        self._set(found, "loading", "loading the weights")
        await self._make_room(found)
        found.runtime = await _uncut(self._steps.load(found.spec, target), self._discard)
        facts = found.runtime.facts
        self._set(found, "ready", f"on {facts.device}, {facts.workers} x {facts.threads} threads")
        self._watch_idle(found)

    async def _discard(self, runtime: Runtime) -> None:
        await runtime.close(0)

    def _progress(self, found: Deployment, progress: DownloadProgress) -> None:
        if found.state == "downloading":
            found.progress = progress
            found.message = "downloading"
            self._publish(found)

    # Memory

    async def _make_room(self, newcomer: Deployment) -> None:
        """Unload models that nobody uses, least recently used first, until the budget holds."""
        budget = self._settings.memory_budget
        while budget and self._held() > budget:
            idle = [one for one in self._all.values() if _may_go(one) and one is not newcomer]
            if not idle:
                raise OutOfMemory(
                    f"{newcomer.spec.id!r} needs {newcomer.memory_bytes} bytes, and models in use "
                    f"or pinned leave no room within memory_budget, {budget}"
                )
            oldest = min(idle, key=lambda one: one.used)
            # Shielded: stopping the newcomer must not leave the other one half unloaded.
            await asyncio.shield(self._unload(oldest, f"made room for {newcomer.spec.id}"))

    def _held(self) -> int:
        return sum(one.memory_bytes for one in self._all.values() if one.state in HOLDING)

    def _watch_idle(self, found: Deployment) -> None:
        if self._settings.idle_timeout and not found.spec.pinned:
            loop = asyncio.get_running_loop()
            loop.call_later(self._settings.idle_timeout, self.unload_idle)

    def unload_idle(self) -> None:
        """Begin to unload every model that has had no request for `idle_timeout` seconds."""
        limit = self._clock() - self._settings.idle_timeout
        for one in self._all.values():
            if _may_go(one) and one.used <= limit:
                one.task = asyncio.create_task(self._unload(one, "unloaded after idle time"))

    async def _unload(self, found: Deployment, why: str) -> None:
        if found.state in BUSY and found.task:
            found.task.cancel()
            await asyncio.wait({found.task})
        if found.state == "ready" and found.runtime:
            runtime, found.runtime = found.runtime, None
            self._set(found, "draining", why)
            await runtime.close(self._settings.drain_timeout)
            self._set(found, "absent", why)

    # Telling

    def _set(self, found: Deployment, state: State, message: str) -> None:
        if state not in TRANSITIONS[found.state]:
            raise AssertionError(f"{found.spec.id}: {found.state} to {state}")
        found.state, found.message, found.progress = state, message, None
        found.changed = self._clock()
        about = {"deployment": found.spec.id}
        level = logging.ERROR if state == "failed" else logging.INFO
        logger.log(level, "%s %s: %s", found.spec.id, state, message, extra=about)
        self._publish(found)

    def _publish(self, found: Deployment) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(found.status)


def _may_go(found: Deployment) -> bool:
    return found.state == "ready" and not found.requests and not found.spec.pinned


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
