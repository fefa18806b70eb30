"""Warnings about texts in a language that the model's card doesn't list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rerankd import machine
from rerankd.languages import MANY_LANGUAGES, Language, RequestLanguages
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.threads import run_apart

PHRASES = {"documents": "documents are", "query": "query is"}


class HasLanguages(Protocol):
    """What knows the languages of a request's texts; finding them may take a while."""

    @property
    def languages(self) -> RequestLanguages: ...


class LanguageWarnings:
    """Words the warnings, with a model of the catalog that has the language."""

    def __init__(self, settings: Settings) -> None:
        self._own = catalog.own_folder(settings.catalog_dir)
        self._suggested: dict[str, str] = {}

    async def about(
        self, model: str, languages: Sequence[str], texts: HasLanguages
    ) -> tuple[str, ...]:
        """Return the warnings that a model of these `languages` needs: one for each it lacks."""
        if not languages or MANY_LANGUAGES in languages:
            return ()
        lacking = texts.languages.lacking(languages)
        parts: dict[str, list[str]] = {}
        for part, one in lacking.items():
            parts.setdefault(one.code, []).append(part)
        found = []
        for same in parts.values():
            language = lacking[same[0]]
            said = "query and documents are" if len(same) > 1 else PHRASES[same[0]]
            other = await self._suggestion(language)
            hint = f"; {other} does" if other else ""
            found.append(f"the {said} in {language.label}, which {model}'s card doesn't list{hint}")
        return tuple(found)

    async def _suggestion(self, language: Language) -> str:
        """Return the id of a model that has a language, empty where the catalog has none."""
        if language.code not in self._suggested:
            found = await run_apart("find-suggestion", self._find_suggestion, language)
            self._suggested[language.code] = found
        return self._suggested[language.code]

    def _find_suggestion(self, language: Language) -> str:
        known = catalog.manifests(self._own)
        entries = catalog.entries(
            known, catalog.Query(), machine.available_memory(), lambda _model, _variant: False
        )
        embedded = {one.id for one in catalog.embedded_models(self._own)}
        usable = [
            one
            for one in entries
            if language.is_among(one.languages)
            and not one.non_commercial
            and not any(one.default == part.name and part.checkpoint for part in one.variants)
        ]
        # Embedded ones are here, then those that fit; each smallest first, as entries come.
        usable.sort(key=lambda one: (one.id not in embedded, one.fits is False))
        return usable[0].id if usable else ""
