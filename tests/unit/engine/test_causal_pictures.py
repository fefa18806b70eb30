"""What the causal backend gives a context: texts in batches, each picture by itself, in order."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from rerankd.domain import NO_TOKENS, GivenUp, Pixels, Prompt, StepLimits, TokenIds
from rerankd.engine.backends.causal import CausalBackend
from rerankd.engine.llama.context import LlamaContext
from rerankd.engine.picture_encoder import PictureEncoder, PictureGrid
from rerankd.errors import EngineFailure

LIMITS = StepLimits(pair_tokens=64, step_tokens=32, step_rows=4, step_prefixes=2, cells=96)
BATCH = 8


class Decoded(NamedTuple):
    """One call of the context: a text's ids or a picture's shade, by sequence and position."""

    kind: str
    what: list[int]
    positions: list[int]
    sequences: list[int]


class FakeContext:
    """Keeps what it is asked to decode; a token's logit is its id."""

    def __init__(self) -> None:
        self.calls: list[Decoded] = []
        self.trims: list[tuple[int, int]] = []
        self.emptied = 0

    def decode(
        self, tokens: TokenIds, positions: TokenIds, sequences: TokenIds, outputs: NDArray[np.int8]
    ) -> None:
        del outputs
        self._tokens = tokens
        self.calls.append(Decoded("text", tokens.tolist(), positions.tolist(), sequences.tolist()))

    def decode_embedded(
        self, inputs: NDArray[np.float32], positions: TokenIds, sequence: int
    ) -> None:
        shades = inputs[:, 0].astype(int).tolist()
        self.calls.append(
            Decoded("picture", shades, positions[0].tolist(), [sequence] * len(inputs))
        )

    def logits(self, row: int, tokens: tuple[int, ...]) -> list[float]:
        del tokens
        return [float(self._tokens[row])]

    def trim(self, sequence: int, start: int) -> bool:
        self.trims.append((sequence, start))
        return True

    def forget_all(self) -> None:
        self.emptied += 1

    def give_embeddings(self, wanted: bool) -> None: ...
    def share(self, source: int, target: int) -> None: ...
    def forget(self, sequence: int, start: int = 0) -> None: ...


class FakeProjector:
    """Makes a token of every 32 x 32 pixels, of the picture's shade."""

    width = 2

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, rgb: NDArray[np.uint8], _wanted: object = None) -> NDArray[np.float32]:
        shade = int(rgb[0, 0, 0])
        self.encoded.append(shade)
        tokens = (rgb.shape[0] // 32) * (rgb.shape[1] // 32)
        return np.full((tokens, 2), shade, np.float32)

    def close(self) -> None: ...


def shaded(shade: int, columns: int = 2, rows: int = 1) -> Pixels:
    return Pixels(np.full((32 * rows, 32 * columns, 3), shade, np.uint8), bytes([shade, columns]))


def ids(*numbers: int) -> TokenIds:
    return np.array(numbers, np.int32)


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


@pytest.fixture
def projector() -> FakeProjector:
    return FakeProjector()


@pytest.fixture
def backend(context: FakeContext, projector: FakeProjector) -> CausalBackend:
    encoder = PictureEncoder(projector, PictureGrid(32), 1 << 20)
    return CausalBackend(
        cast("LlamaContext", context), LIMITS, batch=BATCH, answers=(1,), encoder=encoder
    )


def test_rows_of_texts_and_pictures_advance_together(
    backend: CausalBackend, context: FakeContext
) -> None:
    """First all beginnings in one batch, then each picture, then what follows; in order."""
    prompt = Prompt(
        NO_TOKENS,
        (ids(10, -1, -1, 11), ids(20, 21), ids(30, -2, -2, 31, -1, -1, 32)),
        pictures=(shaded(5), shaded(6)),
    )
    assert backend.run([prompt]) == [[11, 21, 32]]
    rows = [2, 3, 4]
    assert context.calls == [
        Decoded("text", [10, 20, 21, 30], [0, 0, 1, 0], [rows[0], rows[1], rows[1], rows[2]]),
        Decoded("picture", [5, 5], [1, 1], [rows[0]] * 2),
        Decoded("picture", [6, 6], [1, 1], [rows[2]] * 2),
        Decoded("text", [11, 31], [3, 3], [rows[0], rows[2]]),
        Decoded("picture", [5, 5], [4, 4], [rows[2]] * 2),
        Decoded("text", [32], [6], [rows[2]]),
    ]


def test_a_large_picture_is_decoded_in_batches(
    backend: CausalBackend, context: FakeContext
) -> None:
    """Its tokens keep their places in the grid."""
    prompt = Prompt(NO_TOKENS, (ids(1, *[-1] * 10, 2),), pictures=(shaded(7, 5, 2),))
    backend.run([prompt])
    pictures = [call for call in context.calls if call.kind == "picture"]
    assert [len(call.what) for call in pictures] == [BATCH, 2]
    assert context.calls[-1].positions == [6]


def test_a_query_s_picture_stays_in_the_cache_for_the_next_step(
    backend: CausalBackend, context: FakeContext, projector: FakeProjector
) -> None:
    """Then only the rows are decoded, from where the picture ended."""
    asked = Prompt(ids(1, -1, -1, 2), (ids(40),), pictures=(shaded(5),))
    backend.run([asked])
    context.calls.clear()
    backend.run([Prompt(ids(1, -2, -2, 2), (ids(41),), pictures=(shaded(9), shaded(5)))])
    assert [call.what for call in context.calls] == [[41]]
    assert context.calls[0].positions == [4]
    assert projector.encoded == [5]


def test_another_picture_of_the_same_size_is_another_prefix(
    backend: CausalBackend, context: FakeContext
) -> None:
    """Both have the same ids in their prompts; what is kept ends before the picture."""
    backend.run([Prompt(ids(1, -1, -1, 2), (ids(40),), pictures=(shaded(5),))])
    context.calls.clear()
    context.trims.clear()
    backend.run([Prompt(ids(1, -1, -1, 2), (ids(40),), pictures=(shaded(6),))])
    assert [call.what for call in context.calls] == [[6, 6], [2], [40]]
    assert [start for _, start in context.trims] == [1]


def test_nothing_more_is_encoded_for_a_request_that_is_given_up(
    backend: CausalBackend, context: FakeContext, projector: FakeProjector
) -> None:
    """It ends between two pictures, and what is in the cache is not relied on."""
    prompt = Prompt(
        NO_TOKENS,
        (ids(1, -1, -1, 2, -2, -2, 3),),
        pictures=(shaded(5), shaded(6)),
        wanted=lambda: not projector.encoded,
    )
    with pytest.raises(GivenUp):
        backend.run([prompt])
    assert (projector.encoded, context.emptied) == ([5], 1)


@pytest.mark.parametrize(
    "row", [ids(1, -1, -1), ids(1, -1, 2)], ids=["ends in a picture", "a token too few"]
)
def test_rows_that_can_t_be_right_fail(backend: CausalBackend, row: TokenIds) -> None:
    """A picture has as many ids as tokens, and a text after it."""
    with pytest.raises(EngineFailure):
        backend.run([Prompt(NO_TOKENS, (row,), pictures=(shaded(5),))])


def test_a_backend_without_an_encoder_refuses_pictures(context: FakeContext) -> None:
    """A text model's backend never sees one; a mistake must not score."""
    backend = CausalBackend(cast("Any", context), LIMITS, batch=BATCH, answers=(1,))
    with pytest.raises(EngineFailure, match="text only"):
        backend.run([Prompt(NO_TOKENS, (ids(1, -1, 2),), pictures=(shaded(5, 1),))])
