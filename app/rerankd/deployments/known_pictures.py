"""Pictures that a model with a projector is tried with before it is served."""

from __future__ import annotations

import math

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from rerankd.deployments.tolerances import disagree
from rerankd.domain import Backend, Pictured, Pixels
from rerankd.errors import LoadCheckFailed
from rerankd.families.prompt_format import PictureFormat
from rerankd.lru import digest_of
from rerankd.prompts import PromptBuilder

QUERY, DOCUMENT = "Which picture gets brighter?", "A text beside pictures."


def score_known_pictures(backend: Backend, prompts: PromptBuilder, look: PictureFormat) -> None:
    """Score pictures as documents and as a query. Raises LoadCheckFailed when that can't be right.

    Only what needs no trained eyes is judged: a picture must give a number, the same one beside
    other documents, and another one than a different picture.
    """
    first, second = (Pictured((one,)) for one in drawn_pictures(look))
    prompt = prompts.build(QUERY, (first, second, DOCUMENT)).prompt
    ((packed, other, text),) = backend.run([prompt])
    ((alone,),) = backend.run([structs.replace(prompt, rows=prompt.rows[:1])])
    ((asked,),) = backend.run([prompts.build(first, (DOCUMENT,)).prompt])
    if not all(map(math.isfinite, (packed, other, text, alone, asked))):
        raise LoadCheckFailed("its scores of pictures are not numbers")
    if disagree(alone, packed):
        raise LoadCheckFailed(
            f"a picture scores {alone:.3f} alone and {packed:.3f} next to another one"
        )
    if packed == other:
        raise LoadCheckFailed("two different pictures score the same: it doesn't see them")


def drawn_pictures(look: PictureFormat) -> tuple[Pixels, Pixels]:
    """Return a picture that gets brighter from left to right, and one that does downwards."""
    height, width = 4 * look.factor, 2 * look.factor
    across = np.linspace(0, 255, width, dtype=np.uint8)[None, :, None]
    down = np.linspace(0, 255, height, dtype=np.uint8)[:, None, None]
    return _pixels(across, (height, width)), _pixels(down, (height, width))


def _pixels(shades: NDArray[np.uint8], size: tuple[int, int]) -> Pixels:
    rgb = np.ascontiguousarray(np.broadcast_to(shades, (*size, 3)))
    return Pixels(rgb, digest_of(repr(size), rgb.tobytes()))
