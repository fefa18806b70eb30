"""Heads that rerankd computes: what files may say, and the arithmetic."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter
from numpy.typing import NDArray

from rerankd.engine.computed_head import ComputedHead
from rerankd.errors import ModelFileError
from rerankd.families.own_head import ACTIVATIONS, HeadLayer, OwnHead
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header

Floats = NDArray[np.float32]
STATES: Floats = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], dtype=np.float32)


def headed(folder: Path, numbers: dict[str, Floats], *layers: str, **metadata: Any) -> Header:
    """Write a file with a head, matrices as tensors and vectors in its metadata."""
    writer = GGUFWriter(folder / "head.gguf", "modern-bert")
    keys = {"version": 1, "pooling": "first", "layers": list(layers)} | metadata
    writer.add_uint32("rerankd.head.version", keys["version"])
    writer.add_string("rerankd.head.pooling", keys["pooling"])
    if keys["layers"]:
        writer.add_array("rerankd.head.layers", keys["layers"])
    for name, values in numbers.items():
        if values.ndim > 1:
            writer.add_tensor(name, values)
        else:
            writer.add_array(f"rerankd.head.{name}", values.tolist())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return gguf_file.read(folder / "head.gguf")


def computed(header: Header) -> ComputedHead:
    own = OwnHead.of(header)
    assert own is not None
    return ComputedHead(header, own, STATES.shape[1])


WEIGHT = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 1.0]], dtype=np.float32)
OUT = np.array([[2.0, -3.0]], dtype=np.float32)


def test_layers_follow_each_other(tmp_path: Path) -> None:
    """Dense layers with and without bias, an activation, and a norm with a shift of its own."""
    shift, bias = np.array([0.1, -0.2], np.float32), np.array([0.25], np.float32)
    scale = np.array([1.5, 0.5], np.float32)
    numbers = {"cls.weight": WEIGHT, "cls.norm.weight": scale, "cls.norm.bias": shift}
    numbers |= {"cls.output.weight": OUT, "cls.output.bias": bias}
    layers = ("dense cls", "tanh", "norm cls.norm 1e-05", "dense cls.output")
    found = computed(headed(tmp_path, numbers, *layers)).logits(STATES)

    hidden = np.tanh(STATES.astype(np.float64) @ WEIGHT.T)
    hidden -= hidden.mean(axis=1, keepdims=True)
    hidden /= np.sqrt((hidden**2).mean(axis=1, keepdims=True) + 1e-5)
    expected = ((hidden * scale + shift) @ OUT.T + bias)[:, 0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
        (
            "gelu_tanh",
            lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        ),
        ("tanh", math.tanh),
        ("relu", lambda x: max(x, 0)),
        ("silu", lambda x: x / (1 + math.exp(-x))),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x))),
    ],
)
def test_activations_are_those_of_their_names(tmp_path: Path, name: str, expected: Any) -> None:
    """Each activation is its formula."""
    head = computed(
        headed(tmp_path, {"cls.weight": np.ones((1, 3), np.float32)}, "dense cls", name)
    )
    found = head.logits(STATES)

    np.testing.assert_allclose(found, [expected(float(row.sum())) for row in STATES], atol=1e-6)


def test_every_activation_is_computed() -> None:
    """What files may name, the engine knows."""
    assert all(str(HeadLayer.parse(name)) == name for name in ACTIVATIONS)


@pytest.mark.parametrize(
    ("numbers", "layers", "reason"),
    [
        ({"cls.weight": WEIGHT}, ("dense cls",), "gives 2 numbers instead of one"),
        ({}, ("dense cls",), "cls.weight has 0 numbers, expected 3"),
        ({"cls.weight": WEIGHT[:, :2]}, ("dense cls",), "expected 3 numbers"),
        ({"cls.weight": WEIGHT * np.nan}, ("dense cls",), "values that are not numbers"),
        (
            {"n.weight": np.ones(2, np.float32)},
            ("norm n 1e-5",),
            "n.weight has 2 numbers, expected 3",
        ),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    tmp_path: Path, numbers: dict[str, Floats], layers: tuple[str, ...], reason: str
) -> None:
    """A damaged file is refused when it is loaded, with the part that is wrong."""
    with pytest.raises(ModelFileError, match=reason):
        computed(headed(tmp_path, numbers, *layers))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "version is 2; this rerankd reads 1"),
        ({"pooling": "last"}, "pooling is 'last'"),
        ({"layers": []}, "layers is None"),
        ({"layers": ["gelu"] * 17}, "layers is"),
        ({"layers": ["softmax"]}, "unknown layer 'softmax'"),
        ({"layers": ["norm cls.norm wide"]}, "could not convert"),
    ],
)
def test_a_head_of_another_kind_is_refused(
    tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    """A later version's head is no head here, and nothing of it is guessed."""
    verdict = gguf_file.judge(headed(tmp_path, {"cls.weight": WEIGHT}, "dense cls", **changed))

    assert verdict.kind == "foreign"
    assert reason in verdict.reason
