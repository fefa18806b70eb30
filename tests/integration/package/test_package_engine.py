"""scripts/release/engine_wheel.py: what an engine wheel has of an installed llama-cpp-python."""

from __future__ import annotations

from pathlib import Path

import pytest

from release import engine_wheel
from support.places import files_in

VERSION = "0.3.36+rerankd.1"
METADATA = """\
Metadata-Version: 2.1
Name: llama_cpp_python
Version: 0.3.36
Requires-Dist: numpy>=1.20.0
Requires-Dist: diskcache>=5.6.1
Requires-Dist: jinja2>=2.11.3

Version: 0.3.36 of a description
Requires-Dist: diskcache
"""
PATCHELF = """\
#!/bin/sh
echo "$*" >> {calls}
case "$*" in
"--print-soname "*libggml.so) echo libggml.so.0 ;;
"--print-soname "*libllama.so) echo libllama.so.0 ;;
esac
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An environment's packages, with each library under several names."""
    found = tmp_path / "site-packages"
    for name in (
        *("llama_cpp/llama_cpp.py", "llama_cpp/__pycache__/llama_cpp.pyc"),
        *("llama_cpp/lib/libggml.so", "llama_cpp/lib/libggml.so.0"),
        *("llama_cpp/lib/libllama.so", "llama_cpp/lib/libllama.so.0.5.0"),
        *("llama_cpp/lib/libggml-cpu-zen4.so", "include/llama.h", "numpy/__init__.py"),
        "llama_cpp_python-0.3.36.dist-info/licenses/LICENSE.md",
    ):
        (found / name).parent.mkdir(parents=True, exist_ok=True)
        (found / name).touch()
    (found / "llama_cpp_python-0.3.36.dist-info/METADATA").write_text(METADATA)
    return found


@pytest.fixture
def patchelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A patchelf that keeps what it was asked for in the file returned here."""
    program = tmp_path / "bin/patchelf"
    program.parent.mkdir()
    program.write_text(PATCHELF.format(calls=tmp_path / "calls"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path / "calls"


@pytest.fixture
def folder(site: Path, patchelf: Path, tmp_path: Path) -> Path:
    """What is made of it."""
    assert patchelf
    licences = tmp_path / "licences"
    licences.mkdir()
    (licences / "LICENSE-llama.cpp").touch()
    engine_wheel.assemble(site, VERSION, "aarch64", licences, tmp_path / "wheel")
    return tmp_path / "wheel"


def test_a_wheel_has_the_package_its_licences_and_each_library_once(folder: Path) -> None:
    described = f"llama_cpp_python-{VERSION}.dist-info"
    files = (path for path in files_in(folder, "**/*") if path.is_file())
    found = {str(path.relative_to(folder)) for path in files}

    assert found == {
        "llama_cpp/llama_cpp.py",
        *(f"llama_cpp/lib/lib{name}.so" for name in ("ggml", "llama", "ggml-cpu-zen4")),
        *(f"{described}/{name}" for name in ("METADATA", "WHEEL")),
        *(f"{described}/licenses/LICENSE{name}" for name in (".md", "-llama.cpp")),
    }


def test_any_python_takes_it_and_one_architecture(folder: Path) -> None:
    """It is loaded through ctypes, so no Python's ABI matters."""
    lines = (folder / f"llama_cpp_python-{VERSION}.dist-info/WHEEL").read_text().splitlines()

    assert "Tag: py3-none-linux_aarch64" in lines
    assert "Root-Is-Purelib: false" in lines


def test_metadata_has_the_version_and_asks_for_what_is_used() -> None:
    """Only the header changes: the same words in the description stay."""
    assert engine_wheel.adapted(METADATA, VERSION) == METADATA.replace(
        "\nVersion: 0.3.36\n", f"\nVersion: {VERSION}\n"
    ).replace("Requires-Dist: diskcache>=5.6.1\n", "")


def test_libraries_find_each_other_beside_themselves(folder: Path, patchelf: Path) -> None:
    """A library is asked for by its file's name; a plugin, which has none, gets none."""
    said = [line for line in patchelf.read_text().splitlines() if "--set-rpath" in line]
    by_file = {Path(line.split()[-1]).name: line for line in said}

    assert sorted(by_file) == ["libggml-cpu-zen4.so", "libggml.so", "libllama.so"]
    for name, line in by_file.items():
        assert "--replace-needed libggml.so.0 libggml.so" in line
        assert "--set-rpath $ORIGIN" in line
        assert (f"--set-soname {name}" in line) == (name != "libggml-cpu-zen4.so")
    assert folder.is_dir()
