"""`just pack-gpu`: what of llama.cpp, the lock and this repository travels, and how it is built."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gpu import left_out, lock, packing, sources, toolkit
from support.places import ROOT, files_in

MMA = "ggml/src/ggml-cuda/template-instances/fattn-mma-f16-instance-ncols1_8-ncols2_2.cu"
TILE = "ggml/src/ggml-cuda/template-instances/fattn-tile-instance-dkq40-dv40.cu"
MMQ = "ggml/src/ggml-cuda/template-instances/mmq-instance-mxfp4.cu"
MMF = "ggml/src/ggml-cuda/template-instances/mmf-instance-ncols_2.cu"


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A folder laid out as llama.cpp's, with what is kept and some of what isn't."""
    root = tmp_path / "llama.cpp"
    kept = [*sources.KEPT[2:], *(f"tools/{name}" for name in sources.KEPT_TOOLS)]
    for name in [*kept, "tools/ui/scripts", *(f"ggml/src/{one}" for one in sources.KEPT_BACKENDS)]:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("models", "docs", "tools/quantize", "tools/ui/src", "ggml/src/ggml-vulkan"):
        (root / name).mkdir()
        (root / name / "file").touch()
    for name in ("CMakeLists.txt", "LICENSE", "convert.py", "tools/CMakeLists.txt"):
        (root / name).touch()
    for name in ("CMakeLists.txt", "sources.cmake", "ui.cpp.in", "ui.h.in", "package.json"):
        (root / "tools/ui" / name).touch()
    (root / "ggml/src/ggml-cpu/arch/arm").mkdir(parents=True)
    (root / MMA).parent.mkdir()
    declare = "DECL_FATTN_MMA_F16_CASE({0}, {0}, 8, 2);".format
    (root / MMA).write_text(f"#include <x>\n{declare(64)}\n{declare(80)}\n{declare(128)}\n")
    (root / TILE).write_text("#include <x>\nDECL_FATTN_TILE_CASE(40, 40);\n")
    (root / MMQ).write_text(
        "DECL_MMQ_CASE(GGML_TYPE_MXFP4);\nDECL_MMQ_CASE_W4A4(GGML_TYPE_MXFP4);\n"
    )
    (root / MMF).write_text("DECL_MMF_CASE(2);\n")
    return root


def test_sources_are_cut_down_to_what_compiles(llama: Path) -> None:
    sources.trim(llama)

    left = {str(path.relative_to(llama)) for path in files_in(llama, "**/*")}
    gone = {
        "models",
        "docs",
        "convert.py",
        "tools/quantize",
        "tools/ui/src",
        "ggml/src/ggml-vulkan",
    }
    assert not left & (gone | {"tools/ui/package.json", "ggml/src/ggml-cpu/arch/arm"})
    assert {"src", "common", "vendor", "tools/server", "tools/ui/ui.h.in", MMF} <= left
    assert "add_subdirectory(server)" in (llama / "tools/CMakeLists.txt").read_text()


@pytest.mark.parametrize("name", ["common", "tools/mtmd", "tools/ui/ui.h.in", "ggml/src/ggml-cuda"])
def test_sources_that_lack_something_are_refused(llama: Path, name: str) -> None:
    """A llama.cpp that is laid out otherwise isn't packed and found out there."""
    (llama / name).rename(llama / "elsewhere")

    with pytest.raises(FileNotFoundError, match=name):
        sources.trim(llama)


def test_the_common_library_is_built_as_llama_server_needs_it() -> None:
    """Every other line of lean.cmake stays."""
    lean = (ROOT / "app/rerankd/engine/patches/lean.cmake").read_text()

    text = sources.with_common(lean)

    assert "LLAMA_BUILD_COMMON OFF" not in text
    assert len(text.splitlines()) == len(lean.splitlines()) - 1
    with pytest.raises(ValueError, match="0 lines"):
        sources.with_common(text)


def test_kernels_that_no_model_runs_become_stubs(llama: Path) -> None:
    """Those of other heads and types; the rest of a file stays, and a file of none is deleted."""
    assert left_out.leave_out(llama) == 4

    assert "80" not in (kept := (llama / MMA).read_text())
    assert kept.count("DECL_") == 2
    assert not (llama / TILE).exists()
    assert not (llama / MMQ).exists()
    assert (llama / MMF).exists()
    text = (llama / left_out.FILE).read_text()
    heads = "(ggml_backend_cuda_context &, ggml_tensor *);"
    assert f"template void ggml_cuda_flash_attn_ext_mma_f16_case<80, 80, 8, 2>{heads}" in text
    assert f"template void ggml_cuda_flash_attn_ext_tile_case<40, 40>{heads}" in text
    for precision in ("GGML_PREC_Q8", "GGML_PREC_Q4"):
        assert f"template void mul_mat_q_case<GGML_TYPE_MXFP4, {precision}>(" in text


def test_instances_in_another_form_are_refused(llama: Path) -> None:
    for name in (MMA, TILE, MMQ):
        (llama / name).write_text("template void other<1>();\n")

    with pytest.raises(ValueError, match="declares no kernel"):
        left_out.leave_out(llama)


LOCK = """\
# made by just lock
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:aa
hf-xet==1.8.0 ; platform_machine == 'x86_64' \\
    --hash=sha256:bb
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:cc
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:dd \\
    --hash=sha256:ee
rich==15.0.0 \\
    --hash=sha256:ff
"""


def test_a_lock_is_read_for_the_machine_s_python() -> None:
    """Not for the one that packs; hashes stay, markers and what isn't needed there go."""
    assert lock.chosen(LOCK, "3.12") == (
        "numpy==2.5.5 \\\n    --hash=sha256:dd \\\n    --hash=sha256:ee\n"
        "rich==15.0.0 \\\n    --hash=sha256:ff\n"
    )
    assert lock.chosen(LOCK, "3.11").startswith("numpy==2.4.6 \\\n")


def test_the_runtime_s_lock_can_be_read() -> None:
    """One version of each package, and no engine, which is built there."""
    lines = lock.chosen((ROOT / "requirements/runtime.txt").read_text(), "3.12").splitlines()
    names = [line.partition("==")[0] for line in lines if "==" in line]

    assert len(names) == len(set(names)) > 30
    assert {"numpy", "huggingface-hub", "gguf", "litestar"} <= set(names)
    assert "llama-cpp-python" not in names


def test_this_repository_s_files_are_there() -> None:
    found = [str(path.relative_to(ROOT)) for path in packing.ours(ROOT)]

    assert {"app/rerankd/cli/__init__.py", "scripts/gpu/work.py", "LICENSE"} <= set(found)
    assert sum((ROOT / name).stat().st_size for name in found) < 40 * 1024**2
    assert not [name for name in found if "__pycache__" in name]


def test_what_is_imported_there_travels() -> None:
    """The stages import nothing of tests/support but what is packed."""
    found = {path.stem for path in packing.ours(ROOT) if path.parent.name == "support"}
    texts = [path.read_text() for path in packing.ours(ROOT) if path.suffix == ".py"]
    imported = {
        line.split()[1].removeprefix("support.")
        for text in texts
        for line in text.splitlines()
        if line.startswith("from support.")
    }
    assert imported == found


def test_an_archive_has_no_owner_and_no_tests_of_packages(tmp_path: Path) -> None:
    site = tmp_path / "in"
    for name in ("numpy/core.py", "numpy/tests/test_core.py", "numpy/__pycache__/core.pyc"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()

    with tarfile.open(tmp_path / "out.tar", "w") as archive:
        packing.add(archive, site, "site")

    with tarfile.open(tmp_path / "out.tar") as archive:
        entries = [entry for entry in archive if entry.isfile()]
    assert [entry.name for entry in entries] == ["site/numpy/core.py"]
    assert (entries[0].uid, entries[0].uname, entries[0].mtime) == (0, "", 0)


def put(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], toolkit.Toolkit]:
    """A toolkit with a compiler alone; call it to look for the rest."""
    monkeypatch.setattr(toolkit, "DRIVERS", (str(tmp_path / "driver"),))
    monkeypatch.setattr("sys.path", [])
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    nvcc = tmp_path / "cuda/bin/nvcc"
    put(nvcc)
    sites = (str(tmp_path / "site"),)
    return lambda: toolkit.find(tmp_path / "links", sites, (str(nvcc),))


def test_a_whole_toolkit_needs_no_more(tmp_path: Path, cuda: Callable[[], toolkit.Toolkit]) -> None:
    put(tmp_path / "cuda/include/cublas_v2.h", tmp_path / "cuda/lib64/stubs/libcuda.so")

    flags = toolkit.cmake_flags(cuda(), "90")

    assert "-DCMAKE_CUDA_ARCHITECTURES=90-real" in flags
    assert "-DGGML_CUDA_NO_VMM=OFF" in flags
    assert f"-DCUDA_cuda_driver_LIBRARY={tmp_path}/cuda/lib64/stubs/libcuda.so" in flags
    assert not [flag for flag in flags if "cublas" in flag]


def test_libraries_that_pip_installed_are_linked_by_their_plain_names(
    tmp_path: Path, cuda: Callable[[], toolkit.Toolkit]
) -> None:
    """Where the toolkit is a compiler without cuBLAS, and the driver is only what programs load."""
    there = tmp_path / "site/nvidia/cu13"
    put(
        there / "include/cublas_v2.h",
        there / "lib/libcublas.so.13",
        there / "lib/libcublasLt.so.13",
    )
    put(tmp_path / "driver/libcuda.so.1")

    flags = toolkit.cmake_flags(cuda(), "90")

    assert f"-DCMAKE_CUDA_FLAGS=-I{there}/include" in flags
    assert f"-DCMAKE_BUILD_RPATH={there}/lib" in flags
    for name, at in (
        ("cublas", there / "lib/libcublas.so.13"),
        ("cuda", tmp_path / "driver/libcuda.so.1"),
    ):
        assert (tmp_path / f"links/lib{name}.so").readlink() == at
    assert f"-DCUDA_cublas_LIBRARY={tmp_path}/links/libcublas.so" in flags


def test_without_a_driver_to_link_with_memory_is_not_mapped(
    tmp_path: Path, cuda: Callable[[], toolkit.Toolkit]
) -> None:
    put(tmp_path / "cuda/include/cublas_v2.h")
    assert "-DGGML_CUDA_NO_VMM=ON" in toolkit.cmake_flags(cuda(), "90")


def test_what_is_missing_is_named(tmp_path: Path, cuda: Callable[[], toolkit.Toolkit]) -> None:
    with pytest.raises(toolkit.NoToolkit, match=r"no cublas_v2\.h"):
        cuda()
    put(tmp_path / "site/nvidia/cu13/include/cublas_v2.h")
    with pytest.raises(toolkit.NoToolkit, match="no libcublas beside its headers"):
        cuda()
    (tmp_path / "cuda/bin/nvcc").unlink()
    with pytest.raises(toolkit.NoToolkit, match="no nvcc"):
        cuda()


@pytest.mark.parametrize("text", ["", "[N/A]", "9", "sm_90"])
def test_no_architecture_is_made_up(text: str) -> None:
    with pytest.raises(toolkit.NoToolkit):
        toolkit.capability(text)
    assert toolkit.capability(" 12.0\n") == "120"
