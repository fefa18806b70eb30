"""The use case: one request in, one ranking out, with nothing of HTTP in it."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from app import catalog, gguf_file, hub
from app.catalog import Manifest
from app.domain import Backend, ModelFacts, RankedDocument, RankedResult, RankRequest, Timings
from app.engine import check, open_engine
from app.engine.sizing import Sizes
from app.errors import (
    MissingDocuments,
    ModelFileError,
    ModelLoading,
    ModelNotFound,
    QueueFull,
    RerankdError,
    ShuttingDown,
    TooManyDocuments,
)
from app.gguf_file import Header, Verdict
from app.prompts import Built, Prompter, Vocabulary, layout_for
from app.scheduler import Load, Scheduler, Scored
from app.settings import Settings

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "failed", "draining"]

TOKENIZER_THREADS = 2
LOADING_RETRY = 2


class Target(Struct, frozen=True):
    """The model to serve, its header read and judged, nothing loaded."""

    id: str
    header: Header
    verdict: Verdict
    manifest: Manifest | None


class OpenEngine(Protocol):
    """An open model as the service needs it: `app.engine.Engine`, or a stand-in in tests."""

    @property
    def tokenizer(self) -> Vocabulary: ...

    @property
    def backends(self) -> tuple[Backend, ...]: ...

    @property
    def sizes(self) -> Sizes: ...

    @property
    def gpu_layers(self) -> int: ...

    def close(self) -> None: ...


Opener = Callable[[Header, Verdict, Settings], OpenEngine]


class _Running(Struct, frozen=True, eq=False):
    """An open model with all that serves it."""

    engine: OpenEngine
    prompter: Prompter
    scheduler: Scheduler
    facts: ModelFacts


def resolve(settings: Settings) -> Target:
    """Find the model that the settings name and check that it ranks.

    Raises ModelFileError, DownloadError or SettingsError, one line that says what is wrong and
    what to do.
    """
    manifest = catalog.find(settings.model)
    if manifest is not None:
        path = catalog.weights_path(manifest)
    elif settings.model.startswith("hf:"):
        path = hub.fetch(hub.parse(settings.model))
    else:
        path = Path(settings.model).expanduser()
    header = gguf_file.read(path)
    manifest = manifest or catalog.identify(path)
    verdict = gguf_file.judge(header, bare_head=bool(manifest and manifest.bare_head))
    gguf_file.require_reranker(header, verdict, accept_degraded=settings.accept_degraded)
    check(header, verdict, settings)
    model_id = settings.model_id or (manifest.id if manifest else path.stem)
    return Target(model_id, header, verdict, manifest)


class Service:
    """Ranks documents with one model."""

    def __init__(self, target: Target, settings: Settings, opener: Opener = open_engine) -> None:
        self._opener = opener
        self._target = target
        self._settings = settings
        self._pool = ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix="tokenizer")
        self._running: _Running | None = None
        self._requests = 0
        self.created = time.time()
        self.state: State = "loading"

    @property
    def model_id(self) -> str:
        return self._target.id

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def facts(self) -> ModelFacts | None:
        """What is served, None until it is loaded."""
        return self._running.facts if self._running else None

    @property
    def load(self) -> Load:
        return self._running.scheduler.load if self._running else Load(0, 0, 0.0)

    async def start(self) -> None:
        """Load the model. Raises what `open_engine` and `layout_for` raise."""
        begun = time.monotonic()
        try:
            self._running = await asyncio.to_thread(
                _open, self._target, self._settings, self._opener
            )
        except RerankdError:
            self.state = "failed"
            raise
        self.state = "ready"
        facts = self._running.facts
        logger.info(
            "%s ready in %.2f s: %s, %d workers of %d threads, context %d, %s",
            *(facts.id, time.monotonic() - begun, facts.family),
            *(facts.workers, facts.threads, facts.context, facts.device),
        )

    async def rank(self, request: RankRequest) -> RankedResult:
        """Rank one request's documents. Raises the errors that `app.errors` draws."""
        running = self._admit(request)
        self._requests += 1
        try:
            return await self._rank(running, request)
        finally:
            self._requests -= 1

    def _admit(self, request: RankRequest) -> _Running:
        if self.state == "draining":
            raise ShuttingDown("the server is stopping", retry_after=1)
        if request.model not in {None, "", self._target.id}:
            raise ModelNotFound(
                f"no model {request.model!r} here; this server has {self._target.id!r}",
                param="model",
            )
        if not request.documents:
            raise MissingDocuments("documents must hold at least one document", param="documents")
        if len(request.documents) > self._settings.max_documents:
            raise TooManyDocuments(
                f"{len(request.documents)} documents, the limit is "
                f"{self._settings.max_documents} (max_documents)",
                param="documents",
            )
        if self._running is None:
            raise ModelLoading("the model is still loading", retry_after=LOADING_RETRY)
        if self._requests >= self._settings.max_requests:
            raise QueueFull(
                f"{self._requests} requests are waiting (max_requests); try again later",
                retry_after=1,
            )
        return self._running

    async def _rank(self, running: _Running, request: RankRequest) -> RankedResult:
        begun = time.monotonic()
        # Identical documents are scored once; a dict keeps the order of first sight.
        place = {text: number for number, text in enumerate(dict.fromkeys(request.documents))}
        built = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._build, running.prompter, request, tuple(place)
        )
        tokenized = time.monotonic()
        scored = await running.scheduler.score(built.prompt)
        places = [place[text] for text in request.documents]
        return RankedResult(
            model=self._target.id,
            results=_ranked([scored.scores[at] for at in places], request),
            score_scale="logit" if request.raw_scores else "probability",
            prompt_tokens=_pair_tokens(built, places),
            truncated=_at_inputs(built.truncated, places),
            query_truncated=built.query_truncated,
            timings=_timings(begun, tokenized, scored),
            warnings=self._warnings(running, request, built),
        )

    def _build(self, prompter: Prompter, request: RankRequest, documents: tuple[str, ...]) -> Built:
        return prompter.build(
            request.query,
            documents,
            instruction=request.instruction if prompter.takes_instruction else None,
            truncate=request.truncate,
            token_limit=self._settings.max_request_tokens,
        )

    def _warnings(self, running: _Running, request: RankRequest, built: Built) -> tuple[str, ...]:
        found: list[str] = []
        if request.instruction and not running.prompter.takes_instruction:
            found.append(f"{self._target.id} takes no instruction: it was ignored")
        if built.query_truncated:
            found.append("the query was cut: it left no room for documents")
        if not self._target.verdict.exact:
            found.append(f"approximate scores: {self._target.verdict.reason}")
        return tuple(found)

    def drain(self) -> None:
        """Refuse new requests from now on; running ones go on."""
        self.state = "draining"

    def abort(self) -> None:
        """Refuse new requests and end running ones with ShuttingDown, without waiting."""
        self.drain()
        if self._running:
            self._running.scheduler.abort()

    async def close(self) -> None:
        """Drain, let running requests finish within the drain limit, free all; may be repeated."""
        self.drain()
        running = self._running
        if running is None:
            return
        ended = await running.scheduler.close(self._settings.drain_timeout)
        self._running = None
        # Tokenizing may still go on for a request that has just been refused.
        await asyncio.to_thread(self._pool.shutdown)
        if ended:
            running.engine.close()
        else:
            logger.warning("a step did not end: the process ends without freeing the model")


def _open(target: Target, settings: Settings, opener: Opener) -> _Running:
    family = target.verdict.family
    if family is None:
        raise ModelFileError(f"{target.header.path}: {target.verdict.reason}")
    engine = opener(target.header, target.verdict, settings)
    try:
        layout = layout_for(family, target.header, engine.tokenizer)
    except ModelFileError:
        engine.close()
        raise
    limits = engine.sizes.limits
    prompter = Prompter(layout, limits.pair_tokens)
    scheduler = Scheduler(engine.backends, max_tokens=settings.max_queue_tokens)
    return _Running(engine, prompter, scheduler, _facts(target, engine, layout.takes_instruction))


def _facts(target: Target, engine: OpenEngine, takes_instruction: bool) -> ModelFacts:
    header, manifest = target.header, target.manifest
    return ModelFacts(
        id=target.id,
        architecture=header.architecture,
        family=str(target.verdict.family),
        parameters=header.parameters,
        file=header.path.name,
        file_bytes=header.file_bytes,
        context=engine.sizes.limits.pair_tokens,
        trained_context=header.integer("context_length"),
        languages=manifest.languages if manifest else (),
        license=manifest.license if manifest else header.metadata.get("general.license"),
        gpu_layers=engine.gpu_layers,
        device="gpu" if engine.gpu_layers else "cpu",
        workers=engine.sizes.workers,
        threads=engine.sizes.threads,
        takes_instruction=takes_instruction,
    )


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


def _timings(begun: float, tokenized: float, scored: Scored) -> Timings:
    return Timings(
        tokenize_ms=round((tokenized - begun) * 1000, 3),
        queue_ms=round(scored.queue_seconds * 1000, 3),
        engine_ms=round(scored.engine_seconds * 1000, 3),
        total_ms=round((time.monotonic() - begun) * 1000, 3),
    )
