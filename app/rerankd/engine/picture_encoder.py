"""A model's pictures as embeddings, each encoded once while it is remembered."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain import Pixels, TokenIds
from rerankd.errors import EngineFailure
from rerankd.lru import ENTRY_BYTES, LRUCache


class Encodes(Protocol):
    """What turns pixels into embeddings: `rerankd.engine.llama.projector.Projector`."""

    @property
    def width(self) -> int: ...

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


class PictureGrid(Struct, frozen=True):
    """The tokens of pictures, whose sides are multiples of `factor` pixels."""

    factor: int

    def shape(self, picture: Pixels) -> tuple[int, int]:
        """Return a picture's rows and columns."""
        return picture.height // self.factor, picture.width // self.factor

    def positions(self, picture: Pixels, start: int) -> TokenIds:
        """Return `[4, tokens]`: where in time, down and across; the fourth is not used."""
        rows, columns = self.shape(picture)
        down, across = np.divmod(np.arange(rows * columns, dtype=np.int32), columns)
        return np.stack(
            (np.full_like(down, start), start + down, start + across, np.zeros_like(down))
        )


TEXT_ONLY = PictureGrid(1)
"""Of a model without pictures."""


class PictureEncoder:
    """Encodes the pictures of one model, one at a time. Safe from any thread."""

    def __init__(self, projector: Encodes, grid: PictureGrid, max_bytes: int) -> None:
        """Keep at most `max_bytes` of embeddings, 0 for none."""
        self.grid = grid
        self._projector = projector
        self._max_bytes = max_bytes
        self._known = LRUCache(max_bytes)
        self._encoding = threading.Lock()

    def embeddings(self, picture: Pixels) -> NDArray[np.float32]:
        """Return `[tokens, width]`, row by row of the picture's grid. Raises EngineFailure."""
        found = self._kept(picture)
        if found is not None:
            return found
        with self._encoding:
            found = self._kept(picture)  # another thread may have encoded it meanwhile
            return self._encoded(picture) if found is None else found

    def _encoded(self, picture: Pixels) -> NDArray[np.float32]:
        found = self._projector.encode(picture.rgb)
        if not np.isfinite(found).all():
            raise EngineFailure("a picture's embeddings are not numbers")
        if found.nbytes + ENTRY_BYTES <= self._max_bytes:  # one that doesn't fit drops all others
            self._known.put(((picture.digest, found.tobytes()),))
        return found

    def _kept(self, picture: Pixels) -> NDArray[np.float32] | None:
        (found,) = self._known.get((picture.digest,))
        if found is None:
            return None
        return np.frombuffer(found, np.float32).reshape(-1, self._projector.width)

    def close(self) -> None:
        """Free the projector; nothing may be encoding."""
        self._projector.close()
