"""What a query or document is made of: text, pictures, or both."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class Picture(Struct, frozen=True):
    """A picture as a client sent it, not yet decoded."""

    data: bytes = b""
    """Its file, as it came."""
    address: str = ""
    """Where to fetch it, for a picture without `data`."""


class Pixels(Struct, frozen=True, eq=False):
    """A decoded picture: upright, without transparency, scaled as its model wants it.

    Two with the same pixels are equal, whatever files they came from.
    """

    rgb: NDArray[np.uint8]
    """Shape (height, width, 3)."""
    digest: bytes
    """Of size and pixels."""

    @property
    def height(self) -> int:
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        return int(self.rgb.shape[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pixels) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


Part: TypeAlias = str | Picture | Pixels
"""One piece of a content. A service turns each Picture into Pixels before it ranks."""


class Pictured(Struct, frozen=True):
    """A query or document with at least one picture, its parts in the order they were given."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What can be read as text, a line for each part; empty for pictures alone."""
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def pictures(self) -> tuple[Picture | Pixels, ...]:
        return tuple(part for part in self.parts if not isinstance(part, str))


Content: TypeAlias = str | Pictured
"""A query or document. Text alone is always a plain string."""


def text_in(content: Content) -> str:
    """Return what can be read of a query or document as text."""
    return content if isinstance(content, str) else content.text
