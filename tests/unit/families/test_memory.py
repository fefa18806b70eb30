"""The memory estimate by part; real models' figures are tested where it is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rerankd.families.family import ComputeBuffer
from rerankd.families.header import Header, TensorInfo
from rerankd.families.memory import (
    ContextBytes,
    ContextShape,
    Dimensions,
    context_bytes,
    model_memory,
)

NETWORK = Dimensions(
    layers=3,
    width=8,
    heads=4,
    feed=32,
    kv_heads=2,
    key_width=2,
    value_width=3,
    vocabulary=100,
)
BUFFER = ComputeBuffer(width_floats=7, feed_floats=2)
ENCODER = ContextShape(batch=10)
CAUSAL = ContextShape(batch=10, cells=300, outputs=5)


def test_an_encoder_takes_only_its_buffer() -> None:
    """Floats for each token, and masks for each pair of tokens."""
    found = context_bytes(NETWORK, BUFFER, ENCODER)
    assert found == ContextBytes(
        compute=10 * (7 * 8 + 2 * 32) * 4 + 2 * 10 * 10, crossing=2 * 10 * 8 * 4 + 2 * 10 * 10
    )


def test_a_causal_model_takes_cells_and_logits() -> None:
    """Cells are rounded up to 256, each token sees all of them, and outputs take a vocabulary."""
    found = context_bytes(NETWORK, BUFFER, CAUSAL)
    assert found.kv == 512 * 2 * (2 + 3) * 2
    assert found.compute == 10 * (7 * 8 + 2 * 32) * 4 + 2 * 10 * 512
    assert found.output == 5 * 100 * 4


def test_a_recurrent_layer_keeps_a_state_of_each_sequence() -> None:
    """What llama.cpp reported for a file of these sizes: (4 - 1) * 96 + 32 * 16 floats each."""
    sizes = {"conv_kernel": 4, "inner_size": 32, "state_size": 16, "group_count": 2}
    keys = {f"qwen35.ssm.{name}": value for name, value in sizes.items()}
    known = Header(Path("a.gguf"), 1, {"general.architecture": "qwen35"} | keys, {})
    network = Dimensions.of(known)
    shape = structs.replace(CAUSAL, sequences=12)

    assert network.state == 3 * 96 + 32 * 16
    assert context_bytes(network, BUFFER, shape).kv == 12 * 4 * network.state


@pytest.mark.parametrize(
    ("kv_type", "of_f16"), [("f32", 2.0), ("f16", 1.0), ("bf16", 1.0), ("q8_0", 17 / 32)]
)
def test_the_cache_s_type_counts(kv_type: str, of_f16: float) -> None:
    """Each type of KV cache takes its own bytes."""
    half = context_bytes(NETWORK, BUFFER, CAUSAL).kv
    found = context_bytes(NETWORK, BUFFER, structs.replace(CAUSAL, kv_type=kv_type)).kv
    assert found == half * of_f16


@pytest.mark.parametrize("flash_attn", ["off", "auto"])
def test_without_flash_attention_every_head_takes_its_scores(flash_attn: str) -> None:
    """Four bytes for each head and pair of tokens come to it."""
    on = context_bytes(NETWORK, BUFFER, ENCODER).compute
    off = context_bytes(NETWORK, BUFFER, structs.replace(ENCODER, flash_attn=flash_attn)).compute
    assert off - on == 4 * 10 * 10 * 4


def test_a_model_is_its_weights_and_all_its_contexts() -> None:
    """A layer's cache counts for each layer, and what only GPUs exchange doesn't."""
    contexts = ContextBytes(kv=10, compute=20, output=30, crossing=40).times(2)
    found = model_memory(1000, 3, contexts, vectors=5)
    assert (found.kv, found.compute, found.output) == (60, 40, 60)
    assert found.total == 1000 + 60 + 40 + 60 + 5


@given(
    batch=st.integers(1, 10_000),
    cells=st.integers(0, 100_000),
    outputs=st.integers(0, 10_000),
    more=st.integers(1, 1000),
)
def test_more_never_takes_less(batch: int, cells: int, outputs: int, more: int) -> None:
    """Each part grows with what it depends on."""
    shape = ContextShape(batch=batch, cells=cells, outputs=outputs)
    larger = ContextShape(batch=batch + more, cells=cells and cells + more, outputs=outputs + more)
    small, large = (context_bytes(NETWORK, BUFFER, one) for one in (shape, larger))
    for part in ContextBytes.__struct_fields__:
        assert 0 <= getattr(small, part) <= getattr(large, part)


def header_of(**keys: Any) -> Header:
    """Return a header of a made-up architecture with these keys."""
    metadata = {f"new.{name.replace('__', '.')}": value for name, value in keys.items()}
    metadata["general.architecture"] = "new"
    tensors = {"token_embd.weight": TensorInfo((8, 100), "F32", 3200)}
    return Header(Path("a.gguf"), 1, metadata, tensors)


SIZES = {"block_count": 3, "embedding_length": 8, "attention__head_count": 4}


def test_a_header_s_sizes_are_read() -> None:
    """Every size has its key."""
    header = header_of(
        **SIZES,
        feed_forward_length=32,
        attention__head_count_kv=2,
        attention__key_length=2,
        attention__value_length=3,
    )
    assert Dimensions.of(header) == NETWORK


def test_what_a_header_lacks_follows_from_the_rest() -> None:
    """Without keys of its own the cache has a key and a value of each head, none is forgotten."""
    found = Dimensions.of(header_of(**SIZES))
    assert (found.kv_heads, found.key_width, found.value_width) == (4, 2, 2)


def test_of_layers_that_differ_the_largest_counts() -> None:
    """Some networks have a list, a number for each layer."""
    header = header_of(**SIZES | {"attention__head_count": [4, 4, 2]}, feed_forward_length=[8, 32])
    found = Dimensions.of(header)
    assert (found.heads, found.feed, found.key_width) == (4, 32, 2)


@pytest.mark.parametrize("value", ["many", None, [], ["a"], 0])
def test_sizes_of_an_odd_type_count_as_unknown(value: Any) -> None:
    """A damaged header gives an estimate that leaves out what it doesn't say."""
    found = Dimensions.of(header_of(**SIZES | {"attention__head_count": value}))
    assert (found.heads, found.kv_heads, found.key_width) == (0, 0, 0)
