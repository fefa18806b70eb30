"""A release's bill of materials: what is in its files, by the locks and the builds (CycloneDX)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import (
    Component,
    ComponentType,
    Diff,
    Patch,
    PatchClassification,
    Pedigree,
)
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from release.dependencies import file_hash
from release.locks import ENGINE, Pin
from release.shared_libraries import Library

LONGEST_LICENCE = 100
"""Some packages have their licence's whole text where its name belongs."""


@dataclass(frozen=True)
class Weights:
    """An embedded model's file."""

    file: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class Contents:
    """What a release is made of."""

    version: str
    built: int
    """Seconds since 1970."""
    files: Iterable[Path]
    """Those that somebody downloads."""
    models: Iterable[Weights]
    engine: str
    """The engine wheels' version."""
    patches: Iterable[str]
    """Files that changed llama.cpp, by their place in the repository."""
    pins: Iterable[Pin]
    needs: Mapping[str, Iterable[str]]
    """What each package needs, by canonical names."""
    libraries: Iterable[Library] = field(default=())


def bill(contents: Contents) -> str:
    """Return the bill as JSON. Raises ValueError unless it is valid by CycloneDX's schema 1.6."""
    rerankd = Component(
        name="rerankd",
        version=contents.version,
        type=ComponentType.APPLICATION,
        bom_ref="rerankd",
        purl=PackageURL("pypi", None, "rerankd", contents.version),
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )
    engine = _engine(contents)
    packages = [_package(pin) for pin in contents.pins if pin.name != ENGINE]
    rest = [
        *map(_library, dict.fromkeys(contents.libraries)),
        *map(_file, contents.files),
        *map(_model, contents.models),
    ]
    made = Bom(components=[engine, *packages, *rest])
    made.metadata.component = rerankd
    made.metadata.timestamp = datetime.fromtimestamp(contents.built, UTC)
    for component in (rerankd, engine, *packages):
        known = [one for one in (engine, *packages) if one.name in contents.needs[component.name]]
        made.register_dependency(component, known)
    made.register_dependency(rerankd, rest)
    # The same contents have the same number.
    unnumbered = [f"{one.type}{one.name}{one.version}{list(one.hashes)}" for one in made.components]
    made.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"rerankd {contents.version} {unnumbered}")
    text = JsonV1Dot6(made).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the bill of materials is not valid: {str(error)[:500]}")
    return text + "\n"


def _engine(contents: Contents) -> Component:
    upstream = contents.engine.partition("+")[0]
    published = PackageURL("pypi", None, ENGINE, upstream)
    original = Component(
        name=ENGINE, version=upstream, bom_ref=published.to_string(), purl=published
    )
    llama = Component(
        name="llama.cpp",
        bom_ref="llama.cpp",
        purl=PackageURL("github", "ggml-org", "llama.cpp"),
        licenses=_licences("MIT"),
    )
    patches = [
        Patch(type=PatchClassification.UNOFFICIAL, diff=Diff(url=XsUri(path)))
        for path in contents.patches
    ]
    return Component(
        name=ENGINE,
        version=contents.engine,
        bom_ref=ENGINE,
        purl=PackageURL("pypi", None, ENGINE, contents.engine),
        licenses=_licences("MIT"),
        components=[llama],
        pedigree=Pedigree(ancestors=[original], patches=patches),
    )


def _package(pin: Pin) -> Component:
    purl = PackageURL("pypi", None, pin.name, pin.version)
    return Component(
        name=pin.name,
        version=pin.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=_licences(_licence_of(pin.name)),
    )


def _licence_of(package: str) -> str:
    """Return what an installed package says of its licence; nothing where it isn't installed."""
    try:
        found = metadata(package)
    except PackageNotFoundError:
        return ""
    said = found.get("License-Expression") or found.get("License") or ""
    if said and said != "UNKNOWN" and len(said) < LONGEST_LICENCE:
        return said
    start = "License :: "
    classes = (one for one in found.get_all("Classifier") or () if one.startswith(start))
    return next((one.rpartition(" :: ")[2] for one in classes), "")


def _licences(name: str) -> list[License]:
    return [LicenseFactory().make_from_string(name)] if name else []


def _library(library: Library) -> Component:
    return Component(
        name=library.name,
        version=library.version,
        purl=library.purl,
        bom_ref=str(library.purl or f"library {library.name} {library.sha256}"),
        hashes=_hashes(library.sha256),
    )


def _file(path: Path) -> Component:
    return Component(
        name=path.name,
        type=ComponentType.FILE,
        bom_ref=f"file {path.name}",
        hashes=_hashes(file_hash(path)),
    )


def _model(weights: Weights) -> Component:
    return Component(
        name=weights.file,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"model {weights.file}",
        hashes=_hashes(weights.sha256),
        licenses=_licences(weights.licence),
    )


def _hashes(sha256: str | None) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []
