"""Requests with pictures that there are references for: texts, and pictures by name in brackets.

Every text is one of `references.texts`, whose pieces the small vocabulary has.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

MOST_TOKENS = 300
"""What a picture is scaled to at most, here; the makers' 1800 take a minute and a gigabyte."""

Parts: TypeAlias = tuple[str, ...]
"""Pieces of a query or document; `[photo]` is a picture, anything else text."""

PANDA, RICE = (
    "The giant panda is a bear endemic to China.",
    "Cook the rice for twelve minutes, then let it rest.",
)
BEARS = "大熊猫是中国特有的一种熊。它们主要以竹子为食。"
QUESTION = "what is a panda?"


class PictureRequest(NamedTuple):
    """A query and its documents; pictures come before texts, as the model's own script has them."""

    query: Parts
    documents: tuple[Parts, ...]
    instruction: str = ""


PICTURE_REQUESTS: tuple[PictureRequest, ...] = (
    PictureRequest(
        (QUESTION,),
        (
            (PANDA,),
            ("[small]",),
            ("[photo]",),
            ("[twin]",),
            ("[large]",),
            ("[narrow]",),
            ("[transparent]",),
            ("[rotated]",),
            ("[grey]",),
            ("[few colours]",),
            ("[photo]", PANDA),
            ("[photo]", RICE),
            ("[small]", "[rotated]"),
            ("[rotated]", "[small]"),
            ("[small]", "[small]", BEARS),
            (RICE,),
            ("",),
        ),
    ),
    PictureRequest(
        ("[photo]",), ((PANDA,), ("[photo]",), ("[rotated]",), ("[narrow]", RICE), ("",))
    ),
    PictureRequest(("[small]", QUESTION), (("[photo]",), (BEARS,), ("[grey]", BEARS)), RICE),
    PictureRequest((QUESTION,), ((PANDA,), (RICE,), (BEARS,), ("",)), PANDA),
    PictureRequest(("",), (("[small]",), (PANDA,))),
)


def picture_named(part: str) -> str | None:
    """Return the name of the picture that a part stands for, None for a text."""
    return part[1:-1] if part.startswith("[") and part.endswith("]") else None
