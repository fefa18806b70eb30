"""What a measurement was made with: when, on which machine, with which versions and files."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from msgspec import Struct

from rerankd import __version__, machine
from rerankd.deployments.applied_tuning import processor
from rerankd.errors import InvalidRequest
from rerankd.sources.catalog import file_digest
from rerankd.utf8 import without_surrogates

VERSIONS_OF = ("llama-cpp-python", "numpy")
"""Packages whose version figures may depend on."""
GIBIBYTE = 1024**3
SHOWN_DIGITS = 12
"""Digits of a digest that a person is shown."""


class MeasuredFile(Struct, frozen=True, kw_only=True):
    """A file that was measured with, without its folder."""

    name: str
    sha256: str


class Provenance(Struct, frozen=True, kw_only=True):
    """What has to be known to compare figures with others, or to measure them again."""

    date: str
    """ISO 8601, in UTC."""
    processor: str
    cores: int
    memory_bytes: int
    system: str
    versions: Mapping[str, str]
    """By package; `python` is the interpreter."""
    files: tuple[MeasuredFile, ...] = ()


def provenance_of(files: Iterable[Path] = ()) -> Provenance:
    """Return what a measurement that ends now was made with.

    Raises InvalidRequest for a file that can't be read.
    """
    versions = {"rerankd": __version__, "python": platform.python_version()}
    return Provenance(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        processor=processor(),
        cores=machine.available_cores(),
        memory_bytes=machine.total_memory(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=versions | {name: _version_of(name) for name in VERSIONS_OF},
        files=tuple(_file_measured(path) for path in dict.fromkeys(files)),
    )


def _version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _file_measured(path: Path) -> MeasuredFile:
    try:
        return MeasuredFile(name=without_surrogates(path.name), sha256=file_digest(path))
    except OSError as error:
        raise InvalidRequest(f"{path}: {error.strerror}") from error


def provenance_lines(made: Provenance, *, shown_digits: int = SHOWN_DIGITS) -> list[str]:
    """Return it in lines for a person, with so many digits of each file's SHA-256."""
    versions = ", ".join(f"{name} {version}" for name, version in made.versions.items())
    memory = f"{made.memory_bytes / GIBIBYTE:.0f} GiB"
    return [
        f"{made.date}, {made.processor}, {made.cores} cores, {memory}, {made.system}",
        versions,
        *(f"{one.name}: sha256 {_some_digits(one.sha256, shown_digits)}" for one in made.files),
    ]


def _some_digits(digest: str, digits: int) -> str:
    return digest if len(digest) <= digits else f"{digest[:digits]}…"


def short_names(sources: Iterable[str]) -> dict[str, str]:
    """Return a name for each source of a model: of a path the file's, where that is clear."""
    found = {one: Path(one).name if "/" in one and ":" not in one else one for one in sources}
    names = list(found.values())
    return {one: name if names.count(name) == 1 else one for one, name in found.items()}
