"""Prints a lock's entries for one Python on Linux, for pip: python -m gpu.lock LOCK VERSION

pip asks markers of the Python that it runs in, also when it downloads for another one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from packaging.markers import Marker

LEFT_OUT = {
    "llama-cpp-python",  # is built on the machine
    "hf-xet",  # only downloads models
    *("hatchling", "pathspec", "pluggy", "trove-classifiers"),  # build packages
}
PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==\S+(?: *; *(?P<marker>.*?))? *\\?$")


def main() -> None:
    """Print the entries, hashes included."""
    lock, version = sys.argv[1:]
    print(chosen(Path(lock).read_text(), version), end="")


def chosen(lock: str, version: str) -> str:
    """Return the entries for a version of Python ("3.12"), without markers."""
    machine = {
        "python_version": version,
        "python_full_version": f"{version}.3",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    kept, keep = [], False
    for line in lock.splitlines(keepends=True):
        found = PIN.match(line.strip())
        if found:
            marker = found["marker"]
            keep = found["name"] not in LEFT_OUT and (
                not marker or Marker(marker).evaluate(machine)
            )
        elif not line.startswith((" ", "\t")):
            keep = False
        if keep:
            kept.append(re.sub(r" *;[^\\]*", " ", line))
    return "".join(kept)


if __name__ == "__main__":
    main()
