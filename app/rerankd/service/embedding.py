"""The use case beside ranking: texts in, vectors out, from the models that are deployed anyway."""

from __future__ import annotations

import math
import time
from contextlib import suppress

import msgspec

from rerankd.auth.keys import Caller
from rerankd.auth.rate_limits import RateLimiter
from rerankd.deployments import Deployments
from rerankd.domain import EmbeddedResult, EmbedRequest, Observer, Outcome
from rerankd.errors import CannotEmbed, InvalidRequest, RerankdError
from rerankd.families.registry import family_named
from rerankd.ranking import embedder
from rerankd.service.admission import Admission, code_of, rate_limited
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.threads import run_apart


class EmbeddingService:
    """Makes vectors of texts, within the limits that requests to rank keep."""

    def __init__(
        self,
        deployments: Deployments,
        admission: Admission,
        settings: Settings,
        observer: Observer | None = None,
    ) -> None:
        self._deployments = deployments
        self._admission = admission
        self._settings = settings
        self._observer = observer
        self._embedding: set[str] = set()
        """Deployments that were seen to embed: one that was unloaded has no facts."""

    async def embed(
        self,
        request: EmbedRequest,
        *,
        caller: Caller,
        limiter: RateLimiter | None = None,
        begun: float | None = None,
        most_numbers: float = math.inf,
    ) -> EmbeddedResult:
        """Return the vectors of one request's texts. Raises the errors that `rerankd.errors` draws.

        A request that names no model gets the default one if that embeds, else the first that
        does. `begun` is when the request arrived, on the monotonic clock. `limiter` holds the
        caller's limits. `most_numbers` is the limit of the answer.
        """
        if self._is_free_to_choose(request.model):
            request = msgspec.structs.replace(request, model=self._chosen(request.model, caller))
        self._admission.require_models(caller, [request.model])
        begun = time.monotonic() if begun is None else begun
        result, error = None, ""
        with rate_limited(limiter):
            try:
                result = await self._embed(request, caller, begun, most_numbers)
            except BaseException as failure:
                error = code_of(failure)
                raise
            finally:
                self._report(request, caller, begun, result, error)
            if limiter:
                limiter.charge(result.prompt_tokens, time.monotonic())
        return result

    async def _embed(
        self, request: EmbedRequest, caller: Caller, begun: float, most_numbers: float
    ) -> EmbeddedResult:
        if not request.texts:
            raise InvalidRequest("input must hold at least one text", param="input")
        self._admission.require_few_documents(len(request.texts), "input", "texts")
        deadline = begun + self._admission.patience(request.timeout_ms)
        with self._admission.running():
            async with self._deployments.use(request.model, deadline) as runtime:
                if runtime.texts is None:
                    raise await self._cannot_embed(runtime.facts.id, caller)
                self._embedding.add(runtime.facts.id)
                limits = {"deadline": deadline, "most_numbers": most_numbers}
                return await embedder.embed(runtime, request, begun=begun, **limits)

    def _report(
        self,
        request: EmbedRequest,
        caller: Caller,
        begun: float,
        result: EmbeddedResult | None,
        error: str,
    ) -> None:
        if self._observer:
            self._observer.ranked(
                Outcome(
                    model=result.model if result else self._deployments.name_of(request.model),
                    caller=caller.id,
                    documents=len(request.texts),
                    seconds=time.monotonic() - begun,
                    work="embed",
                    result=result,
                    error=error,
                )
            )

    def _is_free_to_choose(self, model: str | None) -> bool:
        if model and self._settings.any_model:
            return not self._deployments.has(model)
        return not model

    def _chosen(self, model: str | None, caller: Caller) -> str | None:
        """Return the model that requests get which leave it to the server."""
        able = self._able(caller)
        default = self._deployments.name_of(model)
        return model if default in able or not able else able[0]

    def _able(self, caller: Caller) -> list[str]:
        """Return the deployments that embed and that the caller may use."""
        statuses = self._deployments.statuses
        seen = {one.id for one in statuses if one.facts and one.facts.embeds}
        self._embedding = (self._embedding | seen) & {one.id for one in statuses}
        return [one.id for one in statuses if one.id in self._embedding and caller.may_use(one.id)]

    async def _cannot_embed(self, model: str, caller: Caller) -> CannotEmbed:
        """Return the error that names the models which can do what this one can't."""
        able = self._able(caller)
        if able:
            hint = f"these can: {', '.join(map(repr, able))}"
        else:
            known = await run_apart("catalog", _catalog_models_that_embed, self._settings)
            hint = f"deploy an embedding model's GGUF file, or from the catalog {', '.join(known)}"
        return CannotEmbed(f"{model!r} gives no vectors; {hint}", param="model")


def _catalog_models_that_embed(settings: Settings) -> list[str]:
    with suppress(RerankdError):  # a person's own manifest is not to be blamed for here
        found = catalog.manifests(catalog.own_folder(settings.catalog_dir))
        return [one.id for one in found if family_named(one.family).embeds]
    return [catalog.DEFAULT]
