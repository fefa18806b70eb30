"""The use case: one request in, one ranking out, with nothing of HTTP in it."""

from __future__ import annotations

import math
import time

from msgspec import Struct

from app import sources
from app.deployments import Deployments
from app.domain import RankedDocument, RankedResult, RankRequest, Timings
from app.engine import open_engine
from app.errors import MissingDocuments, ModelFailed, QueueFull, TooManyDocuments
from app.loading import Loading
from app.prompts import Built
from app.runtime import Opener, Runtime, Target, examine
from app.scheduler import Scored
from app.settings import Settings, state_folder
from app.store import Spec, Store


def preflight(settings: Settings) -> Target | None:
    """Check the model that the settings name before anything is started.

    A model that has to be downloaded is checked when it is here: None. Raises ModelFileError,
    DownloadError or SettingsError, one line that says what is wrong and what to do.
    """
    model_id = default_id(settings)
    if not sources.is_local(settings.model, settings):
        return None
    located = sources.locate(settings.model, settings)
    return examine(model_id, located.path, located.manifest, settings)


def default_id(settings: Settings) -> str:
    """Return the name that clients use for the default model."""
    return settings.model_id or sources.name_of(settings.model, settings)


def build(settings: Settings, opener: Opener = open_engine, *, keep: bool = False) -> Service:
    """Put the rooms together; with `keep`, deployments survive a restart in the state folder."""
    store = Store(state_folder(settings)) if keep else None
    deployments = Deployments(settings, Loading(settings, store, opener), store)
    return Service(deployments, settings)


class Service:
    """Ranks documents with the models that are deployed."""

    def __init__(self, deployments: Deployments, settings: Settings) -> None:
        self.deployments = deployments
        self._settings = settings
        self._requests = 0

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def draining(self) -> bool:
        """Tell whether the service is stopping."""
        return self.deployments.closing

    @property
    def ready(self) -> bool:
        """Tell whether requests are served now: by the default model, or by any without one."""
        statuses = self.deployments.statuses
        wanted = [status for status in statuses if status.default] or statuses
        return not self.draining and any(status.state == "ready" for status in wanted)

    async def start(self) -> None:
        """Deploy the default model and what was deployed before; wait for the default one.

        Raises ModelFailed with the reason when that one can't be served.
        """
        spec = Spec(id=default_id(self._settings), source=self._settings.model, pinned=True)
        default = self.deployments.deploy(spec, default=True)
        self.deployments.restore()
        if default.task:
            await default.task
        if default.state == "failed":
            raise ModelFailed(default.message)

    async def rank(self, request: RankRequest) -> RankedResult:
        """Rank one request's documents. Raises the errors that `app.errors` draws."""
        self._admit(request)
        self._requests += 1
        try:
            async with self.deployments.use(request.model) as runtime:
                return await _rank(runtime, request)
        finally:
            self._requests -= 1

    def _admit(self, request: RankRequest) -> None:
        if not request.documents:
            raise MissingDocuments("documents must hold at least one document", param="documents")
        if len(request.documents) > self._settings.max_documents:
            raise TooManyDocuments(
                f"{len(request.documents)} documents, the limit is "
                f"{self._settings.max_documents} (max_documents)",
                param="documents",
            )
        if self._requests >= self._settings.max_requests:
            raise QueueFull(
                f"{self._requests} requests are waiting (max_requests); try again later",
                retry_after=1,
            )

    def drain(self) -> None:
        """Refuse new requests from now on; running ones go on."""
        self.deployments.drain()

    def abort(self) -> None:
        """Refuse new requests and end running ones with ShuttingDown, without waiting."""
        self.deployments.abort()

    async def close(self) -> None:
        """Drain, let running requests finish within the drain limit, free all; may be repeated."""
        await self.deployments.close()


class _Marks(Struct, frozen=True):
    """Clock readings of one request."""

    begun: float
    tokenized: float


async def _rank(runtime: Runtime, request: RankRequest) -> RankedResult:
    begun = time.monotonic()
    # Identical documents are scored once; a dict keeps the order of first sight.
    place = {text: number for number, text in enumerate(dict.fromkeys(request.documents))}
    built = await runtime.build(request, tuple(place))
    marks = _Marks(begun, time.monotonic())
    scored = await runtime.score(built)
    places = [place[text] for text in request.documents]
    return RankedResult(
        model=runtime.facts.id,
        results=_ranked([scored.scores[at] for at in places], request),
        score_scale="logit" if request.raw_scores else "probability",
        device=runtime.facts.device,
        prompt_tokens=_pair_tokens(built, places),
        truncated=_at_inputs(built.truncated, places),
        query_truncated=built.query_truncated,
        timings=_timings(marks, scored),
        warnings=_warnings(runtime, request, built),
    )


def _warnings(runtime: Runtime, request: RankRequest, built: Built) -> tuple[str, ...]:
    found: list[str] = []
    if request.instruction and not runtime.facts.takes_instruction:
        found.append(f"{runtime.facts.id} takes no instruction: it was ignored")
    if built.query_truncated:
        found.append("the query was cut: it left no room for documents")
    if not runtime.target.verdict.exact:
        found.append(f"approximate scores: {runtime.target.verdict.reason}")
    return tuple(found)


def sigmoid(logit: float) -> float:
    """Return 1/(1+e^-logit) without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1.0 + grown)


def _ranked(logits: list[float], request: RankRequest) -> tuple[RankedDocument, ...]:
    # By logit, not by probability: rounded probabilities tie where logits don't.
    order = sorted(range(len(logits)), key=lambda index: (-logits[index], index))
    scale = float if request.raw_scores else sigmoid
    return tuple(
        RankedDocument(index, scale(logits[index])) for index in order[: request.top_n or None]
    )


def _pair_tokens(built: Built, places: list[int]) -> int:
    prefix = len(built.prompt.prefix)
    return sum(prefix + len(built.prompt.rows[at]) for at in places)


def _at_inputs(cut: tuple[int, ...], places: list[int]) -> tuple[int, ...]:
    wanted = set(cut)
    return tuple(index for index, at in enumerate(places) if at in wanted)


def _timings(marks: _Marks, scored: Scored) -> Timings:
    return Timings(
        tokenize_ms=round((marks.tokenized - marks.begun) * 1000, 3),
        queue_ms=round(scored.queue_seconds * 1000, 3),
        engine_ms=round(scored.engine_seconds * 1000, 3),
        total_ms=round((time.monotonic() - marks.begun) * 1000, 3),
    )
