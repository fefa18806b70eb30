"""The single binary's packing: what launcher.c will read, and what is refused."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from backports import zstd

from support.places import ROOT

SCRIPT = ROOT / "binary" / "pack.py"
needs_elf = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("readelf"), reason="takes binutils"
)


@pytest.fixture(scope="module")
def pack() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("pack", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A program's folder as PyInstaller leaves it: files, a link, an empty file."""
    inside = tmp_path / "folder" / "_internal"
    (inside / "deep/deeper").mkdir(parents=True)
    (inside.parent / "rerankd").write_bytes(b"program")
    (inside.parent / "rerankd").chmod(0o755)
    (inside / "libx.so.1").write_bytes(b"library" * 1000)
    (inside / "libx.so").symlink_to("libx.so.1")
    (inside / "deep/deeper/empty").touch()
    return inside.parent


Entry = tuple[str, bytes, bytes]
"""A name, its kind, and a file's bytes or a link's target."""


def read(pack: ModuleType, index: bytes, frame: bytes) -> list[Entry]:
    """Return what was packed, read as launcher.c does."""
    content, place, found = zstd.decompress(frame), 0, list[Entry]()
    while index:
        size, length, kind = pack.ENTRY.unpack_from(index)
        name, index = index[pack.ENTRY.size :][:length], index[pack.ENTRY.size + length :]
        assert index[:1] == b"\0"
        index, value = index[1:], b""
        if kind == b"l":
            value, index = index[:size], index[size + 1 :]
        elif kind != b"d":
            value, place = content[place : place + size], place + size
        found.append((name.decode(), kind, value))
    assert place == len(content)
    return found


def test_a_packed_folder_comes_back_whole(pack: ModuleType, folder: Path) -> None:
    """Folders stand before what is in them, links keep their targets, programs can be run."""
    assert read(pack, *pack.pack(folder)) == [
        ("_internal", b"d", b""),
        ("_internal/deep", b"d", b""),
        ("_internal/deep/deeper", b"d", b""),
        ("_internal/deep/deeper/empty", b"f", b""),
        ("_internal/libx.so", b"l", b"libx.so.1"),
        ("_internal/libx.so.1", b"f", b"library" * 1000),
        ("rerankd", b"x", b"program"),
    ]


def test_the_same_folder_gives_the_same_bytes(pack: ModuleType, folder: Path) -> None:
    """A build's name is made from them, so that the same build is unpacked once."""
    assert pack.pack(folder) == pack.pack(folder)


def test_the_frame_tells_damage(pack: ModuleType, folder: Path) -> None:
    index, frame = pack.pack(folder)
    broken = bytes([frame[-1] ^ 1])
    with pytest.raises(zstd.ZstdError):
        read(pack, index, frame[:-1] + broken)


def test_the_loader_is_a_program(pack: ModuleType, folder: Path) -> None:
    """It is started by its own name, though it is a shared library as well."""
    loader = folder / "_internal" / pack.LOADER
    loader.write_bytes(b"loader")
    loader.chmod(0o755)
    kinds = {name: kind for name, kind, _ in read(pack, *pack.pack(folder))}
    assert kinds[f"_internal/{pack.LOADER}"] == b"x"
    assert kinds["_internal/libx.so.1"] == b"f"


@needs_elf
def test_a_library_that_is_missing_ends_the_build(pack: ModuleType, tmp_path: Path) -> None:
    """This interpreter needs a C library, and none is in the folder."""
    shutil.copy(Path(sys.executable).resolve(), tmp_path / "rerankd")
    with pytest.raises(SystemExit, match=r"not in the bundle: .*libc\.so\.6, which rerankd needs"):
        pack.require_whole(tmp_path, os.uname().machine)


@needs_elf
def test_what_another_system_has_is_added(pack: ModuleType, tmp_path: Path) -> None:
    """Libraries that PyInstaller didn't find come from there, with those that they need."""
    machine = os.uname().machine
    there, folder = tmp_path / "root/usr/lib", tmp_path / "folder"
    there.mkdir(parents=True)
    (folder / "_internal").mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), folder / "rerankd")
    command = [str(shutil.which("ldd")), sys.executable]
    linked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, path in re.findall(r"(\S+) => (/\S+)", linked):
        shutil.copy(path, there / name)

    assert "libc.so.6" in pack.missing_libraries(folder, machine)
    pack.add_missing(folder, machine, tmp_path / "root")

    assert (folder / "_internal/libc.so.6").is_file()
    assert pack.missing_libraries(folder, machine) == {}


@needs_elf
def test_the_c_library_is_added(pack: ModuleType, tmp_path: Path) -> None:
    """Its parts and its loader, under the name by which PyInstaller knows it."""
    (tmp_path / "_internal").mkdir()
    shutil.copy(Path(sys.executable).resolve(), tmp_path / "rerankd")
    pack.add_c_library(tmp_path, os.uname().machine)
    names = {path.name for path in (tmp_path / "_internal").iterdir()}
    assert {pack.LOADER, "libc.so.6", "libm.so.6", "libpthread.so.0"} <= names
    assert not names & set(pack.LOADERS_ELSEWHERE.values())
