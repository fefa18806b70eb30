"""Manifests of models we know: one TOML file a model in models/, unknown keys refused."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from app.errors import ModelFileError

DEFAULT = "rerank-mini-en"


class Weights(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A weights file: its name beside the manifest, size in bytes and SHA-256 in hex."""

    file: str
    bytes: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What we know of a model beyond its file's own header."""

    id: str
    title: str
    description: str
    license: str
    languages: tuple[str, ...]
    parameters: int
    context: int
    weights: Weights
    bare_head: bool = False
    """True for a cross-encoder trained without pooler and with all segment ids 0."""


def folder() -> Path:
    """Return the folder of manifests: inside the installed package, else beside it."""
    package = Path(__file__).parent
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def load(path: Path) -> Manifest:
    """Read one manifest. Raises ModelFileError that names the file and the wrong key."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Manifest)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelFileError(f"{path.name}: {error}") from error


def manifests() -> tuple[Manifest, ...]:
    """Return all manifests by file name."""
    return tuple(load(path) for path in sorted(folder().glob("*.toml")))


def find(model_id: str) -> Manifest | None:
    """Return the manifest with this id."""
    return next((known for known in manifests() if known.id == model_id), None)


def weights_path(manifest: Manifest) -> Path:
    """Return where an embedded model's weights lie."""
    return folder() / manifest.weights.file


def identify(path: Path) -> Manifest | None:
    """Return the manifest whose weights are byte for byte the file at `path`."""
    size = path.stat().st_size
    for known in manifests():
        if known.weights.bytes == size and known.weights.sha256 == digest(path):
            return known
    return None


def digest(path: Path) -> str:
    """Return a file's SHA-256 in hex, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
