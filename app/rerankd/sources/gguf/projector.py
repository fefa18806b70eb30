"""Projectors: the files, usually called mmproj, that let a model see pictures.

A projector turns a picture into embeddings as wide as the model's own. Only its header is read
here; llama.cpp reads the rest.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from rerankd.errors import ModelFileError
from rerankd.families.header import Header
from rerankd.families.prompt_format import PictureFormat
from rerankd.sources.gguf.header import read

PROJECTOR_ARCHITECTURE, PROJECTOR_TYPE = "clip", "mmproj"
"""Values of `general.architecture` and `general.type`."""
PATCHES = "v.patch_embd.weight"
LAST_LAYERS = ("mm.2.weight", "mm.2.bias")
"""The last layer's tensors, which have the width of the model."""


class Projector(Struct, frozen=True):
    """What the header of a projector says."""

    header: Header
    type: str
    """Value of `clip.projector_type`: how its last layers are built."""
    width: int
    """Of its embeddings."""
    factor: int
    """Pixels of a side that one token covers."""
    deepstack: int
    """Layers of the model that get embeddings of their own."""


def is_projector(header: Header) -> bool:
    """Return whether a file is a projector and no model."""
    return header.architecture == PROJECTOR_ARCHITECTURE or (
        header.metadata.get("general.type") == PROJECTOR_TYPE
    )


def projector_type(header: Header) -> str:
    """Return how a projector's last layers are built, empty where it doesn't say."""
    keys = ("clip.projector_type", "clip.vision.projector_type")
    found = next((header.metadata[key] for key in keys if key in header.metadata), "")
    return found if isinstance(found, str) else ""


def read_projector(path: Path) -> Projector:
    """Read a projector's header, within the limits of any header.

    Raises ModelFileError as `projector_of` does.
    """
    return projector_of(read(path))


def projector_of(header: Header) -> Projector:
    """Return what a header says of a projector.

    Raises ModelFileError, one line that says what is wrong, for a file that is no projector of
    pictures, and where its numbers can't be right.
    """
    path = header.path
    if not is_projector(header):
        raise ModelFileError(f"{path}: no projector (mmproj) but a model of its own")
    if header.metadata.get("clip.has_vision_encoder") is not True:
        raise ModelFileError(f"{path}: a projector that reads no pictures (it may read audio)")
    width = _positive(header, "projection_dim")
    patch, heads = _positive(header, "patch_size"), _positive(header, "attention.head_count")
    if _positive(header, "embedding_length") % heads:
        raise ModelFileError(f"{path}: its width is no multiple of its {heads} heads")
    for name in ("image_size", "feed_forward_length", "block_count"):
        _positive(header, name)
    _require_shapes(header, patch, width)
    stacked = header.metadata.get("clip.vision.is_deepstack_layers")
    layers = stacked.count(True) if isinstance(stacked, list) else 0
    factor = patch * _positive(header, "spatial_merge_size", 1)
    return Projector(header, projector_type(header), width, factor, layers)


def _positive(header: Header, name: str, default: int = 0) -> int:
    value = header.metadata.get(f"clip.vision.{name}", default)
    # Python's bool is an int, and llama.cpp keeps these in 32 bits.
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise ModelFileError(f"{header.path}: clip.vision.{name} is {str(value)[:40]!r}")
    return value


def _require_shapes(header: Header, patch: int, width: int) -> None:
    """Raise ModelFileError where the tensors contradict the metadata."""
    first = header.tensors.get(PATCHES)
    if first is None or first.shape[:2] != (patch, patch):
        found = "missing" if first is None else f"{list(first.shape)}"
        raise ModelFileError(f"{header.path}: tensor {PATCHES} is {found}, its patch {patch}")
    for name in LAST_LAYERS:
        last = header.tensors.get(name)
        if last is not None and last.shape[-1] != width:
            raise ModelFileError(
                f"{header.path}: tensor {name} is {list(last.shape)}, clip.vision.projection_dim"
                f" {width}"
            )


def misfit(projector: Projector, model: Header, pictures: PictureFormat) -> str:
    """Return why a projector can't go with a model, empty where it can."""
    if pictures.projectors and projector.type not in pictures.projectors:
        wanted = " or ".join(pictures.projectors)
        return f"its projector type is {projector.type[:40] or 'not named'}, the model's {wanted}"
    if projector.factor != pictures.factor:
        return f"a token of it covers {projector.factor} pixels a side, not {pictures.factor}"
    width, layers = model.integer("embedding_length"), model.integer("n_deepstack_layers")
    if projector.width != width:
        return f"its embeddings have {projector.width} numbers, the model's {width}"
    if projector.deepstack != layers:
        return f"it feeds {projector.deepstack} further layers, the model takes {layers}"
    return ""
