"""The shared libraries that a release carries from the system that built it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from packageurl import PackageURL

from release.dependencies import file_hash

GRAFTED = re.compile(r"-[0-9a-f]{8}\b")
"""In the name of a library that came in a wheel: that wheel's package is in the bill already."""


PYTHONS_OWN = re.compile(r"^libpython|\.cpython-")


@dataclass(frozen=True)
class Library:
    """A system's package, or a file where no package is known to have it."""

    name: str
    version: str | None = None
    purl: PackageURL | None = None
    sha256: str | None = None


Find = Callable[[str], Library | None]
"""Returns the package that has a file of this name; None where none is known."""


def of_binary(folder: Path, packages: Path | None = None) -> list[Library]:
    """Return what PyInstaller's folder has of the system, the Python that runs it, and zstd.

    The launcher in front of the folder is linked with zstd's static library. Of a cross build,
    `packages` lists the packages of the root that it was made in, as scripts/cross.sh writes it.
    """
    find = finder_of(packages.read_text("utf-8")) if packages else find_installed
    found = {
        _library(path, find)
        for path in folder.glob("*.so*")
        if not GRAFTED.search(path.name) and not PYTHONS_OWN.search(path.name)
    }
    if packages:
        pythons = [find(path.name) for path in folder.glob("libpython3.*")]
    else:
        pythons = [Library("cpython", sys.version.split()[0])]
    found |= {one for one in [*pythons, find("libzstd.a")] if one}
    return sorted(found, key=lambda one: one.name)


def of_wheels(wheels: Iterable[Path]) -> list[Library]:
    """Return what auditwheel added to wheels, as it says inside them."""
    found = set()
    for path in wheels:
        with zipfile.ZipFile(path) as wheel:
            bills = [name for name in wheel.namelist() if name.endswith("auditwheel.cdx.json")]
            for one in (json.loads(wheel.read(name)) for name in bills):
                found |= {
                    Library(each["name"], each["version"], PackageURL.from_string(each["purl"]))
                    for each in one["components"]
                    if not each["purl"].startswith("pkg:pypi/")
                }
    return sorted(found, key=lambda one: one.name)


def _library(path: Path, find: Find) -> Library:
    # The loader has a name of our own; its package is the C library's.
    name = "libc.so.6" if path.name.startswith("ld-rerankd") else path.name
    return find(name) or Library(path.name, sha256=file_hash(path))


def finder_of(listed: str) -> Find:
    """Return what finds a file's package in lines of a package, its version and a file's path."""
    packages = {}
    for line in listed.splitlines():
        package, version, path = line.split(" ", 2)
        packages[path.rpartition("/")[2]] = _of_debian(package, version)
    return packages.get


def find_installed(name: str) -> Library | None:
    """Return this system's Debian package with a file of this name; None where none is known."""
    said = _dpkg_query("--search", f"*/{name}").splitlines()
    packages = {line.partition(":")[0] for line in said if line.endswith(f"/{name}")}
    for package in sorted(packages):
        version = _dpkg_query("--show", "--showformat", "${Version}\n", package).split()
        if version:
            return _of_debian(package, version[0])
    return None


def _of_debian(package: str, version: str) -> Library:
    return Library(package, version, PackageURL("deb", "debian", package, version))


def _dpkg_query(*words: str) -> str:
    program = shutil.which("dpkg-query")
    if program is None:
        return ""
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    return done.stdout
