"""How a request shows which dialect it is in, on a path that several of them share."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw, Struct

_NULLS = (b"null", b"\xc0")
_FALSES = (b"false", b"\xc2", b"\xa5false")
"""How JSON and MessagePack write null, and false also as a string."""


class MarkedFields(Struct, frozen=True):
    """The fields of a body by which dialects are recognised, each still encoded."""

    path: str
    """The request's path, as the table of dialects has it."""
    values: Struct
    """A `Raw` for each field, empty where the body lacks it."""

    def has(self, name: str) -> bool:
        """Return whether the body has a field, even as null."""
        return len(self._encoded(name)) > 0

    def has_value(self, name: str) -> bool:
        """Return whether the body has a field that is not null."""
        return self.has(name) and self._encoded(name) not in _NULLS

    def is_false(self, name: str) -> bool:
        """Return whether a field is false, or the string "false" in any case."""
        return bytes(self._encoded(name)).strip(b'"').lower() in _FALSES

    def _encoded(self, name: str) -> memoryview:
        value: Raw = getattr(self.values, name)
        return memoryview(value)


class Marks(Struct, frozen=True):
    """What only the clients of one dialect send."""

    description: str
    """The marks in words, for the API reference."""
    fields: tuple[str, ...]
    """The fields that `match` looks at."""
    match: Callable[[MarkedFields], bool]
    """Returns whether a request has the marks."""
