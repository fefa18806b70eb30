"""A version of the repository as house.py reads it: a folder, or a git revision."""

from __future__ import annotations

import ast
import io
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "app/rerankd")
"""Where the package was and is: `app/` up to 71f71be, `app/rerankd/` since."""

READ = ("app", "models")
"""Folders whose files are looked at."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Checkout:
    """The names of a version's files, and the text of its Python files."""

    name: str
    files: frozenset[str]
    texts: Mapping[str, str]

    @property
    def column(self) -> int:
        """Which of PACKAGES it has, and so which column of house_tables.py is about it."""
        return int(f"{PACKAGES[1]}/__init__.py" in self.files)

    @property
    def package(self) -> str:
        """The folder of the package, from the repository's root."""
        return PACKAGES[self.column]

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Modules by their path inside the package."""
        start = f"{self.package}/"
        inside = sorted(path for path in self.texts if path.startswith(start))
        return {path.removeprefix(start): ast.parse(self.texts[path], path) for path in inside}

    def lines(self, module: str) -> int:
        """Return how many lines a module of the package has."""
        return len(self.texts[f"{self.package}/{module}"].splitlines())

    def has(self, place: str) -> bool:
        """Return whether a file is there, or as `file:name` a function, class or constant in it."""
        path, _, name = place.partition(":")
        if path not in self.files or not name:
            return path in self.files
        nodes = list(ast.walk(ast.parse(self.texts[path])))
        defined = {node.name for node in nodes if isinstance(node, Definition)}
        return name in defined | {one.id for one in nodes if isinstance(one, ast.Name)}


def checkout(where: str) -> Checkout:
    """Read a folder, or a revision of this repository. Raises CalledProcessError for neither."""
    return _of_folder(Path(where)) if Path(where).is_dir() else _of_revision(where)


def _of_folder(root: Path) -> Checkout:
    paths = [path for one in READ for path in (root / one).rglob("*") if path.is_file()]
    names = {path.relative_to(root).as_posix(): path for path in paths}
    sources = {name: path for name, path in names.items() if path.suffix == ".py"}
    texts = {name: path.read_text("utf-8") for name, path in sources.items()}
    return Checkout(str(root), frozenset(names), texts)


def _of_revision(name: str) -> Checkout:
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", name, *READ]
    packed = subprocess.run(command, capture_output=True, check=True).stdout
    names, texts = set(), {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile():
                names.add(member.name)
            content = archive.extractfile(member) if member.name.endswith(".py") else None
            if content:
                texts[member.name] = content.read().decode()
    return Checkout(name, frozenset(names), texts)
