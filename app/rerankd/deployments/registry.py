"""Which models are served, under which names, and how requests get hold of one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from rerankd.deployments.events import StatusEvents
from rerankd.deployments.lifecycle import Lifecycle
from rerankd.deployments.runtime import Runtime
from rerankd.deployments.state import Deployment, Loader, State, Status
from rerankd.errors import Conflict, ModelNotFound, ShuttingDown
from rerankd.settings import Settings
from rerankd.sources.catalog import Manifest
from rerankd.store import Spec, Store
from rerankd.threads import WorkerPool

AUTO = "auto"
"""The name by which a request leaves the choice of the model to the server."""


class Deployments:
    """All deployments of this process."""

    def __init__(
        self,
        settings: Settings,
        loader: Loader,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Without a `store`, nothing survives a restart."""
        self._settings = settings
        self._store = store
        self._clock = clock
        # One thread: records are written in the order of the calls, and the loop never waits.
        self._storing = WorkerPool("store-deployments", 1)
        self._arriving: dict[asyncio.Task[Deployment], str] = {}
        self._all: dict[str, Deployment] = {}
        self._events = StatusEvents()
        self._loader = loader
        self._lifecycle = Lifecycle(self._all, settings, loader, self._events, clock)
        self._closing = False

    # What there is

    @property
    def closing(self) -> bool:
        """Whether new deployments and requests are refused."""
        return self._closing

    @property
    def statuses(self) -> list[Status]:
        """Every deployment's status, the default one first, then oldest first."""
        return [one.status for one in list(self._all.values())]  # threads ask as well

    def status(self, deployment_id: str) -> Status:
        """Return a deployment's status. Raises ModelNotFound."""
        return self._managed(deployment_id).status

    def events(self) -> AsyncGenerator[Status, None]:
        """Yield every status now and then each that changes; a slow listener misses old ones."""
        return self._events.listen(lambda: self.statuses)

    # Coming and going

    async def deploy(self, spec: Spec, *, default: bool = False) -> Deployment:
        """Add a model and start to load it.

        Raises Conflict when the id is taken, ShuttingDown when the server stops, StateError
        when the deployment can't be stored. Once begun, it goes on when the caller is cancelled.
        """
        self._require_open()
        if self._is_taken(spec.id) and not self._is_only_offered(spec.id):
            raise Conflict(f"{spec.id!r} is already deployed; stop it first", param="id")
        self._all.pop(spec.id, None)  # what was only offered
        found = Deployment(spec, self._clock(), default=default)
        if self._store is None or default:
            return self._begin(found)
        task = asyncio.create_task(self._store_and_begin(self._store, found))
        self._arriving[task] = spec.id
        task.add_done_callback(self._arrived)
        return await asyncio.shield(task)

    async def restore(self) -> None:
        """Deploy again what was stored; the status of one that fails says why."""
        if self._store is None:
            return
        for spec in await self._storing.run(self._store.deployments):
            if not self._is_taken(spec.id) and not self._closing:
                self._begin(Deployment(spec, self._clock()))

    def offer(self, spec: Spec, manifest: Manifest) -> None:
        """Add a model that is loaded when a request needs it, unless its id is taken.

        It is not stored, is unloaded when idle, and makes way for a deployment of its id.
        """
        if not self._is_taken(spec.id):
            offered = Deployment(spec, self._clock(), on_demand=True)
            offered.message = "loaded when a request needs it"
            offered.take_names(manifest)
            self._all[spec.id] = offered
            self._events.publish(offered.status)

    async def restart(self, deployment_id: str, *, accept_unproven: bool = False) -> None:
        """Load an absent or failed model again, also one that is held back.

        With `accept_unproven`, from now on also where it failed to rank well in the load check.
        Raises Conflict in any other state.
        """
        found = self._managed(deployment_id)
        _require_idle(found)
        spec = _accepting_unproven(found.spec) if accept_unproven else found.spec
        await self._store_changed(found, spec)
        await self._loader.allow(spec)
        self._require_open()
        _require_idle(found)  # a request may have begun it meanwhile
        if self._all.get(spec.id) is found:
            found.spec = spec
            self._lifecycle.begin(found)

    async def change(self, spec: Spec) -> Deployment:
        """Give a deployment other options, and load it anew with them.

        Running requests finish within the drain limit; until it is ready again, new ones are
        refused. What is changed of the default model lasts until the server ends. Raises
        ModelNotFound, StateError or ShuttingDown.
        """
        self._require_open()
        found = self._managed(spec.id)
        await self._store_changed(found, spec)
        await self._lifecycle.unload(found, "its options were changed")
        self._require_open()
        found.spec = spec
        await self._loader.allow(spec)
        if self._all.get(spec.id) is found and found.state in {"absent", "failed"}:
            self._lifecycle.begin(found)
        return found

    async def _store_changed(self, found: Deployment, spec: Spec) -> None:
        if self._store and not found.default and spec != found.spec:
            await self._storing.run(self._store.keep, spec, found.created)

    async def stop(self, deployment_id: str) -> None:
        """Let running requests finish within the drain limit, free the model and forget it."""
        found = self._managed(deployment_id)
        if self._store and not found.default:
            await self._storing.run(self._store.forget, found.spec.id)
        await self._lifecycle.unload(found, "stopped")
        self._all.pop(found.spec.id, None)

    async def close(self) -> None:
        """Refuse models and requests, drain and free all models; the store keeps them."""
        self.drain()
        await asyncio.gather(
            *(self._lifecycle.unload(one, "the server is stopping") for one in self._all.values())
        )

    def abort(self) -> None:
        """End running requests with ShuttingDown, without waiting."""
        self.drain()
        for one in self._all.values():
            if one.runtime:
                one.runtime.abort()

    def drain(self) -> None:
        """Refuse new requests from now on; running ones go on, and event streams end."""
        if not self._closing:
            self._loader.end_trials()
        self._closing = True
        self._events.end()

    def unload_idle(self) -> None:
        """Start to unload every model that has had no request for its idle time."""
        self._lifecycle.unload_idle()

    # Use

    @asynccontextmanager
    async def use(self, model: str | None, deadline: float = math.inf) -> AsyncIterator[Runtime]:
        """Hold a model that is ready: it is not unloaded meanwhile.

        An absent one starts to load. Raises ModelNotFound, ModelLoading (after `load_wait`, or
        when the monotonic clock reaches `deadline`), ModelFailed with the deployment's reason,
        or ShuttingDown.
        """
        self._require_open()
        found = self._find(model)
        runtime = found.runtime or await self._lifecycle.loaded(found, deadline)
        found.requests += 1
        try:
            yield runtime
        finally:
            found.requests -= 1
            found.used = self._clock()
            self._lifecycle.watch_idle(found)

    def state_of(self, deployment_id: str) -> State | None:
        """Return the state of the deployment of exactly this id, None where there is none."""
        found = self._all.get(deployment_id)
        return found.state if found else None

    def name_of(self, model: str | None) -> str:
        """Return the id of the deployment that a request for this name gets, empty for none."""
        try:
            return self._find(model).spec.id
        except ModelNotFound:
            return ""

    def has(self, name: str) -> bool:
        """Return whether a deployment has this id or alias."""
        return name in self._all or self._by_alias(name) is not None

    def _require_open(self) -> None:
        if self._closing:
            raise ShuttingDown("the server is stopping", retry_after=1)

    def _is_only_offered(self, deployment_id: str) -> bool:
        found = self._all.get(deployment_id)
        return found is not None and found.on_demand and found.state in {"absent", "failed"}

    def _is_taken(self, deployment_id: str) -> bool:
        return deployment_id in self._all or deployment_id in self._arriving.values()

    async def _store_and_begin(self, store: Store, found: Deployment) -> Deployment:
        await self._storing.run(store.keep, found.spec, found.created)
        if self._closing:
            await self._storing.run(store.forget, found.spec.id)
        self._require_open()
        return self._begin(found)

    def _arrived(self, task: asyncio.Task[Deployment]) -> None:
        del self._arriving[task]
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; asyncio would log the failure

    def _begin(self, found: Deployment) -> Deployment:
        self._all[found.spec.id] = found
        self._lifecycle.begin(found)
        return found

    def _managed(self, deployment_id: str) -> Deployment:
        """Return the deployment of this name, never another one in its place."""
        found = self._all.get(deployment_id) or self._by_alias(deployment_id)
        if found is None:
            raise self._not_found(deployment_id)
        return found

    def _not_found(self, name: str) -> ModelNotFound:
        served = ", ".join(map(repr, self._all)) or "none"
        return ModelNotFound(f"no model {name!r} here; served: {served}", param="model")

    def _find(self, model: str | None) -> Deployment:
        if not model or (model == AUTO and model not in self._all):
            asked_for = [one for one in self._all.values() if not one.on_demand]
            default = [one for one in asked_for if one.default]
            if default or len(asked_for) == 1:
                return (default or asked_for)[0]
            raise ModelNotFound(
                "there is no default model; set `model` in the request", param="model"
            )
        found = self._all.get(model) or self._by_alias(model)
        if found is None and self._settings.any_model:
            return self._find(None)
        if found is None:
            raise self._not_found(model)
        return found

    def _by_alias(self, name: str) -> Deployment | None:
        return next((one for one in self._all.values() if name.lower() in one.aliases), None)


def _accepting_unproven(spec: Spec) -> Spec:
    return msgspec.structs.replace(spec, options=spec.options | {"accept_unproven": True})


def _require_idle(deployment: Deployment) -> None:
    if deployment.state not in {"absent", "failed"}:
        raise Conflict(f"{deployment.spec.id!r} is {deployment.state}", param="id")
