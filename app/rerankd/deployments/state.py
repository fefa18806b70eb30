"""A deployment: its states, which may follow which, and its status as people see it."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal, Protocol

from msgspec import Struct, field

from rerankd.deployments.runtime import Reservation, Runtime
from rerankd.deployments.target import Target
from rerankd.domain import ModelFacts
from rerankd.scheduling.tickets import Load
from rerankd.sources.catalog import Manifest
from rerankd.sources.downloads import OnDownload
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.sources.resolve import ResolvedModel
from rerankd.store import Spec

State = Literal["absent", "downloading", "verifying", "loading", "ready", "draining", "failed"]

TRANSITIONS: dict[State, frozenset[State]] = {
    "absent": frozenset({"downloading"}),
    "downloading": frozenset({"verifying", "failed", "absent"}),
    "verifying": frozenset({"loading", "failed", "absent"}),
    "loading": frozenset({"ready", "failed", "absent"}),
    "ready": frozenset({"draining"}),
    "draining": frozenset({"absent"}),
    "failed": frozenset({"downloading", "absent"}),
}
BUSY: frozenset[State] = frozenset({"downloading", "verifying", "loading"})
HOLDING: frozenset[State] = frozenset({"loading", "ready", "draining"})
ON_DEMAND_IDLE = 600.0
"""Seconds without a request after which such a model is unloaded, unless `idle_timeout` is set."""
ON_DEMAND_WAIT = 30.0
"""Least seconds that a request waits for a model that it has loaded on demand."""
LOADING_RETRY = 2
"""Seconds after which a request for a model that loads should be tried again."""

logger = logging.getLogger(__name__)


class Status(Struct, frozen=True, kw_only=True):
    """A deployment; times are Unix times in seconds."""

    id: str
    source: str
    model: str
    """Its id in the catalog, empty for a model that has none."""
    state: State
    message: str
    default: bool
    pinned: bool
    created: float
    changed: float
    used: float
    progress: DownloadProgress | None
    memory_bytes: int
    load: Load
    facts: ModelFacts | None
    options: dict[str, str | int | bool] = field(default_factory=dict)
    """Its own settings, which override the server's."""
    error: str = ""
    """The code of what it failed with, empty for any other state."""
    marks: tuple[Reservation, ...] = ()
    """Why its scores may be wrong, although it is served."""


class Loader(Protocol):
    """The slow steps of a deployment, in order; `deployments.loader.FileLoader` does them."""

    async def download(self, spec: Spec, on_progress: OnDownload) -> ResolvedModel:
        """Find the model's file, or download it; `on_progress` is called on the event loop.

        Raises ModelFailed for a model that is held back because it ended the server before.
        """
        ...

    async def verify(self, spec: Spec, resolved: ResolvedModel) -> tuple[Target, int]:
        """Judge and load-check the file; return what `load` takes and the bytes it will need."""
        ...

    async def load(self, spec: Spec, target: Target) -> Runtime:
        """Open the model."""
        ...

    async def allow(self, spec: Spec) -> None:
        """Let a model be tried again that is held back. Raises StateError."""
        ...

    def end_trials(self) -> None:
        """Blame no model for the end of this process, which is about to stop in order."""
        ...


class Deployment:
    """One model that was asked for, and the state it is in."""

    def __init__(
        self, spec: Spec, now: float, *, default: bool = False, on_demand: bool = False
    ) -> None:
        """With `on_demand`, nobody asked for it: it is loaded by requests that need it."""
        self.spec = spec
        self.default = default
        self.on_demand = on_demand
        self.state: State = "absent"
        self.message = "not loaded"
        self.error = ""
        self.created = self.changed = self.used = now
        self.progress: DownloadProgress | None = None
        self.memory_bytes = 0
        self.requests = 0
        self.model = ""
        self.aliases: frozenset[str] = frozenset()
        """Other names of the model, in lower case, once its manifest is known."""
        self.runtime: Runtime | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def may_be_unloaded(self) -> bool:
        """Whether it is ready, and neither in use nor pinned."""
        return self.state == "ready" and not self.requests and not self.spec.pinned

    def idle_seconds(self, setting: float) -> float:
        """Return the seconds without a request after which it is unloaded, 0 for never."""
        if self.spec.pinned:
            return 0.0
        return setting or (ON_DEMAND_IDLE if self.on_demand else 0.0)

    def take_names(self, manifest: Manifest) -> None:
        """Take the names that the model has in the catalog."""
        self.model = manifest.id
        self.aliases = frozenset(name.lower() for name in (manifest.id, *manifest.aliases))

    def enter(self, state: State, message: str, now: float, error: str = "") -> None:
        """Go to another state, which must be able to follow on this one, and log it.

        `error` is the code of what it failed with.
        """
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"{self.spec.id}: {self.state} to {state}")
        self.state, self.message, self.progress = state, message, None
        self.error = error
        self.changed = now
        level = logging.ERROR if state == "failed" else logging.INFO
        about = {"deployment": self.spec.id}
        logger.log(level, "%s %s: %s", self.spec.id, state, message, extra=about)

    @property
    def status(self) -> Status:
        """Its status now."""
        return Status(
            id=self.spec.id,
            source=self.spec.source,
            model=self.model,
            state=self.state,
            message=self.message,
            default=self.default,
            pinned=self.spec.pinned,
            created=self.created,
            changed=self.changed,
            used=self.used,
            progress=self.progress,
            memory_bytes=self.memory_bytes,
            load=self.runtime.load if self.runtime else Load(0, 0, 0.0),
            facts=self.runtime.facts if self.runtime else None,
            options=self.spec.options,
            error=self.error,
            marks=self.runtime.marks if self.runtime else (),
        )
