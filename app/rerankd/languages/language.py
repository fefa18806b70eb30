"""What is known of a text's language, and whether a model has it."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from rerankd.languages.names import NAMES

MANY_LANGUAGES = "mul"
"""A model's code for more languages than its card lists."""


class Language(Struct, frozen=True):
    """The language of a text, by its ISO 639 code."""

    code: str
    close: frozenset[str] = frozenset()
    """Codes of languages that it is hard to tell from, such as Danish from Norwegian."""

    @property
    def label(self) -> str:
        """Its English name with its code."""
        return f"{NAMES[self.code]} ({self.code})"

    def is_among(self, languages: Iterable[str]) -> bool:
        """Return whether a model of these languages may have it; those of no model have it all.

        The codes may have regions, as `pt-BR`. What is no code says nothing, and so no model is
        said to lack a language.
        """
        codes = {one.casefold().partition("-")[0] for one in languages}
        return (
            not codes
            or MANY_LANGUAGES in codes
            or any(len(code) not in {2, 3} for code in codes)
            or not codes.isdisjoint({self.code, *self.close})
        )


class RequestLanguages(Struct, frozen=True):
    """The languages of a request's texts; None where a text is too short or mixed to say."""

    query: Language | None = None
    documents: Language | None = None

    def lacking(self, languages: Iterable[str]) -> dict[str, Language]:
        """Return the languages of the documents and the query that a model of `languages` lacks."""
        known = tuple(languages)
        found = {"documents": self.documents, "query": self.query}
        return {part: one for part, one in found.items() if one and not one.is_among(known)}
