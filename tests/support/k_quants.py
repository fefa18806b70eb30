"""Q4_K and Q6_K blocks of given weights, which the gguf package reads but doesn't write.

Simpler than llama.cpp's, which searches for the best scales: these are the smallest that fit.
"""

from __future__ import annotations

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

BLOCK = 256
Q4_K, Q6_K = GGMLQuantizationType.Q4_K, GGMLQuantizationType.Q6_K


def quantize_k(values: Floats, kind: GGMLQuantizationType) -> Bytes:
    """Return the rows' blocks; a row has a multiple of 256 weights."""
    blocks = {Q4_K: _q4_k, Q6_K: _q6_k}[kind](values.reshape(-1, BLOCK))
    return blocks.reshape(len(values), -1)


def round_to_q8_k(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round what meets such weights as ggml does: 8 bits and one scale for 256 values."""
    blocks = values.astype(np.float32).reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.float32(-127) / largest
        rounded = np.minimum(np.rint(steps * blocks), 127) * (np.float32(1) / steps)
    return np.where(largest == 0, 0, rounded).astype(np.float64).reshape(values.shape)


def _divided(values: Floats, by: Floats) -> Floats:
    return np.divide(values, by, out=np.zeros_like(values), where=by != 0)


def _halves(values: Floats) -> Bytes:
    return values.astype(np.float16).view(np.uint8).reshape(len(values), 2)


def _q4_k(blocks: Floats) -> Bytes:
    """Eight groups of 32: a scale and a minimum of six bits, and weights of four."""
    groups = blocks.reshape(-1, 8, 32)
    least = -np.minimum(groups.min(2), 0)
    steps = (groups.max(2) + least) / 15
    d, dmin = (part.max(1, keepdims=True) / 63 for part in (steps, least))
    scales = np.rint(_divided(steps, np.broadcast_to(d, steps.shape))).astype(np.uint8)
    mins = np.rint(_divided(least, np.broadcast_to(dmin, least.shape))).astype(np.uint8)
    shifted = groups + (dmin * mins)[:, :, None]
    step = np.broadcast_to((d * scales)[:, :, None], shifted.shape)
    q = np.clip(np.rint(_divided(shifted, step)), 0, 15).astype(np.uint8)
    packed = np.empty((len(blocks), 12), np.uint8)
    packed[:, :4] = scales[:, :4] | scales[:, 4:] >> 4 << 6
    packed[:, 4:8] = mins[:, :4] | mins[:, 4:] >> 4 << 6
    packed[:, 8:] = scales[:, 4:] & 15 | (mins[:, 4:] & 15) << 4
    pairs = q.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    return np.hstack((_halves(d), _halves(dmin), packed, nibbles))


def _q6_k(blocks: Floats) -> Bytes:
    """Sixteen groups of 16: a scale of eight bits, and weights of six."""
    groups = blocks.reshape(-1, 16, 16)
    steps = np.abs(groups).max(2) / 31
    d = steps.max(1, keepdims=True) / 127
    scales = np.rint(_divided(steps, np.broadcast_to(d, steps.shape))).astype(np.int8)
    step = np.broadcast_to((d * scales)[:, :, None], groups.shape)
    signed = np.clip(np.rint(_divided(groups, step)), -32, 31)
    q = (signed + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = q & 15
    ql = np.concatenate((low[:, :, 0] | low[:, :, 2] << 4, low[:, :, 1] | low[:, :, 3] << 4), 2)
    high = q >> 4
    qh = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    count = len(blocks)
    return np.hstack(
        (ql.reshape(count, -1), qh.reshape(count, -1), scales.view(np.uint8), _halves(d))
    )
