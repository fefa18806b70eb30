"""What the locks in requirements/ pin, and which of it a package needs on a machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.engine_wheel import UNUSED

ENGINE = "llama-cpp-python"
PYTHONS = ("3.11", "3.12", "3.13")


@dataclass(frozen=True)
class Pin:
    """A package at one version: `requirement` is the lock's, with its marker."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        return only.version

    def applies(self, environment: Mapping[str, str]) -> bool:
        """Whether the lock wants it there."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(dict(environment))

    def text(self, *, marked: bool = True) -> str:
        """Return its lines of a requirements file, with its marker or without."""
        marker = f" ; {self.requirement.marker}" if marked and self.requirement.marker else ""
        return " \\\n".join((f"{self.name}=={self.version}{marker}", *_hash_lines(self.hashes)))


def _hash_lines(hashes: Iterable[str]) -> Iterator[str]:
    return (f"    --hash={one}" for one in sorted(hashes))


def read_lock(text: str) -> list[Pin]:
    """Return what a lock pins, in its order."""
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [
        Pin(Requirement(asked.strip()), tuple(hash_.strip() for hash_ in hashes))
        for asked, *hashes in (line.split("--hash=") for line in lines if line.strip())
    ]


def machine(python: str, architecture: str) -> dict[str, str]:
    """Return what markers ask about a Linux machine with this Python."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_machine": architecture,
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def needed(
    package: str, environment: Mapping[str, str], extras: Iterable[str] = ()
) -> dict[str, set[str]]:
    """Return what a package and all that it needs need, each by its canonical name.

    Read from the metadata of what is installed. Raises PackageNotFoundError where something isn't.
    """
    found: dict[str, set[str]] = {}
    waiting = [(canonicalize_name(package), frozenset(extras))]
    while waiting:
        name, asked = waiting.pop()
        own = found.setdefault(name, set())
        for one in _direct(name, asked, environment):
            if one.name != UNUSED and canonicalize_name(one.name) not in own:
                own.add(canonicalize_name(one.name))
                waiting.append((canonicalize_name(one.name), frozenset(one.extras)))
    return found


def _direct(
    name: str, extras: Iterable[str], environment: Mapping[str, str]
) -> Iterator[Requirement]:
    for one in requirements_of(name):
        if one.marker is None or any(
            one.marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)
        ):
            yield one


@cache
def requirements_of(package: str) -> tuple[Requirement, ...]:
    """Return what an installed package asks for, with its extras."""
    return tuple(Requirement(line) for line in requires(package) or ())
