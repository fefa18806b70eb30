"""What a deployment is: its states, what may follow on what, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import Literal, Protocol

from msgspec import Struct

from rerankd.deployments.runtime import Runtime, Target
from rerankd.domain import ModelFacts
from rerankd.scheduling.scheduler import Load
from rerankd.sources.hub.meter import DownloadProgress
from rerankd.sources.resolve import OnDownload, ResolvedModel
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
LOADING_RETRY = 2
MOST_EVENTS_WAITING = 256


class Status(Struct, frozen=True, kw_only=True):
    """A deployment as it is told to people; times are Unix times in seconds."""

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


class Loader(Protocol):
    """The slow work of a deployment, in order. `rerankd.deployments.loader` does it for real."""

    async def download(self, spec: Spec, on_progress: OnDownload) -> ResolvedModel:
        """Find the model's file, or download it; `on_progress` is called on the event loop."""
        ...

    async def verify(self, spec: Spec, resolved: ResolvedModel) -> tuple[Target, int]:
        """Judge and try the file; return what `load` takes and the bytes it will need."""
        ...

    async def load(self, spec: Spec, target: Target) -> Runtime:
        """Open the model."""
        ...


class Deployment:
    """One model that somebody asked for, and what has become of it."""

    def __init__(self, spec: Spec, now: float, *, default: bool) -> None:
        self.spec = spec
        self.default = default
        self.state: State = "absent"
        self.message = "not loaded"
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
    def status(self) -> Status:
        """Return how it stands now."""
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
        )
