"""Makes the one file: a launcher, an index, every file's bytes in one zstd frame, and a footer.

pack.py LAUNCHER FOLDER OUTPUT [ROOT] takes what PyInstaller collected in FOLDER, adds the C library
that it was linked with, and holds that nothing is asked for which isn't inside. For another
architecture than this machine's, ROOT is the folder with its C library, and the first binutils in
PATH are for it. launcher.c reads the result; the structs here are its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from backports import zstd

LOADER = "ld-rerankd.so.2"
"""PyInstaller knows a loader by such a name, and then starts the program by it."""
LOADERS_ELSEWHERE = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}
ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
"""By the number in an ELF file's header."""
C_LIBRARY = re.compile(r"lib(c|m|dl|pthread|rt|util|resolv|nss_dns|nss_files)\.so\.\d+")
OPTIONS = {
    zstd.CompressionParameter.compression_level: 19,
    zstd.CompressionParameter.checksum_flag: 1,
    zstd.CompressionParameter.nb_workers: os.cpu_count() or 1,  # the result is the same
}
MAGIC = b"rerankd1"
ENTRY = struct.Struct("<QHc")
FOOTER = struct.Struct("<QQQQ16s8s")


def main() -> None:
    """Pack a folder, and say how large it became."""
    launcher, folder, output, *root = map(Path, sys.argv[1:])
    architecture = require_one_architecture([launcher, *folder.rglob("*")])
    strip(folder)
    add_c_library(folder, architecture, *root)
    if root:
        add_missing(folder, architecture, *root)
    require_whole(folder, architecture)
    index, frame = pack(folder)
    start = launcher.read_bytes()
    build = hashlib.sha256(index + frame).hexdigest()[:16].encode()
    built = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    footer = FOOTER.pack(len(start), len(index), len(frame), built, build, MAGIC)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)  # one that runs can't be written to
    output.write_bytes(start + index + frame + footer)
    output.chmod(0o755)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {unpacked(folder) / 1e6:.1f} unpacked")


def require_one_architecture(paths: Iterable[Path]) -> str:
    """Return the architecture of all programs and libraries; exit if there are several, or none."""
    found: dict[str, Path] = {}
    for path in paths:
        head = path.open("rb").read(20) if path.is_file() else b""
        if head.startswith(b"\x7fELF"):
            number = int.from_bytes(head[18:20], "little")
            found.setdefault(ELF_MACHINES.get(number, f"machine {number}"), path)
    if len(found) != 1 or not found.keys() <= set(ELF_MACHINES.values()):
        listed = ", ".join(f"{path} for {name}" for name, path in found.items())
        sys.exit(f"error: not of one known architecture: {listed or 'nothing compiled'}")
    return next(iter(found))


def strip(folder: Path) -> None:
    """Take debug symbols out of what was compiled here; wheels' libraries are as they should be."""
    inside = folder / "_internal"
    compiled = (
        *inside.glob("*.so*"),
        *inside.glob("python3*/**/*.so"),
        *inside.glob("llama_cpp/lib/*"),
    )
    for path in compiled:
        if not path.is_symlink():
            _read("strip", "--strip-unneeded", path)


def add_c_library(folder: Path, architecture: str, root: Path | None = None) -> None:
    """Copy the loader and the C library's parts that the program was linked with."""
    elsewhere = LOADERS_ELSEWHERE[architecture]
    loader, library = found_below(root, elsewhere) if root else linked_with(folder, elsewhere)
    if loader is None or library is None:
        sys.exit(f"error: there is no glibc for {architecture} to put into the single binary")
    for found in library.resolve().parent.iterdir():
        if C_LIBRARY.fullmatch(found.name):
            shutil.copyfile(found, folder / "_internal" / found.name)
    shutil.copyfile(loader, folder / "_internal" / LOADER)
    (folder / "_internal" / LOADER).chmod(0o755)


def linked_with(folder: Path, elsewhere: str) -> tuple[Path | None, Path | None]:
    """Return this system's loader and C library, where the program in a folder uses them."""
    said = _read("ldd", folder / "rerankd")
    loader = re.search(rf"(/\S*{re.escape(elsewhere)})", said)
    library = re.search(r"libc\.so\.6 => (\S+)", said)
    return loader and Path(loader[1]), library and Path(library[1])


def found_below(root: Path, elsewhere: str) -> tuple[Path | None, Path | None]:
    """Return another system's loader and C library; the loader beside it, not a link from /lib."""
    library = next(root.rglob("libc.so.6"), None)
    return next(root.rglob(f"*-linux-gnu/{elsewhere}"), None), library


def add_missing(folder: Path, architecture: str, root: Path) -> None:
    """Copy libraries from the other system that something needs, and what those need in turn.

    PyInstaller looks for what Python's own library is linked with in this machine's list.
    """
    below = {path.name: path for path in root.rglob("*.so*") if path.is_file()}
    while found := missing_libraries(folder, architecture).keys() & below.keys():
        for name in found:
            shutil.copyfile(below[name], folder / "_internal" / name)


def require_whole(folder: Path, architecture: str) -> None:
    """Exit with the names of shared libraries that something needs and that are not inside."""
    missing = missing_libraries(folder, architecture)
    if missing:
        named = (f"{name}, which {by} needs" for name, by in sorted(missing.items()))
        sys.exit("error: not in the bundle: " + "; ".join(named))


def missing_libraries(folder: Path, architecture: str) -> dict[str, str]:
    """Return shared libraries that are not inside, each with the name of a file that needs it."""
    inside = {LOADERS_ELSEWHERE[architecture], *(path.name for path in folder.rglob("*.so*"))}
    missing = {}
    for path in (*folder.rglob("*.so*"), folder / "rerankd"):
        if not path.is_symlink():
            needed = re.findall(r"\(NEEDED\).*\[(.+)\]", _read("readelf", "--dynamic", path))
            missing |= {name: path.name for name in needed if name not in inside}
    return missing


def pack(folder: Path) -> tuple[bytes, bytes]:
    """Return the index, folders before what is in them, and the frame of all files' bytes."""
    index = b""
    compressor = zstd.ZstdCompressor(options=OPTIONS)
    frame = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix().encode()
        kind, size, target = _described(path)
        index += ENTRY.pack(size, len(name), kind) + name + b"\0" + target
        if kind in b"fx":
            frame.append(compressor.compress(path.read_bytes()))
    return index, b"".join((*frame, compressor.flush()))


def _described(path: Path) -> tuple[bytes, int, bytes]:
    if path.is_symlink():
        target = os.fsencode(path.readlink())
        return b"l", len(target), target + b"\0"
    if path.is_dir():
        return b"d", 0, b""
    kind = b"x" if os.access(path, os.X_OK) and ".so" not in path.name.replace(LOADER, "") else b"f"
    return kind, path.stat().st_size, b""


def unpacked(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _read(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
