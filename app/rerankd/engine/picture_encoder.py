"""A model's pictures as embeddings, each encoded once while it is remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.domain import GivenUp, OnEncoded, Pixels, Prompt, TokenIds, Wanted
from rerankd.errors import EngineFailure
from rerankd.families.picture_cost import NOTHING, EncodingCost
from rerankd.lru import ENTRY_BYTES, LRUCache


class Encodes(Protocol):
    """What turns pixels into embeddings: `rerankd.engine.llama.projector.Projector`."""

    @property
    def width(self) -> int: ...

    def encode(self, rgb: NDArray[np.uint8], wanted: Wanted | None) -> NDArray[np.float32]: ...

    def close(self) -> None: ...


class PictureGrid(Struct, frozen=True):
    """The tokens of pictures, whose sides are multiples of `factor` pixels."""

    factor: int

    def shape(self, picture: Pixels) -> tuple[int, int]:
        """Return a picture's rows and columns."""
        return picture.height // self.factor, picture.width // self.factor

    def tokens(self, picture: Pixels) -> int:
        """Return how many tokens a picture has."""
        rows, columns = self.shape(picture)
        return rows * columns

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

    def __init__(
        self,
        projector: Encodes,
        grid: PictureGrid,
        max_bytes: int,
        cost: EncodingCost = NOTHING,
    ) -> None:
        """Keep at most `max_bytes` of embeddings, 0 for none."""
        self.grid = grid
        self._cost = cost
        self._projector = projector
        self._max_bytes = max_bytes
        self._known = LRUCache(max_bytes)
        self._encoding = threading.Lock()

    def embeddings(
        self, picture: Pixels, wanted: Wanted | None = None, on_encoded: OnEncoded | None = None
    ) -> NDArray[np.float32]:
        """Return `[tokens, width]`, row by row of the picture's grid.

        `on_encoded` gets the time where it had to be encoded, whatever came of it. Raises
        EngineFailure, and GivenUp as soon as it is no longer `wanted` and not known.
        """
        found = self._kept(picture)
        if found is not None:
            return found
        with self._encoding:
            found = self._kept(picture)  # another thread may have encoded it meanwhile
            if found is not None:
                return found
            if wanted and not wanted():
                raise GivenUp("nobody waits for this picture any more")
            begun = time.monotonic()
            try:
                return self._encoded(picture, wanted)
            finally:
                if on_encoded:
                    on_encoded(time.monotonic() - begun)

    def _encoded(self, picture: Pixels, wanted: Wanted | None) -> NDArray[np.float32]:
        found = self._projector.encode(picture.rgb, wanted)
        if not np.isfinite(found).all():
            raise EngineFailure("a picture's embeddings are not numbers")
        if self._may_keep(picture):  # one that doesn't fit drops all others
            self._known.put(((picture.digest, found.tobytes()),))
        return found

    def costs(self, prompt: Prompt) -> tuple[int, ...]:
        """Return `domain.Prompt.costs` of a prompt, empty for one without pictures."""
        if not prompt.pictures or not prompt.rows:
            return ()
        known = {one for one in prompt.pictures if self._kept(one) is not None}
        costs = []
        for place, row in enumerate(prompt.rows):
            ids = row if place else np.concatenate((prompt.prefix, row))
            costs.append(len(row) + self._encoding_cost(ids, prompt.pictures, known))
        return tuple(costs)

    def _encoding_cost(self, ids: TokenIds, pictures: Sequence[Pixels], known: set[Pixels]) -> int:
        """Return what it takes to encode the pictures among `ids`; `known` gets those kept."""
        cost = 0
        for number, count in zip(*np.unique(ids[ids < 0], return_counts=True), strict=True):
            picture = pictures[-1 - int(number)]
            if picture in known:
                continue
            tokens = self.grid.tokens(picture)
            times = int(count) // tokens
            if self._may_keep(picture):
                known.add(picture)
                times = 1
            cost += times * self._cost.of_picture(tokens)
        return cost

    def _may_keep(self, picture: Pixels) -> bool:
        size = self.grid.tokens(picture) * self._projector.width * np.float32().nbytes
        return size + ENTRY_BYTES <= self._max_bytes

    def _kept(self, picture: Pixels) -> NDArray[np.float32] | None:
        (found,) = self._known.get((picture.digest,))
        if found is None:
            return None
        return np.frombuffer(found, np.float32).reshape(-1, self._projector.width)

    def close(self) -> None:
        """Free the projector; nothing may be encoding."""
        self._projector.close()
