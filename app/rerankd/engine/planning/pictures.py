"""How a model is to see pictures: as its family does, within the limit that is set."""

from __future__ import annotations

from msgspec import structs

from rerankd.errors import SettingsError
from rerankd.families.family import Family
from rerankd.families.prompt_format import PictureFormat
from rerankd.settings import Settings

LEAST_TOKENS = 64
"""Of the largest picture: 256 x 256 pixels in a model whose tokens cover 32 x 32."""


def picture_format(family: Family, settings: Settings) -> PictureFormat | None:
    """Return how pictures are scaled and read, None for a family that reads texts alone.

    `max_picture_tokens` takes the place of the family's own limit. Raises SettingsError where it
    is so low that nothing could be made out in a picture.
    """
    limit, own = settings.max_picture_tokens, family.pictures
    if 0 < limit < LEAST_TOKENS:
        raise SettingsError(
            f"max_picture_tokens is {limit}, but must be at least {LEAST_TOKENS}, or 0 for the"
            " model's own limit",
            param="max_picture_tokens",
        )
    if own is None or not limit:
        return own
    return structs.replace(own, most_pixels=limit * own.factor**2)
