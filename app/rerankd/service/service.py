"""The use case: one request in, one ranking out, with nothing of HTTP in it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rerankd.auth.keys import Caller
from rerankd.auth.rate_limits import RateLimiter
from rerankd.deployments import Deployments, Status
from rerankd.domain import Observer, Outcome, RankedResult, RankRequest
from rerankd.errors import MissingDocuments, RequestError, RerankdError
from rerankd.lru import CacheStats
from rerankd.ranking import ranker as ranking
from rerankd.ranking.collector import OnScored
from rerankd.ranking.score_cache import ScoreCache
from rerankd.service.admission import Admission, code_of, rate_limited
from rerankd.service.embedding import EmbeddingService
from rerankd.service.model_choice import ModelChoice, ModelChooser
from rerankd.service.pictures import PictureReader
from rerankd.service.startup import OnBytes, start_models
from rerankd.service.together import all_of
from rerankd.settings import Settings
from rerankd.threads import run_apart

QUERIES_AT_ONCE = 32
"""Queries of one request that run together, so that the engine may batch them."""
ANYONE = Caller()


class Service:
    """Ranks documents with the models that are deployed."""

    def __init__(
        self,
        deployments: Deployments,
        settings: Settings,
        cache: ScoreCache,
        chooser: ModelChooser,
        observer: Observer | None = None,
    ) -> None:
        self.deployments = deployments
        self._chooser = chooser
        self._pictures = PictureReader(settings, chooser.seeing)
        self.observer = observer
        self._settings = settings
        self._cache = cache
        self._admission = Admission(settings, deployments)
        self.embedding = EmbeddingService(deployments, self._admission, settings, observer)

    @property
    def settings(self) -> Settings:
        return self._settings

    @property
    def draining(self) -> bool:
        """Return whether the service is stopping."""
        return self.deployments.closing

    @property
    def ready(self) -> bool:
        """Return whether requests are served now: by the default model, or by any without one."""
        return not self.draining and any(status.state == "ready" for status in self.awaited)

    @property
    def awaited(self) -> list[Status]:
        """Return the statuses of which one must be ready: the default model's, else all."""
        statuses = self.deployments.statuses
        return [status for status in statuses if status.default] or statuses

    async def start(self, on_download: OnBytes | None = None) -> None:
        """Deploy the default model and what was deployed before; wait for the default one.

        `on_download` gets the bytes of its file that have arrived, and all there are. Raises
        ModelFailed with the reason when the model can't be served.
        """
        await start_models(self.deployments, self._settings, self._chooser, on_download)

    @property
    def cache(self) -> CacheStats:
        """Return how full and how useful the score cache is."""
        return self._cache.stats

    async def rank(  # noqa: PLR0913 - each by its name
        self,
        request: RankRequest,
        *,
        caller: Caller = ANYONE,
        limiter: RateLimiter | None = None,
        on_scored: OnScored | None = None,
        begun: float | None = None,
        choice: ModelChoice | None = None,
    ) -> RankedResult:
        """Rank one request's documents. Raises the errors that `rerankd.errors` draws.

        `begun` is when the request arrived, on the monotonic clock: deadlines count from then.
        `limiter` holds the caller's limits. `on_scored` gets documents on the event loop as soon
        as their score is final, on the result's scale, before the result comes. `choice` is what
        `choose` returned for all requests that this one belongs to.
        """
        choice = choice or self.choose((request,), caller)
        request = choice.applied(request)
        self._admission.require_models(caller, [request.model])
        with rate_limited(limiter):
            return await self._rank(request, caller, limiter, on_scored, begun, choice)

    def choose(self, requests: Sequence[RankRequest], caller: Caller = ANYONE) -> ModelChoice:
        """Choose the model of requests that belong together, by the language of all their texts."""
        return self._chooser.choose(requests, caller)

    async def rank_many(
        self,
        requests: Sequence[RankRequest],
        *,
        caller: Caller = ANYONE,
        limiter: RateLimiter | None = None,
        on_scored: OnScored | None = None,
        begun: float | None = None,
    ) -> list[RankedResult]:
        """Rank several requests of one caller, a few at a time; return results in their order.

        Together they are one request: they take one of the caller's places, and their documents
        count together. The first error ends them all.
        """
        count = sum(len(request.documents) for request in requests)
        name = requests[0].places.documents if requests else "documents"
        self._admission.require_few_documents(count, name)
        choice = self.choose(requests, caller)
        requests = [choice.applied(request) for request in requests]
        self._admission.require_models(caller, [one.model for one in requests])
        if len(requests) == 1:
            with rate_limited(limiter):
                return [await self._rank(requests[0], caller, limiter, on_scored, begun, choice)]
        self._pictures.require_few(requests)
        # Those of a caller with limits run one after the other: they are one of its requests.
        at_once = asyncio.Semaphore(1 if limiter else QUERIES_AT_ONCE)

        async def rank_one(request: RankRequest) -> RankedResult:
            async with at_once:
                return await self._rank(request, caller, limiter, on_scored, begun, choice)

        with rate_limited(limiter):
            return await all_of(rank_one(request) for request in requests)

    async def rank_each(self, requests: Sequence[RankRequest]) -> list[RankedResult | RerankdError]:
        """Rank requests that stand each for itself; one that fails has its error in the list."""
        at_once = asyncio.Semaphore(QUERIES_AT_ONCE)

        async def rank_one(request: RankRequest) -> RankedResult | RerankdError:
            async with at_once:
                try:
                    return await self._rank(request, ANYONE, None)
                except RerankdError as error:
                    return error

        return await all_of(rank_one(request) for request in requests)

    async def _rank(  # noqa: PLR0913 - what the caller gave
        self,
        request: RankRequest,
        caller: Caller,
        limiter: RateLimiter | None,
        on_scored: OnScored | None = None,
        begun: float | None = None,
        choice: ModelChoice | None = None,
    ) -> RankedResult:
        """Rank one request, and report to the observer what became of it."""
        begun = time.monotonic() if begun is None else begun
        result, error = None, ""
        try:
            self._require_documents(request)
            request = self._admission.with_defaults(request, caller)
            deadline = begun + self._admission.patience(request.timeout_ms)
            with self._admission.running():
                async with (
                    self._chooser.use(request, choice, deadline) as runtime,
                    self._pictures.read(request, runtime, deadline) as read,
                ):
                    owner = "" if self._settings.cache_shared else caller.id
                    result = await ranking.rank(
                        runtime,
                        self._cache,
                        read.request,
                        owner=owner,
                        begun=begun,
                        deadline=deadline,
                        on_scored=on_scored,
                        read_seconds=read.seconds,
                    )
                    result = await self._chooser.explained(result, runtime.languages, choice)
        except BaseException as failure:
            error = code_of(failure)
            if isinstance(failure, RequestError):
                failure.param = request.places.name(failure.param)
            raise
        finally:
            self._observe(request, caller, begun, result, error)
        if limiter:
            limiter.charge(result.prompt_tokens, time.monotonic())
        return result

    def _observe(
        self,
        request: RankRequest,
        caller: Caller,
        begun: float,
        result: RankedResult | None,
        error: str,
    ) -> None:
        if self.observer:
            self.observer.ranked(
                Outcome(
                    model=result.model if result else self.deployments.name_of(request.model),
                    caller=caller.id,
                    documents=len(request.documents),
                    seconds=time.monotonic() - begun,
                    result=result,
                    error=error,
                )
            )

    def _require_documents(self, request: RankRequest) -> None:
        if not request.documents:
            raise MissingDocuments("documents must hold at least one document", param="documents")
        self._admission.require_few_documents(len(request.documents))

    def drain(self) -> None:
        """Refuse new requests from now on; running ones go on."""
        self.deployments.drain()

    def abort(self) -> None:
        """Refuse new requests and end running ones with ShuttingDown, without waiting."""
        self.deployments.abort()

    async def close(self) -> None:
        """Drain, let running requests finish within the drain limit, free all; may be repeated."""
        await self.deployments.close()
        await run_apart("pictures-end", self._pictures.close)
        await run_apart("score-cache-end", self._cache.close)
