"""Packs what `just test-gpu` needs: python -m gpu.packing SOURCES LEAN SITE FOLDER

SOURCES is an unpacked llama-cpp-python with our patches in its llama.cpp, LEAN our lean.cmake, SITE
the packages for the machine's Python. FOLDER gets gpu.tar.xz and test-gpu.sh.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from gpu.left_out import leave_out
from gpu.sources import trim, with_common

ROOT = Path(__file__).parents[2]
MOST = 64 * 1024**2
"""Bytes that may travel."""
OURS = (
    *("app/rerankd/**/*", "models/*.toml", "models/rerank-mini-en-q8_0.gguf", "scripts/gpu/*.py"),
    *("tests/support/synthetic_shapes.py", "tests/support/tiny_models.py"),
    *("tests/support/peer_servers.py", "tests/support/k_quants.py", "LICENSE"),
)
"""Files of this repository; the other embedded model alone would be too large."""
ARCHIVE = "gpu.tar.xz"


def main() -> None:
    """Make the pack; exit with a message where it is too large."""
    sources, lean, site, folder = map(Path, sys.argv[1:])
    trim(sources / "vendor/llama.cpp")
    moved = leave_out(sources / "vendor/llama.cpp")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / ARCHIVE, "w:xz", preset=2) as archive:
        add(archive, sources / "vendor/llama.cpp", "engine/vendor/llama.cpp")
        add(archive, sources / "llama_cpp", "engine/llama_cpp")
        # Its version is asked for, as of an installed package.
        add(archive, sources / "PKG-INFO", "engine/llama_cpp_python.dist-info/METADATA")
        (sources / "lean.cmake").write_text(with_common(lean.read_text()))
        add(archive, sources / "lean.cmake", "engine/lean.cmake")
        add(archive, site, "site")
        for path in ours(ROOT):
            add(archive, path, str(path.relative_to(ROOT)))
    shutil.copy(ROOT / "scripts/test-gpu.sh", folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size / 1024**2:.1f} MiB, {moved} CUDA kernels left out")
    if size > MOST:
        sys.exit(f"more than {MOST / 1024**2:.0f} MiB")


def ours(root: Path) -> Iterator[Path]:
    """Yield the repository's files. Raises FileNotFoundError for a pattern without any."""
    for pattern in OURS:
        found = sorted(
            path
            for path in root.glob(pattern)
            if path.is_file() and "__pycache__" not in path.parts
        )
        if not found:
            raise FileNotFoundError(f"there is no {pattern}")
        yield from found


def add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file or folder without its owner, its times and Python's caches."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = entry.name.split("/")
        if "__pycache__" in parts or (parts[0] == "site" and "tests" in parts[1:]):
            return None
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    archive.add(path, name, filter=plain)


if __name__ == "__main__":
    main()
