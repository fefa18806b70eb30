"""The use case: one request in, one ranking out, with nothing of HTTP in it."""

from __future__ import annotations

import asyncio
import math
import time

from rerankd.deployments import Deployments
from rerankd.deployments.loader import FileLoader
from rerankd.deployments.runtime import Opener, Target, examine
from rerankd.domain import Observer, Outcome, RankedResult, RankRequest
from rerankd.engine import open_engine
from rerankd.errors import MissingDocuments, ModelFailed, QueueFull, RerankdError, TooManyDocuments
from rerankd.lru import CacheStats
from rerankd.ranking import ranker as ranking
from rerankd.ranking.ranker import OnScored
from rerankd.ranking.score_cache import ScoreCache
from rerankd.settings import Settings, state_folder
from rerankd.sources import resolve as sources
from rerankd.store import Spec, Store

CLIENT_CLOSED = "client_closed"
"""What a request counts as whose client has gone."""


def preflight(settings: Settings) -> Target | None:
    """Check the model that the settings name before anything is started.

    A model that has to be downloaded is checked when it is here: None. Raises ModelFileError,
    DownloadError or SettingsError, one line that says what is wrong and what to do.
    """
    model_id = default_id(settings)
    if not sources.is_local(settings.model, settings):
        return None
    located = sources.resolve_model(settings.model, settings)
    return examine(model_id, located.path, located.manifest, settings)


def default_id(settings: Settings) -> str:
    """Return the name that clients use for the default model."""
    return settings.model_id or sources.default_name(settings.model, settings)


def build(
    settings: Settings,
    opener: Opener = open_engine,
    *,
    keep: bool = False,
    observer: Observer | None = None,
) -> Service:
    """Put the rooms together; with `keep`, deployments survive a restart in the state folder."""
    folder = state_folder(settings)
    store = Store(folder) if keep else None
    loading = FileLoader(settings, store, opener, observer)
    cache = ScoreCache(settings.cache_bytes, folder if keep and settings.cache_persist else None)
    return Service(Deployments(settings, loading, store), settings, cache, observer)


class Service:
    """Ranks documents with the models that are deployed."""

    def __init__(
        self,
        deployments: Deployments,
        settings: Settings,
        cache: ScoreCache,
        observer: Observer | None = None,
    ) -> None:
        self.deployments = deployments
        self.observer = observer
        self._settings = settings
        self._cache = cache
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

    @property
    def cache(self) -> CacheStats:
        """Tell how full and how useful the score cache is."""
        return self._cache.stats

    async def rank(
        self, request: RankRequest, *, caller: str = "", on_scored: OnScored | None = None
    ) -> RankedResult:
        """Rank one request's documents. Raises the errors that `rerankd.errors` draws.

        `caller` is the id of the API key, for the counts. `on_scored` gets documents on the event
        loop as soon as their score is final, on the result's scale, before the result comes.
        """
        begun = time.monotonic()
        try:
            result = await self._rank(request, begun, on_scored)
        except RerankdError as error:
            self._note(request, caller, begun, error=error.code)
            raise
        except asyncio.CancelledError:
            self._note(request, caller, begun, error=CLIENT_CLOSED)
            raise
        except Exception:
            self._note(request, caller, begun, error=RerankdError.code)
            raise
        self._note(request, caller, begun, result=result)
        return result

    async def _rank(
        self, request: RankRequest, begun: float, on_scored: OnScored | None
    ) -> RankedResult:
        self._admit(request)
        deadline = begun + self._patience(request)
        self._requests += 1
        try:
            async with self.deployments.use(request.model, deadline) as runtime:
                return await ranking.rank(
                    runtime, self._cache, request, deadline=deadline, on_scored=on_scored
                )
        finally:
            self._requests -= 1

    def _patience(self, request: RankRequest) -> float:
        """Return the seconds that a request may take: its own limit, or the server's."""
        own = math.inf if request.timeout_ms is None else request.timeout_ms / 1000
        return min(own, self._settings.request_timeout or math.inf)

    def _note(
        self,
        request: RankRequest,
        caller: str,
        begun: float,
        *,
        result: RankedResult | None = None,
        error: str = "",
    ) -> None:
        if self.observer:
            self.observer.ranked(
                Outcome(
                    model=result.model if result else self.deployments.name_of(request.model),
                    caller=caller,
                    documents=len(request.documents),
                    seconds=time.monotonic() - begun,
                    result=result,
                    error=error,
                )
            )

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
        await asyncio.to_thread(self._cache.close)
