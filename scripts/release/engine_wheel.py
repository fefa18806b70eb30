"""Turns an installed llama-cpp-python into the folder of an engine wheel, for `wheel pack`.

python -m release.engine_wheel SITE_PACKAGES VERSION ARCHITECTURE LICENCES FOLDER

An installation has each library under three names, as copies. In the wheel it has one, by which the
others ask for it: two copies in one process would be two lists of backends.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

UNUSED = "diskcache"
"""llama-cpp-python's high-level API imports it, rerankd never does: it reads pickles."""


def main() -> None:
    """Make the folder."""
    site, version, architecture, licences, folder = sys.argv[1:]
    assemble(Path(site), version, architecture, Path(licences), Path(folder))


def assemble(site: Path, version: str, architecture: str, licences: Path, folder: Path) -> None:
    """Copy the package and its metadata into a new folder, as this version for this architecture.

    Raises ValueError unless exactly one llama-cpp-python is installed there.
    """
    (installed,) = site.glob("llama_cpp_python-*.dist-info")
    keep = shutil.ignore_patterns("__pycache__", "*.so.*", "*.a")
    shutil.copytree(site / "llama_cpp", folder / "llama_cpp", ignore=keep)
    name_once(folder / "llama_cpp" / "lib")
    described = folder / f"llama_cpp_python-{version}.dist-info"
    for texts in (installed / "licenses", licences):
        shutil.copytree(texts, described / "licenses", dirs_exist_ok=True)
    metadata = (installed / "METADATA").read_text("utf-8")
    (described / "METADATA").write_text(adapted(metadata, version), "utf-8")
    (described / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: rerankd\nRoot-Is-Purelib: false\n"
        f"Tag: py3-none-linux_{architecture}\n",
        "utf-8",
    )


def adapted(metadata: str, version: str) -> str:
    """Return METADATA with another version, and without what rerankd's use of it never imports."""
    head, blank, description = metadata.partition("\n\n")
    lines = [
        f"Version: {version}" if line.startswith("Version: ") else line
        for line in head.splitlines()
        if not line.startswith(f"Requires-Dist: {UNUSED}")
    ]
    return "\n".join(lines) + blank + description


def name_once(libraries: Path) -> None:
    """Give each library its file's name, and let it find the others beside itself."""
    names = {_patchelf("--print-soname", path): path.name for path in libraries.glob("*.so")}
    names.pop("", None)  # plugins are found by their file
    for path in libraries.glob("*.so"):
        asked = [word for old, new in names.items() for word in ("--replace-needed", old, new)]
        named = ("--set-soname", path.name) if path.name in names.values() else ()
        _patchelf(*asked, *named, "--set-rpath", "$ORIGIN", path)


def _patchelf(*words: str | Path) -> str:
    return subprocess.run(
        ["patchelf", *words],  # noqa: S607 - of the environment that this runs in
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


if __name__ == "__main__":
    main()
