"""What encoding a picture costs, counted in tokens of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerankd.families.header import Header, TensorInfo
from rerankd.families.picture_cost import NOTHING, SLOWER, EncodingCost

LAYERS, WIDTH = 2, 8


def header(**shapes: tuple[int, ...]) -> Header:
    metadata = {
        "general.architecture": "clip",
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.block_count": LAYERS,
    }
    tensors = {
        name.replace("_", "."): TensorInfo(shape, "F16", 0) for name, shape in shapes.items()
    }
    return Header(Path("x.gguf"), 0, metadata, tensors)


MODEL = header(blk_0=(100, 10), blk_1=(100, 10), token=(1000, 1000), blk_norm=(500,))
PROJECTOR = header(v_blk_0=(10, 10), v_blk_1=(10, 10), mm_0=(20, 10), v_patch=(999, 999))


def test_both_networks_are_counted_by_their_products() -> None:
    """Four patches go through the layers for a token, which then goes through the last ones."""
    cost = EncodingCost.of(PROJECTOR, MODEL)
    assert cost.token == SLOWER * (4 * 200 + 200) / 2000
    assert cost.pair == SLOWER * 2 * 16 * WIDTH * LAYERS / 2000


def test_a_picture_costs_more_than_in_proportion() -> None:
    """All patches see each other."""
    cost = EncodingCost(token=1.5, pair=0.01)
    assert [cost.of_picture(tokens) for tokens in (0, 10, 100)] == [0, 16, 250]


@pytest.mark.parametrize("model", [header(), header(blk_norm=(500,))])
def test_a_model_whose_layers_are_not_known_gives_no_costs(model: Header) -> None:
    assert EncodingCost.of(PROJECTOR, model) == NOTHING
