"""How many layers fit on GPUs: real models' shapes, and rules that hold for any."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from rerankd.engine.planning import offload
from rerankd.engine.planning.memory import (
    contexts_bytes,
    is_causal_network,
    require_dimensions,
)
from rerankd.engine.planning.offload import (
    AS_FITS,
    ModelBytes,
    Placement,
    Split,
    model_bytes,
    place,
    plan_layers,
    usable,
)
from rerankd.engine.planning.sizing import Sizes, plan_sizes
from rerankd.errors import ModelFileError, SettingsError
from rerankd.families.memory import ContextBytes
from rerankd.families.qwen3 import QWEN3
from rerankd.families.xlm_roberta import XLM_ROBERTA
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header, TensorInfo, Verdict

from support.places import ROOT

GIB, MIB = 1024**3, 1024**2
BYTES = {"Q8_0": 34 / 32, "F32": 4.0}
"""Bytes of a weight by type."""

QWEN3_VOCABULARY = 151_669


def header_of(architecture: str, shapes: dict[str, tuple[int, ...]], **keys: Any) -> Header:
    """Return a header with these tensors, matrices as Q8_0 and vectors as F32."""
    tensors = {}
    for name, shape in shapes.items():
        kept = len(shape) == 1 or name.startswith(("position", "token_types"))
        kind = "F32" if kept else "Q8_0"
        tensors[name] = TensorInfo(shape, kind, int(math.prod(shape) * BYTES[kind]))
    metadata = {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    metadata["general.architecture"] = architecture
    return Header(Path("shape.gguf"), sum(one.bytes for one in tensors.values()), metadata, tensors)


def qwen3(blocks: int, width: int, feed: int, heads: int) -> Header:
    """Return a Qwen3-Reranker's header: 8 KV heads of 128, yes/no head, no output matrix."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (width, QWEN3_VOCABULARY)}
    for at in range(blocks):
        shapes |= {
            f"blk.{at}.attn_q.weight": (width, heads * 128),
            f"blk.{at}.attn_k.weight": (width, 1024),
            f"blk.{at}.attn_v.weight": (width, 1024),
            f"blk.{at}.attn_output.weight": (heads * 128, width),
            f"blk.{at}.ffn_gate.weight": (width, feed),
            f"blk.{at}.ffn_up.weight": (width, feed),
            f"blk.{at}.ffn_down.weight": (feed, width),
            f"blk.{at}.attn_norm.weight": (width,),
            f"blk.{at}.ffn_norm.weight": (width,),
        }
    shapes |= {"output_norm.weight": (width,), "cls.output.weight": (width, 2)}
    return header_of(
        "qwen3",
        shapes,
        context_length=40_960,
        embedding_length=width,
        block_count=blocks,
        feed_forward_length=feed,
        attention__head_count=heads,
        attention__head_count_kv=8,
        attention__key_length=128,
        attention__value_length=128,
        classifier__output_labels=["yes", "no"],
    )


def bge_m3() -> Header:
    """Return the header of bge-reranker-v2-m3."""
    width, feed = 1024, 4096
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, 250_002),
        "position_embd.weight": (width, 8192),
        "token_types.weight": (width, 1),
        "token_embd_norm.weight": (width,),
        "token_embd_norm.bias": (width,),
        "cls.weight": (width, width),
        "cls.bias": (width,),
        "cls.output.weight": (width, 1),
    }
    for at in range(24):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{at}.{name}.weight"] = (width, width)
        shapes[f"blk.{at}.ffn_up.weight"] = (width, feed)
        shapes[f"blk.{at}.ffn_down.weight"] = (feed, width)
    return header_of(
        "bert",
        shapes,
        context_length=8192,
        embedding_length=width,
        block_count=24,
        feed_forward_length=feed,
        attention__head_count=16,
    )


def modernbert() -> Header:
    """Return the header of gte-reranker-modernbert-base."""
    width, feed = 768, 1152
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (width, 50_368),
        "token_embd_norm.weight": (width,),
        "output_norm.weight": (width,),
        "cls.weight": (width, width),
        "cls.norm.weight": (width,),
        "cls.output.weight": (width, 1),
    }
    for at in range(22):
        shapes |= {
            f"blk.{at}.attn_qkv.weight": (width, 3 * width),
            f"blk.{at}.attn_output.weight": (width, width),
            f"blk.{at}.ffn_up.weight": (width, 2 * feed),
            f"blk.{at}.ffn_down.weight": (feed, width),
        }
    return header_of(
        "modern-bert",
        shapes,
        context_length=8192,
        embedding_length=width,
        block_count=22,
        feed_forward_length=feed,
        attention__head_count=12,
    )


MODELS = {
    "bge-v2-m3": bge_m3(),
    "modernbert": modernbert(),
    "Qwen3-0.6B": qwen3(28, 1024, 3072, 16),
    "Qwen3-4B": qwen3(36, 2560, 9728, 32),
    "Qwen3-8B": qwen3(36, 4096, 12_288, 32),
}
CAUSAL = Verdict("reranker", "", QWEN3)
ENCODER = Verdict("reranker", "", XLM_ROBERTA)


def sized(name: str, **changes: Any) -> tuple[Header, Verdict, Sizes]:
    """Return a model with the sizes the service gives it on a GPU."""
    header = MODELS[name]
    verdict = CAUSAL if header.architecture == "qwen3" else ENCODER
    settings = Settings(**changes)
    return header, verdict, plan_sizes(header, verdict, settings, cores=4, gpu_step=512)


def weights_of(header: Header) -> ModelBytes:
    """Return a file's weights by layer."""
    return model_bytes(header, causal=is_causal_network(header))


def parts(name: str, **changes: Any) -> tuple[ModelBytes, ContextBytes]:
    header, verdict, sizes = sized(name, **changes)
    context = contexts_bytes(header, verdict, sizes, Settings())
    return weights_of(header), context


@pytest.mark.parametrize(
    ("name", "mebibytes"),
    [
        ("bge-v2-m3", 606),
        ("modernbert", 153),
        ("Qwen3-0.6B", 610),
        ("Qwen3-4B", 4081),
        ("Qwen3-8B", 7660),
    ],
)
def test_shapes_are_the_real_models(name: str, mebibytes: int) -> None:
    """The headers here weigh what the published Q8_0 files do, less their vocabulary's text."""
    assert MODELS[name].file_bytes / MIB == pytest.approx(mebibytes, rel=0.02)


@pytest.mark.parametrize(
    ("name", "batch", "mebibytes"),
    [("bge-v2-m3", 4096, 144), ("bge-v2-m3", 512, 14.5), ("modernbert", 4096, 154)],
)
def test_encoder_buffers_are_those_measured(name: str, batch: int, mebibytes: float) -> None:
    """The estimate of an encoder's compute buffer is what llama.cpp reported, within 6 %."""
    header, verdict, sizes = sized(name)
    sizes = structs.replace(sizes, batch=batch)

    found = contexts_bytes(header, verdict, sizes, Settings())

    assert found.compute / MIB == pytest.approx(mebibytes, rel=0.06)
    assert found.kv == found.output == 0


@pytest.mark.parametrize(("name", "mebibytes"), [("bge-v2-m3", 1184), ("modernbert", 992)])
def test_flash_attention_off_takes_the_heads_scores(name: str, mebibytes: int) -> None:
    """Without flash attention a square of the batch for every head comes to it; auto as off."""
    header, verdict, sizes = sized(name)
    sizes = structs.replace(sizes, batch=4096)

    off, auto = (
        contexts_bytes(header, verdict, sizes, Settings(flash_attn=one)).compute
        for one in ("off", "auto")
    )

    assert off == auto
    assert off / MIB == pytest.approx(mebibytes, rel=0.1)


def test_a_part_on_a_gpu_takes_copies_of_what_crosses() -> None:
    """Half of bge-v2-m3's layers took 176.9 MiB of llama.cpp's buffers: the plan has room."""
    placement = place(*parts("bge-v2-m3"), [2 * GIB], 12)

    assert 176.9 <= placement.device_bytes[0] / MIB <= 1.05 * 176.9


def test_qwen3_buffers_are_those_measured() -> None:
    """Qwen3-0.6B at 512 tokens: rank pooling 302 to 316 MiB, the logits of a few rows far less."""
    header, verdict, sizes = sized("Qwen3-0.6B")
    by_logits = structs.replace(verdict, readout="logits")

    rank = contexts_bytes(header, verdict, sizes, Settings())
    logits = contexts_bytes(header, by_logits, sizes, Settings())

    assert 302 <= (rank.compute + rank.output) / MIB <= 340
    assert 26 <= (logits.compute + logits.output) / MIB <= 60


@pytest.mark.parametrize(("name", "kibibytes"), [("Qwen3-0.6B", 112), ("Qwen3-4B", 144)])
def test_kv_cache_is_the_published_size(name: str, kibibytes: int) -> None:
    """All blocks together keep 112 and 144 KiB a token in half precision, q8_0 about half."""
    header, verdict, sizes = sized(name)
    blocks = header.integer("block_count")

    half, small = (
        contexts_bytes(header, verdict, sizes, Settings(kv_type=kind)).kv
        for kind in ("f16", "q8_0")
    )

    assert half * blocks == kibibytes * 1024 * sizes.limits.cells
    assert small == half * 17 // 32


def test_cells_are_rounded_up_as_llama_cpp_does() -> None:
    """4,353 cells take as much KV cache as 4,608, the next multiple of 256."""
    header, verdict, sizes = sized("Qwen3-0.6B")
    shorter = structs.replace(sizes, limits=structs.replace(sizes.limits, cells=4353))
    rounded = structs.replace(sizes, limits=structs.replace(sizes.limits, cells=4608))

    found, expected = (
        contexts_bytes(header, verdict, one, Settings()).kv for one in (shorter, rounded)
    )

    assert found == expected > 0


def test_every_worker_has_its_own_context() -> None:
    """Two workers take twice the KV and buffers of one."""
    one, two = (parts("Qwen3-0.6B", workers=count)[1] for count in (1, 2))

    assert (two.kv, two.compute) == (2 * one.kv, 2 * one.compute)
    assert (two.output, two.crossing) == (2 * one.output, 2 * one.crossing)


FITS = {
    "bge-v2-m3": [0, 25, 25, 25, 25, 25, 25],
    "modernbert": [0, 23, 23, 23, 23, 23, 23],
    "Qwen3-0.6B": [0, 9, 29, 29, 29, 29, 29],
    "Qwen3-4B": [0, 0, 9, 26, 37, 37, 37],
    "Qwen3-8B": [0, 0, 4, 14, 23, 32, 37],
}
"""Layers that fit on one GPU of 0, 1, 2, 4, 6, 8 and 24 GiB."""


@pytest.mark.parametrize(("name", "fits"), FITS.items())
def test_layers_that_fit_on_one_gpu(name: str, fits: list[int]) -> None:
    """All, some or none of a real model's layers fit in 0 to 24 GiB."""
    found = [plan_layers(*parts(name), [size * GIB]).layers for size in (0, 1, 2, 4, 6, 8, 24)]

    assert found == fits


def test_the_docs_table_is_the_plan_s() -> None:
    """The table of docs/gpu.md has the layers of each model and those that fit."""
    page = (ROOT / "docs" / "gpu.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [\w.-]+( \| \d+)+ \|$", line)]

    found = [[int(cell) for cell in row.split("|")[2:-1]] for row in rows]

    assert found == [[weights_of(MODELS[name]).layers, *fits[1:]] for name, fits in FITS.items()]


@pytest.mark.parametrize(
    ("name", "free", "counts"),
    [
        ("bge-v2-m3", (1, 1), (25, 0)),
        ("Qwen3-0.6B", (1, 1), (21, 7)),
        ("Qwen3-4B", (4, 4), (30, 7)),
        ("Qwen3-4B", (1, 8), (0, 37)),
        ("Qwen3-8B", (1, 1), (0, 0)),
        ("Qwen3-8B", (6, 6), (26, 11)),
        ("Qwen3-8B", (0, 24), (0, 37)),
    ],
)
def test_layers_that_fit_on_two_gpus(
    name: str, free: tuple[int, int], counts: tuple[int, int]
) -> None:
    """One that has room for all is used alone, else the first is filled before the second."""
    placement = plan_layers(*parts(name), [size * GIB for size in free])

    assert placement.counts == counts
    assert placement.layers == sum(counts)


def test_all_layers_on_two_gpus_take_copies_of_what_crosses() -> None:
    """bge-v2-m3 split in halves took 230 and 190 MiB of llama.cpp's buffers: there is room."""
    split = Split(tensor_split=(1.0, 1.0))

    placement = plan_layers(*parts("bge-v2-m3"), [2 * GIB, 2 * GIB], split)

    first, second = (held / MIB for held in placement.device_bytes)
    assert 166.42 + 64.02 <= first <= 1.1 * (166.42 + 64.02)
    assert 141.88 + 48.02 <= second <= 1.2 * (141.88 + 48.02)


def test_two_small_gpus_hold_what_neither_could() -> None:
    """Qwen3-4B fits on two GPUs of 4 GiB, and not on one."""
    model, context = parts("Qwen3-4B")

    assert plan_layers(model, context, [4 * GIB]).layers < model.layers
    assert plan_layers(model, context, [4 * GIB, 4 * GIB]).layers == model.layers


def test_split_mode_none_uses_the_main_gpu_alone() -> None:
    """With split_mode none, only main_gpu's memory counts."""
    model, context = parts("Qwen3-4B")

    placement = plan_layers(model, context, [24 * GIB, 4 * GIB], Split("none", main_gpu=1))

    assert placement.counts == (0, 26)
    assert placement.layers == plan_layers(model, context, [4 * GIB]).layers


@pytest.mark.parametrize(
    ("shares", "counts"),
    [((3.0, 1.0), (28, 9)), ((1.0, 1.0), (19, 18)), ((1.0,), (37, 0)), ((0.0, 1.0), (0, 37))],
)
def test_tensor_split_shares_layers_as_asked(
    shares: tuple[float, ...], counts: tuple[int, int]
) -> None:
    """A tensor_split is kept to, a missing entry meaning nothing on that device."""
    placement = plan_layers(*parts("Qwen3-4B"), [24 * GIB, 24 * GIB], Split(tensor_split=shares))

    assert placement.counts == counts


def test_row_split_spreads_every_layer_s_weights() -> None:
    """With split_mode row each GPU needs room for its share of all weights, though it has no KV."""
    model, context = parts("Qwen3-4B")
    split = Split("row", tensor_split=(1.0, 1.0))

    placement = plan_layers(model, context, [24 * GIB, 24 * GIB], split)

    half = model.between(0, model.layers) // 2
    assert placement.layers == model.layers
    assert all(held >= half for held in placement.device_bytes)


@pytest.mark.parametrize(
    ("split", "param"),
    [(Split("none", main_gpu=2), "main_gpu"), (Split(tensor_split=(1, 1, 1)), "tensor_split")],
)
def test_devices_that_are_not_there_are_refused(split: Split, param: str) -> None:
    """A main_gpu or tensor_split beyond the GPUs there are is an error that names the setting."""
    with pytest.raises(SettingsError, match="there are 2 GPUs") as caught:
        plan_layers(*parts("bge-v2-m3"), [GIB, GIB], split)

    assert caught.value.param == param


@pytest.mark.parametrize("shares", [(1e-60, 0.0), (math.inf, 1.0), (3e38, 3e38), (math.nan, 1.0)])
def test_shares_beyond_single_precision_are_refused(shares: tuple[float, ...]) -> None:
    """Shares that add up to nothing or to infinity in llama.cpp are refused, not handed to it."""
    with pytest.raises(SettingsError, match="too small or too large"):
        plan_layers(*parts("bge-v2-m3"), [GIB, GIB], Split(tensor_split=shares))


def test_tied_embeddings_are_copied_beside_the_output() -> None:
    """Without an output matrix a causal model's embeddings are on the CPU and on the GPU."""
    tied = MODELS["Qwen3-0.6B"]
    matrix = tied.tensors["token_embd.weight"]
    untied = structs.replace(tied, tensors={**tied.tensors, "output.weight": matrix})

    assert weights_of(tied) == weights_of(untied)
    assert weights_of(tied).output > matrix.bytes
    assert weights_of(tied).input == pytest.approx(matrix.bytes, abs=256)


def test_an_encoder_s_embeddings_stay_on_the_cpu() -> None:
    """Embeddings are no layer's, their norm is the first block's, cls is the output's."""
    found = weights_of(MODELS["bge-v2-m3"])

    assert found.input > 250_002 * 1024
    assert found.output == pytest.approx(1024 * 1024 * 34 / 32, rel=0.01)
    assert found.blocks[0] - found.blocks[1] == 2 * 4096


@pytest.mark.parametrize("count", [23, 25, 0, 10**9])
def test_blocks_that_are_not_there_are_refused(count: int) -> None:
    """A header whose block count isn't that of its tensors is refused before anything is summed."""
    header = MODELS["bge-v2-m3"]
    wrong = structs.replace(header, metadata={**header.metadata, "bert.block_count": count})

    with pytest.raises(ModelFileError, match=f"24 blocks, but its header says {count}"):
        weights_of(wrong)


@pytest.mark.parametrize("value", [0, -1, "many"])
def test_sizes_that_make_no_sense_are_refused(value: Any) -> None:
    """A width that isn't a positive number is refused by its key."""
    header = MODELS["bge-v2-m3"]
    wrong = structs.replace(header, metadata={**header.metadata, "bert.embedding_length": value})

    with pytest.raises(ModelFileError, match=r"bert\.embedding_length"):
        require_dimensions(wrong)


def test_a_real_file_can_be_planned(tiny_bert: Path, tiny_qwen3: Path) -> None:
    """Headers as they are read from files have all that a plan takes."""
    for path, layers in ((tiny_bert, 3), (tiny_qwen3, 3)):
        header = gguf_file.read(path)
        verdict = gguf_file.judge(header)
        sizes = plan_sizes(header, verdict, Settings(), cores=2, gpu_step=512)
        context = contexts_bytes(header, verdict, sizes, Settings())

        assert plan_layers(weights_of(header), context, [GIB]).layers == layers


SIZES = st.integers(0, 4 * GIB)
MODEL = st.builds(
    ModelBytes,
    blocks=st.lists(SIZES, min_size=1, max_size=8).map(tuple),
    output=SIZES,
    input=SIZES,
)
CONTEXT = st.builds(ContextBytes, kv=SIZES, compute=SIZES, output=SIZES, crossing=SIZES)
FREE = st.lists(st.integers(0, 24 * GIB), min_size=1, max_size=4)
SHARE = st.one_of(st.just(0.0), st.floats(2.0**-20, 100, width=32))
MODES: st.SearchStrategy[Literal["none", "layer", "row"]] = st.sampled_from(
    ["none", "layer", "row"]
)
SPLIT = st.builds(
    Split, mode=MODES, tensor_split=st.lists(st.integers(0, 8).map(float), max_size=1).map(tuple)
)


@given(model=MODEL, context=CONTEXT, free=FREE, split=SPLIT)
def test_a_plan_never_takes_more_than_is_free(
    model: ModelBytes, context: ContextBytes, free: list[int], split: Split
) -> None:
    """Whatever the sizes, no device gets more than its free memory less the margin."""
    placement = plan_layers(model, context, free, split)

    assert 0 <= placement.layers <= model.layers
    assert sum(placement.counts) == placement.layers
    for held, there in zip(placement.device_bytes, free, strict=True):
        assert held <= usable(there) <= there


@given(model=MODEL, context=CONTEXT, free=FREE, more=st.integers(0, 8 * GIB), data=st.data())
def test_more_memory_never_means_fewer_layers(
    model: ModelBytes, context: ContextBytes, free: list[int], more: int, data: st.DataObject
) -> None:
    """A device that grows, or that is added at the end, loses no layer of the plan."""
    at = data.draw(st.integers(0, len(free) - 1))
    grown = [size + more * (place == at) for place, size in enumerate(free)]

    before = plan_layers(model, context, free).layers

    assert plan_layers(model, context, grown).layers >= before
    assert plan_layers(model, context, [*free, more]).layers >= before


@given(model=MODEL, context=CONTEXT, free=FREE)
def test_one_more_layer_would_not_fit(
    model: ModelBytes, context: ContextBytes, free: list[int]
) -> None:
    """A plan is the most there is: every other way to share one layer more is over somewhere."""
    room = [usable(one) for one in free]
    layers = plan_layers(model, context, free).layers

    if layers < model.layers:
        for counts in ways_to_share(layers + 1, len(free)):
            assert any(
                taken > had
                for taken, had in zip(held_by(model, context, counts), room, strict=True)
            )


def ways_to_share(layers: int, devices: int) -> list[tuple[int, ...]]:
    """Return every way to give neighbouring layers to devices in their order."""
    if devices == 1:
        return [(layers,)]
    return [
        (first, *rest)
        for first in range(layers + 1)
        for rest in ways_to_share(layers - first, devices - 1)
    ]


def held_by(model: ModelBytes, context: ContextBytes, counts: tuple[int, ...]) -> list[int]:
    """Add up what each device holds, layer by layer."""
    weights = [*model.blocks, model.output]
    piped = sum(counts) == len(weights) and max(counts) < len(weights)
    first, found = len(weights) - sum(counts), []
    for count in counts:
        copies = 4 if piped else min(first, 1)
        held = context.compute + copies * context.crossing if count else 0
        for layer in range(first, first + count):
            last = layer == len(weights) - 1
            held += weights[layer] + (context.output if last else context.kv)
        found.append(held)
        first += count
    return found


@given(
    layers=st.integers(1, 80),
    shares=st.lists(SHARE, min_size=1, max_size=6).filter(any),
)
def test_shares_follow_llama_cpp_s_rule(layers: int, shares: list[float]) -> None:
    """Layer i goes to the first device whose running share of all is over i of the layers."""
    model, context = ModelBytes((0,) * (layers - 1), 0, 0), ContextBytes()
    single = np.float32
    ends, running = [], single(0)
    for share in shares:
        running = single(running + single(share))
        ends.append(running)
    homes = [
        next(
            at for at, end in enumerate(ends) if single(end / running) > single(i) / single(layers)
        )
        for i in range(layers)
    ]

    placement = place(model, context, [0] * len(shares), layers, Split(tensor_split=tuple(shares)))

    assert placement.counts == tuple(homes.count(at) for at in range(len(shares)))


@given(model=MODEL, context=CONTEXT, free=FREE, split=SPLIT)
def test_the_shares_of_a_plan_bring_it_about(
    model: ModelBytes, context: ContextBytes, free: list[int], split: Split
) -> None:
    """A plan's shares, set as tensor_split, put the same layers on the same devices."""
    placement = plan_layers(model, context, free, split)

    if placement.layers and placement.alone is None:
        again = structs.replace(split, tensor_split=placement.shares)
        room = [usable(one) for one in free]
        assert place(model, context, room, placement.layers, again).counts == placement.counts


@given(counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any))
def test_counts_given_to_llama_cpp_come_out_as_they_are(counts: list[int]) -> None:
    """Counts of layers handed over as a tensor_split give every device exactly its count."""
    layers = sum(counts)
    model = ModelBytes((0,) * (layers - 1), 0, 0)
    split = Split(tensor_split=tuple(map(float, counts)))

    assert place(model, ContextBytes(), [0] * len(counts), layers, split).counts == tuple(counts)


def test_nothing_fits_where_there_is_no_device() -> None:
    """Without any device the plan is the CPU."""
    assert plan_layers(*parts("modernbert"), [], AS_FITS) == Placement(0, (), ())


def test_the_margin_stays_free() -> None:
    """A quarter of a GiB stays free on a small device, a twentieth on a large one."""
    assert usable(GIB) == GIB - offload.MARGIN
    assert usable(100 * GIB) == 95 * GIB
    assert usable(MIB) == 0
