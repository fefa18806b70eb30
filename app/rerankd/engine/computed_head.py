"""Score heads that llama.cpp has no formula for, in NumPy and in single precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rerankd.engine.tensor_rows import TensorRows
from rerankd.errors import ModelFileError
from rerankd.families.header import HEAD_PREFIX, Header
from rerankd.families.own_head import HeadLayer, OwnHead
from rerankd.sources import gguf as gguf_file

States: TypeAlias = NDArray[np.float32]
Step: TypeAlias = Callable[[States], States]

ERF_POLYNOMIAL = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
"""Abramowitz and Stegun, 7.1.26: right to 1.5e-7, about the last bit of single precision."""


class ComputedHead:
    """A head's layers, applied to pooled hidden states.

    It keeps no state between calls, so the workers of a model share one.
    """

    def __init__(self, header: Header, head: OwnHead, width: int) -> None:
        """`width` is that of the hidden states.

        Raises ModelFileError where numbers are missing or don't fit each other.
        """
        self._steps: list[Step] = []
        for layer in head.layers:
            step, width = _step_of(header, layer, width)
            self._steps.append(step)
        if width != 1:
            raise ModelFileError(f"{header.path}: its head gives {width} numbers instead of one")

    def logits(self, states: States) -> list[float]:
        """Return one logit for each of `[sequences, width]` states."""
        for step in self._steps:
            states = step(states)
        return [float(logit) for logit in states[:, 0]]


def _step_of(header: Header, layer: HeadLayer, width: int) -> tuple[Step, int]:
    """Return what a layer does, and the width of its results."""
    if layer.kind == "dense":
        weight, bias = _dense(header, layer.name, width)
        return lambda states: states @ weight + bias, len(bias)
    if layer.kind == "norm":
        scale = _numbers(header, f"{layer.name}.weight", width)
        shift = _optional(header, f"{layer.name}.bias", width)
        eps = np.float32(layer.eps)
        return lambda states: _normalized(states, eps) * scale + shift, width
    return ACTIVATION_STEPS[layer.kind], width


def _dense(header: Header, name: str, width: int) -> tuple[States, States]:
    """Return the transposed matrix `[in, out]` and the bias of a dense layer."""
    full = f"{name}.weight"
    tensor = header.tensors.get(full)
    size = math.prod(tensor.shape) if tensor else header.numbers.get(HEAD_PREFIX + full, (0, 0))[1]
    outputs = size // width
    weight = _numbers(header, full, max(outputs, 1) * width).reshape(-1, width)
    return np.ascontiguousarray(weight.T), _optional(header, f"{name}.bias", len(weight))


def _optional(header: Header, name: str, length: int) -> States:
    """Return numbers, zeros where the file has none."""
    known = name in header.tensors or HEAD_PREFIX + name in header.numbers
    return _numbers(header, name, length) if known else np.zeros(length, dtype=np.float32)


def _numbers(header: Header, name: str, length: int) -> States:
    """Return a tensor's numbers, or an array's of the metadata."""
    tensor = header.tensors.get(name)
    if tensor is None:
        return gguf_file.numbers(header, name, length, HEAD_PREFIX)
    if math.prod(tensor.shape) != length:
        raise ModelFileError(
            f"{header.path}: tensor {name} is {list(tensor.shape)}, expected {length} numbers"
        )
    found = TensorRows(header, name, as_row=True).read(np.zeros(1, dtype=np.int32)).ravel()
    if not np.isfinite(found).all():
        raise ModelFileError(f"{header.path}: tensor {name} has values that are not numbers")
    return found


def _normalized(states: States, eps: np.float32) -> States:
    centred = states - states.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + eps)
    return np.asarray(centred / spread, dtype=np.float32)


def _gelu(states: States) -> States:
    return np.asarray(states * (1 + _erf(states * math.sqrt(0.5))) / 2, dtype=np.float32)


def _erf(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the error function, for which NumPy has no function."""
    positive = np.abs(values, dtype=np.float64)
    near = 1 / (1 + 0.3275911 * positive)
    rest = near * np.polyval(ERF_POLYNOMIAL, near) * np.exp(-(positive**2))
    return np.asarray(np.copysign(1 - rest, values), dtype=np.float64)


def _gelu_tanh(states: States) -> States:
    inner = np.float32(math.sqrt(2 / math.pi)) * (states + np.float32(0.044715) * states**3)
    return np.asarray(states * (1 + np.tanh(inner)) / 2, dtype=np.float32)


def _sigmoid(states: States) -> States:
    return np.asarray((1 + np.tanh(states / 2)) / 2, dtype=np.float32)


ACTIVATION_STEPS: dict[str, Step] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "tanh": np.tanh,
    "relu": lambda states: np.maximum(states, np.float32(0)),
    "silu": lambda states: states * _sigmoid(states),
    "sigmoid": _sigmoid,
}
"""By the names in `rerankd.families.own_head`."""
