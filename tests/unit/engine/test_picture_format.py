"""The most tokens of a picture: as its family has it, or as somebody sets it."""

from __future__ import annotations

import pytest

from rerankd.engine.planning.pictures import picture_format
from rerankd.errors import SettingsError
from rerankd.families.qwen3 import QWEN3
from rerankd.families.qwen3_vl import QWEN3_VL
from rerankd.settings import Settings


def most_tokens(limit: int) -> int:
    look = picture_format(QWEN3_VL, Settings(max_picture_tokens=limit))
    assert look is not None
    return look.most_tokens


def test_without_a_limit_the_familys_own_holds() -> None:
    assert picture_format(QWEN3_VL, Settings()) is QWEN3_VL.pictures
    assert most_tokens(0) == 1800


@pytest.mark.parametrize("limit", [64, 256, 16_384])
def test_a_limit_takes_the_place_of_the_familys(limit: int) -> None:
    """Below and above it; nothing else changes."""
    look = picture_format(QWEN3_VL, Settings(max_picture_tokens=limit))
    own = QWEN3_VL.pictures
    assert look is not None
    assert own is not None
    assert look.most_pixels == limit * 32 * 32
    assert (look.least_pixels, look.factor, look.pad) == (own.least_pixels, own.factor, own.pad)


@pytest.mark.parametrize("limit", [1, 63])
@pytest.mark.parametrize("family", [QWEN3_VL, QWEN3])
def test_a_limit_too_low_to_see_anything_is_refused(family: object, limit: int) -> None:
    """Also for a model that reads texts alone, so that a wrong setting never goes unnoticed."""
    with pytest.raises(SettingsError, match="must be at least 64, or 0") as caught:
        picture_format(family, Settings(max_picture_tokens=limit))  # type: ignore[arg-type]
    assert caught.value.param == "max_picture_tokens"


def test_a_text_model_has_no_use_for_a_limit() -> None:
    assert picture_format(QWEN3, Settings(max_picture_tokens=256)) is None
