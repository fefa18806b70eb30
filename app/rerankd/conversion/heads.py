"""Score heads of checkpoints: llama.cpp's own where its formula is the model's, else rerankd's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from rerankd.conversion.checkpoint import Checkpoint, Numbers, numbers_of, safetensors_in
from rerankd.conversion.plan import PlannedTensor
from rerankd.errors import ModelFileError
from rerankd.families.own_head import ACTIVATIONS, HeadLayer, OwnHead, Pooling

ACTIVATION_NAMES = {
    "GELU": "gelu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "Tanh": "tanh",
    "tanh": "tanh",
    "ReLU": "relu",
    "relu": "relu",
    "SiLU": "silu",
    "silu": "silu",
    "Sigmoid": "sigmoid",
    "Identity": "",
    "identity": "",
}
"""Of PyTorch and transformers, by what rerankd calls them; empty: none."""
MODULES = "modules.json"
POOLING_NAMES: dict[str, Pooling] = {"cls": "first", "mean": "mean"}


class Head(Struct, frozen=True):
    """A head and its numbers by name, such as `cls.weight`."""

    own: OwnHead
    numbers: dict[str, Numbers]

    def tensors(self, accepted: tuple[str, ...]) -> tuple[PlannedTensor, ...]:
        """Return the parts that llama.cpp loads as tensors, which is all of a plain one."""
        return tuple(
            PlannedTensor(name, values.shape, _constant(values), exact=True)
            for name, values in self.numbers.items()
            if name in accepted
        )

    def others(self, accepted: tuple[str, ...]) -> dict[str, Numbers]:
        """Return the other parts, without biases of zeros."""
        return {
            name: values
            for name, values in self.numbers.items()
            if name not in accepted and (not name.endswith(".bias") or values.any())
        }


def _constant(values: NDArray[Any]) -> Any:
    return lambda: values


def activation_of(name: Any, where: Path) -> tuple[HeadLayer, ...]:
    """Return the layer of an activation, none for identity. Raises ModelFileError."""
    known = ACTIVATION_NAMES.get(str(name).rpartition(".")[2])
    if known is None:
        raise ModelFileError(f"{where}: its head has the activation {name}, which is not known")
    assert not known or known in ACTIVATIONS  # noqa: S101 - two tables that belong together
    return (HeadLayer(known),) if known else ()


def require_one_label(checkpoint: Checkpoint, weight: str) -> None:
    """Raise ModelFileError unless a classifier gives one number, a relevance."""
    labels = checkpoint.shape(weight)[0]
    if labels != 1:
        raise ModelFileError(
            f"{checkpoint.folder}: it sorts pairs into {labels} classes and gives no relevance"
        )


def as_floats(numbers: NDArray[Any]) -> Numbers:
    """Return a tensor's numbers in F32."""
    return np.ascontiguousarray(numbers, dtype=np.float32)


def present(checkpoint: Checkpoint, sources: dict[str, str]) -> dict[str, Numbers]:
    """Return numbers by name for those `sources` that the checkpoint has."""
    known = set(checkpoint.names())
    return {name: as_floats(checkpoint.array(one)) for name, one in sources.items() if one in known}


def head_of_modules(checkpoint: Checkpoint) -> Head | None:
    """Return the head that sentence-transformers' modules make, None where there are none.

    The first module is the network; then come pooling, dense layers and norms. Raises
    ModelFileError for another chain.
    """
    modules = checkpoint.json(MODULES)
    if not isinstance(modules, list):
        return None
    layers: tuple[HeadLayer, ...] = ()
    numbers: dict[str, Numbers] = {}
    pooling: Pooling | None = None
    names = iter(("cls", "cls.output"))
    for module in modules[1:]:
        kind, folder = kind_and_folder(checkpoint, module)
        inner = checkpoint.json(f"{folder}/config.json") or {}
        if kind == "Pooling":
            pooling = _pooling(checkpoint, inner)
        elif kind == "Dense":
            if inner.get("use_residual"):
                raise ModelFileError(f"{checkpoint.folder}: its head adds a layer's input again")
            name = next(names, f"dense{len(layers)}")
            layers += (
                HeadLayer("dense", name),
                *activation_of(inner.get("activation_function"), checkpoint.folder),
            )
            numbers |= _head_parts(checkpoint, folder, name, "linear")
        elif kind == "LayerNorm":
            layers += (HeadLayer("norm", "cls.norm", inner.get("eps", 1e-5)),)
            numbers |= _head_parts(checkpoint, folder, "cls.norm", "norm")
        elif kind != "Dropout":
            raise ModelFileError(f"{checkpoint.folder}: its head has a module {kind}")
    if pooling is None or not layers:
        raise ModelFileError(f"{checkpoint.folder}: {MODULES} has no score head")
    return Head(OwnHead(pooling, layers), numbers)


def kind_and_folder(checkpoint: Checkpoint, module: Any) -> tuple[str, str]:
    """Return a module's kind and its folder."""
    try:
        kind, folder = module["type"].rpartition(".")[2], module["path"]
        inside = Path(folder).name == folder
    except (LookupError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{checkpoint.folder / MODULES}: can't be read: {error!r}") from error
    if not inside:
        raise ModelFileError(f"{checkpoint.folder / MODULES}: {folder!r} is not a folder in it")
    return kind, folder


def _pooling(checkpoint: Checkpoint, inner: dict[str, Any]) -> Pooling:
    flags = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}
    flagged = next((mode for mode, flag in flags.items() if inner.get(flag)), None)
    mode = inner.get("pooling_mode", flagged)
    if mode not in POOLING_NAMES:
        raise ModelFileError(f"{checkpoint.folder}: its head pools by {mode}, not cls or mean")
    return POOLING_NAMES[mode]


def _head_parts(checkpoint: Checkpoint, folder: str, name: str, inner: str) -> dict[str, Numbers]:
    tensors = safetensors_in(checkpoint.folder / folder)
    return {
        f"{name}.{kind}": as_floats(numbers_of(tensors[f"{inner}.{kind}"]))
        for kind in ("weight", "bias")
        if f"{inner}.{kind}" in tensors
    }
