"""All dialects, and which one a request is in."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from rerankd.dialects import (
    cohere,
    dashscope,
    deepinfra,
    infinity,
    isaacus,
    mixedbread,
    native,
    nvidia,
    ollama,
    tei,
    vllm,
    voyage,
    weaviate,
    zeroentropy,
)
from rerankd.dialects.dialect import Body, Dialect
from rerankd.dialects.marks import MarkedFields


class DialectTable:
    """Dialects in the order in which their marks are looked for."""

    def __init__(self, *dialects: Dialect) -> None:
        """Raise ValueError where a dialect could never be detected on one of its paths.

        On a path of several dialects the last one has no marks: it takes what is left.
        """
        self._dialects = dialects
        self.paths = tuple(dict.fromkeys(path for one in dialects for path in one.paths))
        """Every path that ranks."""
        marked = {name for one in dialects if one.marks for name in one.marks.fields}
        self._fields = msgspec.defstruct(
            "Fields", [(name, Raw, Raw()) for name in sorted(marked)], frozen=True
        )
        for path in self.paths:
            *others, last = self.on(path)
            if others and (last.marks or not all(one.marks for one in others)):
                raise ValueError(f"{path}: exactly the last of its dialects must have no marks")

    def __iter__(self) -> Iterator[Dialect]:
        return iter(self._dialects)

    def on(self, path: str) -> tuple[Dialect, ...]:
        """Return the dialects of a path, in their order."""
        return tuple(one for one in self._dialects if path in one.paths)

    def only_one(self, path: str) -> Dialect | None:
        """Return the only dialect of a path, None for a path that has several or none."""
        found = self.on(path)
        return found[0] if len(found) == 1 else None

    def detect(self, path: str, body: Body) -> Dialect:
        """Return the dialect of a request to one of `paths`.

        Nothing of the body is decoded but the fields that are marks. Raises MalformedJson, or
        InvalidRequest.
        """
        only = self.only_one(path)
        if only:
            return only
        fields = MarkedFields(path, body.decode(self._fields))
        return next(one for one in self.on(path) if one.marks is None or one.marks.match(fields))


DIALECTS = DialectTable(
    # The key that holds the texts outweighs options, of which some clients send a stranger's.
    tei.DIALECT,
    mixedbread.DIALECT,
    weaviate.DIALECT,
    voyage.DIALECT,
    infinity.DIALECT,
    native.DIALECT,
    cohere.DIALECT,
    nvidia.DIALECT,
    dashscope.DIALECT,
    zeroentropy.DIALECT,
    isaacus.DIALECT,
    ollama.DIALECT,
    deepinfra.DIALECT,
    vllm.DIALECT,
)
