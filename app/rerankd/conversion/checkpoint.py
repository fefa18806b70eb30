"""A checkpoint: a folder with config.json, a tokenizer and safetensors, read without PyTorch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from gguf.utility import LocalTensor, SafetensorsLocal
from numpy.typing import NDArray

from rerankd.errors import ModelFileError

Numbers: TypeAlias = NDArray[np.float32]

INDEX_FILE, WEIGHTS_FILE = "model.safetensors.index.json", "model.safetensors"
LARGEST_JSON = 64 * 1024**2
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt")
NUMBER_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
"""How NumPy reads what safetensors call so; of BF16 only the bits."""
LICENSE_PATTERN = re.compile(r"\A---\n(?:.*\n)*?license: *([\w.+-]+)")


class Checkpoint:
    """What lies in a folder. Tensors go by the names that the published model gives them."""

    def __init__(self, folder: Path) -> None:
        """Read the configuration and the tensors' places. Raises ModelFileError."""
        if not folder.is_dir():
            raise ModelFileError(
                f"{folder}: neither a folder nor a model of the catalog (`rerankd models` lists"
                " them); a repository on the Hub is given as hf:owner/repo"
            )
        self.folder = folder
        config = self.json("config.json")
        if not isinstance(config, dict):
            raise ModelFileError(f"{folder}: no config.json; give the folder of a model")
        self.config: Mapping[str, Any] = config
        self._tensors = _tensors_of(self)

    @property
    def architecture(self) -> str:
        """The class that transformers loads it with."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def license(self) -> str:
        """The licence that the model card names, empty without one."""
        card = self.folder / "README.md"
        try:
            text = card.read_text("utf-8", "replace") if card.is_file() else ""
        except OSError:
            return ""
        found = LICENSE_PATTERN.match(text.replace("\r\n", "\n"))
        return found[1] if found else ""

    def json(self, name: str) -> Any:
        """Return what a JSON file of the folder holds, None where it is missing."""
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise ModelFileError(f"{path}: larger than {LARGEST_JSON:,} bytes")
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFileError(f"{path}: can't be read: {error}") from error

    def count(self, name: str) -> int:
        """Return a whole number of the configuration. Raises ModelFileError without it."""
        value = self.config.get(name)
        if not isinstance(value, int) or value < 1:
            raise ModelFileError(f"{self.folder}: config.json has no {name}")
        return value

    def names(self) -> tuple[str, ...]:
        """Return the names of all tensors."""
        return tuple(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, rows first. Raises ModelFileError for one that is missing."""
        return tuple(self._tensor(name).shape)

    def array(self, name: str) -> NDArray[Any]:
        """Map a tensor as float32, float16 or float64, BF16 read as float32.

        Raises ModelFileError for one that is missing or of another type.
        """
        return numbers_of(self._tensor(name))

    def _tensor(self, name: str) -> LocalTensor:
        if name not in self._tensors:
            raise ModelFileError(f"{self.folder}: tensor {name} is missing")
        return self._tensors[name]


def numbers_of(tensor: LocalTensor) -> NDArray[Any]:
    """Map a tensor's numbers; see `Checkpoint.array`."""
    if tensor.dtype not in NUMBER_TYPES:
        raise ModelFileError(f"{tensor.data_range.filename}: a tensor of type {tensor.dtype}")
    try:
        found = tensor.mmap_bytes().view(NUMBER_TYPES[tensor.dtype]).reshape(tensor.shape)
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"{tensor.data_range.filename}: a tensor can't be read: {error}"
        ) from error
    if tensor.dtype != "BF16":
        return np.asarray(found)
    return np.asarray((found.astype(np.uint32) << np.uint32(16)).view(np.float32))


def safetensors_in(folder: Path, name: str = WEIGHTS_FILE) -> dict[str, LocalTensor]:
    """Return the tensors of one file. Raises ModelFileError."""
    path = folder / name
    try:
        tensors = dict(SafetensorsLocal(path).tensors)
        size = path.stat().st_size
        for key, tensor in tensors.items():
            place = tensor.data_range
            if place.offset < 0 or place.size < 0 or place.offset + place.size > size:
                raise ValueError(f"tensor {key} lies outside the file")  # noqa: TRY301
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelFileError(f"{path}: can't be read as safetensors: {error}") from error
    return tensors


def _tensors_of(checkpoint: Checkpoint) -> dict[str, LocalTensor]:
    index = checkpoint.json(INDEX_FILE)
    if index is None:
        if (checkpoint.folder / WEIGHTS_FILE).is_file():
            return safetensors_in(checkpoint.folder)
        pickled = [name for name in PICKLED if (checkpoint.folder / name).is_file()]
        reason = f"only {pickled[0]}, a pickle, which can run code" if pickled else "no weights"
        raise ModelFileError(
            f"{checkpoint.folder}: {reason}; give a checkpoint with {WEIGHTS_FILE}"
        )
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(one, str) for one in shards.values()):
        raise ModelFileError(f"{checkpoint.folder / INDEX_FILE}: it has no weight_map")
    found: dict[str, LocalTensor] = {}
    for name in sorted(set(shards.values())):
        if Path(name).name != name:
            raise ModelFileError(f"{checkpoint.folder / INDEX_FILE}: {name!r} is not a file's name")
        found |= safetensors_in(checkpoint.folder, name)
    return found
