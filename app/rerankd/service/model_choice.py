"""Which model ranks a request that names none: the embedded one that has its texts' language.

It is decided once for all that is asked together, from the texts alone, so that the same request
always goes to the same model. A model that a request names is never changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property

import msgspec
from msgspec import Struct

from rerankd.auth.keys import Caller
from rerankd.deployments import AUTO, Deployments
from rerankd.deployments.runtime import Runtime
from rerankd.domain import RankedResult, RankRequest, text_in
from rerankd.errors import ModelFailed
from rerankd.languages import RequestLanguages, detect_languages
from rerankd.service.language_warnings import PHRASES, LanguageWarnings
from rerankd.service.seeing_models import SeeingModels
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources import resolve as sources
from rerankd.sources.catalog import Manifest
from rerankd.store import Spec


class EmbeddedModel(Struct, frozen=True):
    """An embedded model, and the id under which it is or may be deployed."""

    id: str
    manifest: Manifest

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of its card."""
        return self.manifest.languages


def candidates_of(settings: Settings) -> tuple[EmbeddedModel, ...]:
    """Return the embedded models to choose from, the default one first; none unless it is one."""
    if not settings.match_language:
        return ()
    default = sources.find_manifest(settings.model, settings)
    embedded = catalog.embedded_models(catalog.own_folder(settings.catalog_dir))
    if default is None or default.id not in {one.id for one in embedded}:
        return ()
    others = [EmbeddedModel(one.id, one) for one in embedded if one.id != default.id]
    return (EmbeddedModel(default_id(settings), default), *others)


def default_id(settings: Settings) -> str:
    """Return the name that clients use for the default model."""
    return settings.model_id or sources.default_name(settings.model, settings)


def has_pictures(request: RankRequest) -> bool:
    """Return whether the query or a document of a request has a picture."""
    return any(not isinstance(one, str) for one in (request.query, *request.documents))


class ModelChoice:
    """The model that requests go to which belong together, and the languages of their texts."""

    def __init__(self, requests: Sequence[RankRequest]) -> None:
        self._requests = requests
        self.model: str | None = None
        """The model that was chosen; None leaves each request its own."""
        self.fallback: str | None = None
        """The model to rank with instead if the chosen one fails to load."""
        self.reason = ""
        """Why it was chosen, where the caller is told."""
        self.language = ""
        """The code of the language that decided, if one did."""

    @cached_property
    def languages(self) -> RequestLanguages:
        """The languages of the requests' texts."""
        return detect_languages(
            [text_in(one.query) for one in self._requests],
            [[text_in(document) for document in one.documents] for one in self._requests],
        )

    def applied(self, request: RankRequest) -> RankRequest:
        """Return a request that names the chosen model."""
        if self.model is None:
            return request
        return msgspec.structs.replace(request, model=self.model)

    def fall_back(self, failure: ModelFailed) -> None:
        """Say why the default model ranks instead of the chosen one."""
        self.reason = f"{failure.message}; the default model ranked instead"


class ModelChooser:
    """Chooses among the embedded models by the language of texts."""

    def __init__(
        self,
        deployments: Deployments,
        candidates: Sequence[EmbeddedModel],
        warnings: LanguageWarnings,
        seeing: SeeingModels,
    ) -> None:
        """Without at least two `candidates`, the default one first, no language decides."""
        self._deployments = deployments
        self._warnings = warnings
        self._candidates = candidates
        self.seeing = seeing

    def offer(self) -> None:
        """Have the candidates loaded when a request needs them; the default one is, already."""
        for one in self._candidates[1:]:
            self._deployments.offer(Spec(id=one.id, source=one.manifest.id), one.manifest)

    def choose(self, requests: Sequence[RankRequest], caller: Caller) -> ModelChoice:
        """Choose the model of requests that belong together.

        They keep their own where they name one, where there is one embedded model, and where the
        caller's key allows none of them. Pictures go to the one deployed model that reads them.
        """
        choice = ModelChoice(requests)
        asked = {one.model or "" for one in requests}
        if not asked <= {"", AUTO} or self._deployments.state_of(AUTO):
            return choice
        usable = [one for one in self._candidates if self._is_usable(one.id, caller)]
        seeing = [one for one in self.seeing.deployed if caller.may_use(one)]
        other = seeing != [self._deployments.name_of(None)]
        if len(seeing) == 1 and other and any(map(has_pictures, requests)):
            (choice.model,) = seeing
            choice.reason = "it is the one deployed model that reads pictures"
        elif len(self._candidates) > 1 and usable:
            self._choose_among(usable, choice)
        if AUTO in asked and not choice.reason:
            choice.model = self._deployments.name_of(None) or None
            choice.reason = "the server's default model"
        return choice

    def _is_usable(self, model: str, caller: Caller) -> bool:
        return caller.may_use(model) and self._deployments.state_of(model) not in {None, "failed"}

    def _choose_among(self, usable: Sequence[EmbeddedModel], choice: ModelChoice) -> None:
        default, texts = self._candidates[0], choice.languages
        found = next((one for one in usable if not texts.lacking(one.languages)), usable[0])
        if found is default:
            return
        lacking = next(iter(texts.lacking(default.languages).items()), None)
        if lacking:
            part, language = lacking
            choice.language = language.code
            choice.reason = (
                f"the {PHRASES[part]} in {language.label}, which {default.id} does not have"
            )
        else:
            choice.reason = f"this API key may not use {default.id}"
        choice.model = found.id
        choice.fallback = default.id if default in usable else None

    @asynccontextmanager
    async def use(
        self, request: RankRequest, choice: ModelChoice | None, deadline: float
    ) -> AsyncIterator[Runtime]:
        """Hold the model of a request, as `Deployments.use` does.

        Where a model that was chosen fails to load, the default one takes its place.
        """
        async with AsyncExitStack() as stack:
            try:
                using = self._deployments.use(request.model, deadline)
                runtime = await stack.enter_async_context(using)
            except ModelFailed as failure:
                if choice is None or choice.fallback is None:
                    raise
                choice.fall_back(failure)
                using = self._deployments.use(choice.fallback, deadline)
                runtime = await stack.enter_async_context(using)
            yield runtime

    async def explained(
        self, result: RankedResult, languages: Sequence[str], choice: ModelChoice | None
    ) -> RankedResult:
        """Return a result that says why it comes from its model, and what language that lacks.

        `languages` are those of the model's card.
        """
        if choice is None:
            return result
        warning = await self._warnings.about(result.model, languages, choice)
        if not warning and not choice.reason:
            return result
        return msgspec.structs.replace(
            result,
            warnings=(*result.warnings, *warning),
            model_reason=choice.reason,
            language=choice.language,
        )
