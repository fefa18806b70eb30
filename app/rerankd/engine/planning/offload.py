"""How many layers go to the GPUs, and which to which: pure arithmetic on the file's header.

Counted as llama.cpp does: a model of n blocks has n + 1 layers, the last being the output with
everything behind the blocks; `gpu_layers` = k means the last k. Embeddings stay on the CPU. All
sizes are bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct, structs

from rerankd.errors import ModelFileError, SettingsError
from rerankd.families.header import Header
from rerankd.families.memory import ContextBytes

SplitMode = Literal["none", "layer", "row"]

SHARES = "tensor_split"
INPUT = frozenset({"token_embd.weight", "position_embd.weight", "token_types.weight"})
"""Tensors that llama.cpp leaves on the CPU."""
MOST_LAYERS = 512  # LLAMA_MAX_LAYERS
ALIGNMENT = 256
"""What a tensor's size is rounded up to on a device; the most that backends ask for."""
MARGIN = 256 * 1024**2
MARGIN_SHARE = 0.05
"""What stays free on a device: the larger of the two, for the driver's own buffers and others."""

PIPELINE = 4
"""Copies of what crosses when all layers are on several devices: the steps that llama.cpp then
works on at once (GGML_SCHED_MAX_COPIES)."""


class ModelBytes(Struct, frozen=True):
    """What a file's weights take on a device, by where llama.cpp puts them."""

    blocks: tuple[int, ...]
    output: int
    input: int

    @property
    def layers(self) -> int:
        return len(self.blocks) + 1

    def between(self, first: int, end: int) -> int:
        """Return the weights of the layers from `first` up to `end`; the last is the output."""
        return sum(self.blocks[first:end]) + (self.output if end == self.layers else 0)


class Placement(Struct, frozen=True):
    """The last `layers` layers on GPUs, how many on each, and the bytes each is to hold."""

    layers: int
    counts: tuple[int, ...]
    device_bytes: tuple[int, ...]
    shares: tuple[float, ...] = ()
    """The tensor_split that makes llama.cpp do so; none where one device is to be used alone."""
    alone: int | None = None
    """The device to be used alone."""


class Split(Struct, frozen=True):
    """How several devices share a model: the settings of these names."""

    mode: SplitMode = "layer"
    main_gpu: int = 0
    tensor_split: tuple[float, ...] = ()


AS_FITS = Split()


def model_bytes(header: Header, *, causal: bool) -> ModelBytes:
    """Add up the tensors of a causal or another network by layer.

    Raises ModelFileError where the blocks are not those the header speaks of.
    """
    blocks: dict[int, int] = {}
    output = kept = 0
    for name, tensor in header.tensors.items():
        size = _aligned(tensor.bytes)
        block = re.match(r"blk\.(\d{1,9})\.", name)
        if block or name.startswith("token_embd_norm."):  # the norm goes with the first block
            at = int(block[1]) if block else 0
            blocks[at] = blocks.get(at, 0) + size
        elif name in INPUT:
            kept += size
        else:
            output += size
    if causal and "output.weight" not in header.tensors:
        # Tied weights: llama.cpp makes a second copy of the embeddings beside the output.
        embedding = header.tensors.get("token_embd.weight")
        output += _aligned(embedding.bytes) if embedding else 0
    count = header.integer("block_count")
    if count > MOST_LAYERS or len(blocks) != count or max(blocks, default=0) >= count:
        raise ModelFileError(f"{header.path}: {len(blocks)} blocks, but its header says {count}")
    return ModelBytes(tuple(blocks[at] for at in range(count)), output, kept)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def usable(free: int) -> int:
    """Return what of a device's free memory may be planned with; grows with `free`."""
    return max(0, min(free - MARGIN, int(free * (1 - MARGIN_SHARE))))


def plan_layers(
    model: ModelBytes, context: ContextBytes, free: Sequence[int], split: Split = AS_FITS
) -> Placement:
    """Return the placement of as many layers as fit into the devices' `free` bytes, 0 to all.

    Without a `tensor_split` the first device with room for all of them is used alone, otherwise
    devices are filled in their order; with one, layers go where llama.cpp's own rule puts them.
    Raises SettingsError for a device that isn't there.
    """
    room = [usable(one) for one in free]
    for layers in range(model.layers if room else 0, 0, -1):
        placement = place(model, context, room, layers, split)
        if all(taken <= had for taken, had in zip(placement.device_bytes, room, strict=True)):
            return placement
    return Placement(0, (0,) * len(room), (0,) * len(room))


def place(
    model: ModelBytes,
    context: ContextBytes,
    room: Sequence[int],
    layers: int,
    split: Split = AS_FITS,
) -> Placement:
    """Return where the last `layers` layers go, whether or not they fit into `room`.

    Raises SettingsError for a device that isn't there.
    """
    first = model.layers - layers
    if split.mode == "none":
        if split.main_gpu >= len(room):
            raise SettingsError(
                f"main_gpu is {split.main_gpu}, but there are {len(room)} GPUs", param="main_gpu"
            )
        return _on_one(model, context, first, split.main_gpu, len(room))
    shares = _shares(split.tensor_split, room)
    if split.mode == "row":
        counts = _by_share(layers, shares)
        whole = _taken(model, context, first, counts)
        rows = _taken(model, context, first, counts, shares=shares)
        # A backend that can't split rows places whole layers: be ready for either.
        return Placement(layers, counts, tuple(map(max, whole, rows)), shares)
    own = any(split.tensor_split)
    if not own:
        for at, had in enumerate(room):
            if len(room) == 1 or _held(model, context, first, layers) <= had:
                return _on_one(model, context, first, at, len(room))
    if layers == model.layers and len(room) > 1:
        context = _pipelined(context)
    counts = _by_share(layers, shares) if own else _fill_in_order(model, context, first, room)
    taken = _taken(model, context, first, counts)
    return Placement(layers, counts, taken, shares if own else tuple(map(float, counts)))


def _on_one(
    model: ModelBytes, context: ContextBytes, first: int, device: int, devices: int
) -> Placement:
    layers = model.layers - first
    counts = tuple(layers if at == device else 0 for at in range(devices))
    return Placement(layers, counts, _taken(model, context, first, counts), alone=device)


def _pipelined(context: ContextBytes) -> ContextBytes:
    copies = PIPELINE * context.crossing
    return structs.replace(context, compute=context.compute + copies, crossing=0)


def _shares(tensor_split: Sequence[float], room: Sequence[int]) -> tuple[float, ...]:
    if len(tensor_split) > len(room):
        raise SettingsError(
            f"tensor_split names {len(tensor_split)} devices, but there are {len(room)} GPUs",
            param=SHARES,
        )
    if any(tensor_split):
        # llama.cpp adds up in single precision, where a sum may come to nothing or to infinity.
        if not 1e-30 < sum(tensor_split) < 1e30:  # noqa: PLR2004
            raise SettingsError(
                "tensor_split has numbers that are too small or too large", param=SHARES
            )
        return (*tensor_split, *(0.0 for _ in range(len(room) - len(tensor_split))))
    return tuple(float(one) for one in room) if any(room) else (1.0,) * len(room)


def _by_share(layers: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Count each device's layers, in single precision as llama.cpp's `load_tensors` does."""
    ends = np.cumsum(np.asarray(shares, dtype=np.float32), dtype=np.float32)
    ends /= ends[-1]
    starts = np.arange(layers, dtype=np.float32) / np.float32(layers)
    homes = np.searchsorted(ends, starts, side="right")
    return tuple(int(count) for count in np.bincount(homes, minlength=len(shares)))


def _fill_in_order(
    model: ModelBytes, context: ContextBytes, first: int, room: Sequence[int]
) -> tuple[int, ...]:
    """Fill device after device; what fits nowhere is left to the last."""
    counts, layer = [0] * len(room), first
    for at, had in enumerate(room):
        last = at == len(room) - 1
        while layer < model.layers:
            more = counts[at] + 1
            if not last and _held(model, context, layer - counts[at], more) > had:
                break
            counts[at], layer = more, layer + 1
    return tuple(counts)


def _taken(
    model: ModelBytes,
    context: ContextBytes,
    first: int,
    counts: Sequence[int],
    *,
    shares: Sequence[float] | None = None,
) -> tuple[int, ...]:
    found, total = [], sum(shares or ())
    weights = model.between(first, model.layers)
    for at, count in enumerate(counts):
        if shares is None:
            found.append(_held(model, context, first, count))
        else:
            rows = -int(-weights * shares[at] // total)
            found.append(rows + _held(model, context, first, count, weights=False))
        first += count
    return tuple(found)


def _held(
    model: ModelBytes, context: ContextBytes, first: int, count: int, *, weights: bool = True
) -> int:
    """Return what a device takes that holds `count` layers from `first` on."""
    if not count:
        return 0
    end = first + count
    held = model.between(first, end) if weights else 0
    blocks = min(end, len(model.blocks)) - min(first, len(model.blocks))
    last = context.output if end == model.layers else 0
    received = context.crossing if first else 0
    return held + blocks * context.kv + context.compute + last + received
