"""What llama.cpp sees, what is decided on `gpu_layers` from it, and `rerankd devices`."""

from __future__ import annotations

import ctypes
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from rerankd.cli import devices as command
from rerankd.engine.llama import binding as llama
from rerankd.engine.llama import ggml
from rerankd.engine.planning.devices import (
    INSTALL_GPU,
    Device,
    Offload,
    Survey,
    decide,
    free_bytes,
    missing_gpu,
    offload_targets,
    require_gpu,
    way_to_gpu,
)
from rerankd.engine.planning.offload import MARGIN
from rerankd.engine.planning.sizing import plan_sizes
from rerankd.errors import EngineFailure, ModelFileError, SettingsError
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file

from support.places import ROOT
from support.tiny_models import write_qwen3

GIB = 1024**3


def device(name: str, **changes: Any) -> Device:
    """Return a device of 8 GiB, a GPU unless told otherwise."""
    parts = {
        "description": f"A {name}",
        "type": "GPU",
        "backend": "CUDA",
        "total_bytes": 8 * GIB,
        "free_bytes": 7 * GIB,
        **changes,
    }
    return Device(name=name, **parts)


CPU = device("CPU", type="CPU", backend="CPU", total_bytes=16 * GIB, free_bytes=12 * GIB)
CUDA0 = device("CUDA0", hardware_id="0000:01:00.0")
CUDA1 = device("CUDA1", hardware_id="0000:02:00.0")
VULKAN0 = device("Vulkan0", backend="Vulkan", hardware_id="0000:01:00.0")
IGPU = device("Vulkan1", backend="Vulkan", type="iGPU")
OTHER_IGPU = device("SYCL0", backend="SYCL", type="iGPU")
REMOTE = device("RPC0", backend="RPC")
BLAS = device("BLAS", backend="BLAS", type="accelerator")


def seen(*devices: Device, backends: tuple[str, ...] = ("CPU",)) -> Survey:
    return Survey(devices=devices, backends=backends, features="CPU : AVX2 = 1")


NO_SUPPORT = seen(CPU)
NO_DRIVER = seen(CPU, backends=("CUDA", "CPU"))
ONE_GPU = seen(CUDA0, CPU, backends=("CUDA", "CPU"))
TWO_GPUS = seen(CUDA0, CUDA1, CPU, backends=("CUDA", "CPU"))


def decided(path: Path, survey: Survey, **changes: Any) -> Offload:
    """Decide on a file with these settings."""
    settings = Settings(**changes)
    header = gguf_file.read(path)
    verdict = gguf_file.judge(header)
    sizes = plan_sizes(header, verdict, settings, cores=2, gpu_step=512)
    return decide(header, verdict, settings, sizes, survey)


@pytest.mark.parametrize(
    ("devices", "targets"),
    [
        ((CPU,), ()),
        ((CPU, BLAS), ()),
        ((CUDA0, CPU), (CUDA0,)),
        ((CUDA0, CUDA1, CPU), (CUDA0, CUDA1)),
        ((CUDA0, VULKAN0, CPU), (CUDA0,)),
        ((CUDA0, IGPU, CPU), (CUDA0,)),
        ((IGPU, CPU), (IGPU,)),
        ((IGPU, OTHER_IGPU, CPU), (IGPU,)),
        ((CUDA0, REMOTE, CPU), (REMOTE, CUDA0)),
        ((REMOTE, IGPU, CPU), (REMOTE, IGPU)),
    ],
    ids=lambda devices: "+".join(one.name for one in devices) or "none",
)
def test_layers_go_to_the_devices_llama_cpp_takes(
    devices: tuple[Device, ...], targets: tuple[Device, ...]
) -> None:
    """GPUs before integrated ones, each piece of hardware once, and never the processor."""
    assert offload_targets(seen(*devices)) == targets


def test_gpus_without_an_address_are_all_different() -> None:
    """Two devices whose backend gives no address are two GPUs."""
    first, second = device("A"), device("B")

    assert offload_targets(seen(first, second)) == (first, second)


def test_a_device_that_reports_no_memory_has_the_host_s() -> None:
    """0 of 0 bytes means unknown, and then what the host has free counts; full means full."""
    silent = device("GPU", total_bytes=0, free_bytes=0)
    full = device("GPU", free_bytes=0)

    assert free_bytes(silent, seen(silent, CPU)) == CPU.free_bytes
    assert free_bytes(silent, seen(silent)) == 0
    assert free_bytes(full, seen(full, CPU)) == 0


def test_a_missing_gpu_is_told_from_a_missing_driver() -> None:
    """A build without GPU support is told what to install, one without a device where to look."""
    assert missing_gpu(ONE_GPU) is None
    assert way_to_gpu(ONE_GPU) is None
    assert missing_gpu(NO_SUPPORT) == "this build of llama.cpp has no GPU support"
    assert way_to_gpu(NO_SUPPORT) == INSTALL_GPU
    assert "has CUDA, which found no GPU" in str(missing_gpu(NO_DRIVER))
    assert "driver" in str(way_to_gpu(NO_DRIVER))


@pytest.mark.parametrize("setting", ["all", "5"])
def test_asking_for_a_gpu_that_is_not_there_says_what_to_install(setting: str) -> None:
    """The error has the exact line for CUDA, and those for Vulkan and Metal."""
    with pytest.raises(SettingsError) as caught:
        require_gpu(NO_SUPPORT, setting)

    assert caught.value.param == "gpu_layers"
    assert caught.value.message.startswith(f"gpu_layers is {setting}, but ")
    for option in ("CUDA", "VULKAN", "METAL"):
        assert (
            f"CMAKE_ARGS='-DGGML_{option}=on' pip install --force-reinstall "
            "--no-cache-dir --no-deps llama-cpp-python"
        ) in caught.value.message


def test_the_install_lines_stand_in_the_docs() -> None:
    """docs/gpu.md gives the three lines as the error does."""
    page = (ROOT / "docs" / "gpu.md").read_text("utf-8")

    for line in INSTALL_GPU.split("for ")[2:]:
        assert line.partition(": ")[2].removesuffix("; ").removesuffix(" (docs/gpu.md)") in page


@pytest.mark.parametrize("survey", [NO_SUPPORT, NO_DRIVER])
@pytest.mark.parametrize("setting", ["all", "1"])
def test_a_gpu_is_never_dropped_silently(tiny_bert: Path, survey: Survey, setting: str) -> None:
    """all or a number without a GPU is an error, not a run on the CPU."""
    with pytest.raises(SettingsError, match="but this build of llama"):
        decided(tiny_bert, survey, gpu_layers=setting)


@pytest.mark.parametrize("survey", [NO_SUPPORT, NO_DRIVER])
def test_auto_falls_back_to_the_cpu_and_says_so(tiny_bert: Path, survey: Survey) -> None:
    """auto without a GPU is the CPU, with the reason."""
    found = decided(tiny_bert, survey, gpu_layers="auto")

    assert (found.layers, found.of, found.devices, found.tensor_split) == (0, 3, (), ())
    assert found.reason == f"{missing_gpu(survey)}: on the CPU"


@pytest.mark.parametrize("setting", ["0", "00"])
def test_no_layers_are_the_cpu_on_any_machine(tiny_bert: Path, setting: str) -> None:
    """gpu_layers 0 means the CPU, with a GPU and without."""
    for survey in (NO_SUPPORT, ONE_GPU):
        found = decided(tiny_bert, survey, gpu_layers=setting)

        assert (found.layers, found.devices) == (0, ())
        assert (found.split_mode, found.main_gpu) == ("none", -1)
        assert found.reason == "gpu_layers is 0: on the CPU"


def test_auto_takes_all_that_fits(tiny_bert: Path, tiny_qwen3: Path) -> None:
    """On a GPU with room, all layers go there, and the reason gives the memory."""
    for path in (tiny_bert, tiny_qwen3):
        found = decided(path, ONE_GPU)

        assert (found.layers, found.of, found.devices) == (3, 3, ("CUDA0",))
        assert found.reason.startswith("3 of 3 layers on the GPU, about ")
        assert found.reason.endswith("of 7168 MiB free on CUDA0")
        assert found.tensor_split == ()


def test_auto_puts_some_layers_where_not_all_fit(tmp_path: Path) -> None:
    """Between nothing and everything, auto takes what fits, more with every bit of memory."""
    path = write_qwen3(tmp_path / "tiny-reranker.gguf")

    found = [
        decided(path, seen(device("GPU", free_bytes=MARGIN + room), CPU), context=16).layers
        for room in range(0, 1024**2, 8 * 1024)
    ]

    assert found == sorted(found)
    assert set(found) == {0, 1, 2, 3}


def test_auto_without_room_is_the_cpu_and_says_so(tiny_bert: Path) -> None:
    """A GPU that is full leaves the model on the CPU."""
    found = decided(tiny_bert, seen(structs.replace(CUDA0, free_bytes=GIB // 8), CPU))

    assert (found.layers, found.devices) == (0, ())
    assert (found.split_mode, found.main_gpu) == ("none", -1)
    assert found.reason == "no layer fits in the 128 MiB free: on the CPU"


@pytest.mark.parametrize(("setting", "layers"), [("all", 3), ("2", 2), ("3", 3), ("999", 3)])
def test_a_number_is_kept_to(tiny_bert: Path, setting: str, layers: int) -> None:
    """all and numbers are done as asked, a number beyond the model's layers meaning all."""
    assert decided(tiny_bert, ONE_GPU, gpu_layers=setting).layers == layers


@pytest.mark.parametrize("setting", ["all", "2"])
def test_asking_for_more_than_fits_is_done_and_noted(tiny_bert: Path, setting: str) -> None:
    """An explicit number is tried beyond the estimate, and the reason says that it is."""
    full = seen(structs.replace(CUDA0, free_bytes=GIB // 8), CPU)

    found = decided(tiny_bert, full, gpu_layers=setting)

    assert found.layers > 0
    assert found.reason.endswith("this is more than fits, by the estimate")
    assert "more than fits" not in decided(tiny_bert, ONE_GPU, gpu_layers=setting).reason


def test_two_gpus_get_the_counts_that_were_planned(tiny_qwen3: Path) -> None:
    """What no GPU can hold alone is handed over to llama.cpp as shares."""
    found = [
        decided(
            tiny_qwen3,
            seen(device("A", free_bytes=size), device("B", free_bytes=size), CPU),
            context=16,
        )
        for size in range(MARGIN, MARGIN + 1024**2, 8 * 1024)
    ]

    shared = [one for one in found if len(one.devices) > 1]
    assert shared
    for one in shared:
        assert sum(one.tensor_split) == one.layers
        assert (one.split_mode, one.main_gpu) == ("layer", 0)


def test_one_gpu_of_two_is_used_alone_where_it_has_room(tiny_bert: Path) -> None:
    """A model that one GPU holds leaves the other alone."""
    full = structs.replace(CUDA0, free_bytes=0)

    found = decided(tiny_bert, seen(full, CUDA1, CPU))

    assert found.devices == ("CUDA1",)
    assert (found.split_mode, found.main_gpu, found.tensor_split) == ("none", 1, ())


def test_a_tensor_split_of_one_s_own_is_kept(tiny_bert: Path) -> None:
    """Shares that were set go to llama.cpp as they are."""
    found = decided(tiny_bert, TWO_GPUS, tensor_split=(2.0, 1.0))

    assert found.tensor_split == (2.0, 1.0)
    assert found.devices == ("CUDA0", "CUDA1")


def test_split_mode_none_takes_the_main_gpu(tiny_bert: Path) -> None:
    """One of two GPUs holds everything, without shares; one that isn't there is refused."""
    found = decided(tiny_bert, TWO_GPUS, split_mode="none", main_gpu=1)

    assert (found.devices, found.tensor_split) == (("CUDA1",), ())
    assert (found.split_mode, found.main_gpu) == ("none", 1)
    with pytest.raises(SettingsError, match="main_gpu is 2, but there are 2 GPUs"):
        decided(tiny_bert, TWO_GPUS, split_mode="none", main_gpu=2)


def test_a_header_without_sizes_is_refused(tiny_bert: Path) -> None:
    """A file whose header lacks what a plan takes is an error of the file."""
    settings, header = Settings(), gguf_file.read(tiny_bert)
    verdict = gguf_file.judge(header)
    sizes = plan_sizes(header, verdict, settings, cores=2)
    metadata = {key: value for key, value in header.metadata.items() if "embedding" not in key}

    with pytest.raises(ModelFileError, match="embedding_length"):
        decide(structs.replace(header, metadata=metadata), verdict, settings, sizes, ONE_GPU)


@given(
    free=st.lists(st.integers(0, 64 * GIB), min_size=1, max_size=4),
    mode=st.sampled_from(["none", "layer", "row"]),
    setting=st.sampled_from(["auto", "all", "1", "2"]),
)
def test_offloaded_layers_and_their_devices_agree(
    tiny_qwen3: Path, free: list[int], mode: str, setting: str
) -> None:
    """Layers on a GPU and devices that hold them come together, with a reason in one line."""
    gpus = [
        device(f"GPU{at}", free_bytes=size, total_bytes=64 * GIB) for at, size in enumerate(free)
    ]

    found = decided(tiny_qwen3, seen(*gpus, CPU), split_mode=mode, gpu_layers=setting)

    assert 0 <= found.layers <= found.of
    assert bool(found.layers) == bool(found.devices) == bool(found.bytes)
    assert found.layers or setting == "auto"
    assert not found.tensor_split or sum(found.tensor_split) > 0
    assert found.reason
    assert "\n" not in found.reason


def test_the_survey_sees_the_processor() -> None:
    """The real build has the CPU backend, its device with memory, and its features."""
    found = ggml.survey()

    cpu = next(one for one in found.devices if one.type == "CPU")
    assert cpu.backend == "CPU"
    assert cpu.description
    assert 0 < cpu.free_bytes <= cpu.total_bytes
    assert "CPU" in found.backends
    assert found.features.startswith("CPU : ")


def test_the_survey_agrees_with_llama_cpp() -> None:
    """There is a device for layers exactly where llama.cpp says that it can offload."""
    assert bool(offload_targets(ggml.survey())) == llama.supports_gpu()


def test_backends_are_known_by_their_libraries(tmp_path: Path) -> None:
    """A backend that found no driver, and so is not registered, is named by its file."""
    for name in (
        "libggml.so",
        "libggml-base.so",
        "libggml-base.so.0",
        "libggml-cpu.so",
        "libggml-cpu-haswell.so",
        "libggml-vulkan.so.0.25.3",
        "libggml-vulkan.so",
        "libggml-cuda.so",
        "libggml-sycl.so",
    ):
        (tmp_path / name).touch()

    assert ggml._compiled(tmp_path) == ["CUDA", "SYCL", "Vulkan"]
    assert ggml._compiled(tmp_path / "none") == []


class FakeLibrary:
    """ggml's functions over a list of devices, as the real ones give them."""

    def __init__(self, kind: int, device_id: bytes | None) -> None:
        self._kind, self._id = kind, device_id

    def __call__(self, name: str) -> Any:
        return {
            "ggml_backend_reg_count": lambda: 1,
            "ggml_backend_reg_get": lambda at: at + 1,
            "ggml_backend_reg_name": lambda _handle: b"Vulkan",
            "ggml_backend_dev_count": lambda: 10_000,
            "ggml_backend_dev_get": lambda at: at + 1,
            "ggml_backend_dev_backend_reg": lambda handle: handle,
            "ggml_backend_dev_get_props": self.fill,
        }[name]

    def fill(self, handle: int, pointer: Any) -> None:
        properties = ctypes.cast(pointer, ctypes.POINTER(ggml._Properties)).contents
        properties.name, properties.description = f"Vulkan{handle}".encode(), b" llvmpipe \xff"
        properties.memory_free, properties.memory_total = 2**33, 2**34
        properties.type, properties.device_id = self._kind, self._id


def test_a_device_is_read_from_its_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, description, type, memory and address of a device come over, bounded in number."""
    monkeypatch.setattr(ggml, "_function", FakeLibrary(2, b"0000:01:00.0"))

    found = ggml.survey()

    assert len(found.devices) == ggml.MOST_DEVICES
    assert found.devices[0] == Device(
        name="Vulkan1",
        description="llvmpipe �",
        type="iGPU",
        backend="Vulkan",
        total_bytes=2**34,
        free_bytes=2**33,
        hardware_id="0000:01:00.0",
    )
    assert found.backends[0] == "Vulkan"


@pytest.mark.parametrize("kind", [-1, 5])
def test_a_type_of_device_nobody_knows_is_an_error(
    monkeypatch: pytest.MonkeyPatch, kind: int
) -> None:
    """A number that ggml-backend.h of this version doesn't have is refused."""
    monkeypatch.setattr(ggml, "_function", FakeLibrary(kind, None))

    with pytest.raises(EngineFailure, match=f"unknown type {kind}"):
        ggml.survey()


def test_the_command_prints_jsonl_to_a_pipe() -> None:
    """The build's line comes first, then one a device, the processor among them."""
    result = CliRunner().invoke(command.devices_command)

    build, *devices = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert build["object"] == "build"
    assert build["gpu"] == (build["reason"] is None) == (build["advice"] is None)
    assert "CPU" in build["backends"]
    assert {one["object"] for one in devices} == {"device"}
    assert "CPU" in {one["type"] for one in devices}


def test_the_lines_tell_where_layers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several devices, those that would take layers are marked."""
    monkeypatch.setattr(ggml, "survey", lambda: seen(CUDA0, VULKAN0, CPU, backends=("CUDA", "CPU")))

    lines = [
        json.loads(line) for line in CliRunner().invoke(command.devices_command).stdout.splitlines()
    ]

    assert [line["offload"] for line in lines[1:]] == [True, False, False]
    assert lines[1]["name"] == "CUDA0"
    assert lines[1]["free_bytes"] == 7 * GIB
    assert lines[0]["reason"] is None


def shown(survey: Survey) -> str:
    """Return what a person sees."""
    console = Console(file=io.StringIO(), width=160)
    command.show_devices(survey, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_says_why_there_is_no_gpu() -> None:
    """Below the table stand backends, features and, without a GPU, the reason and the way out."""
    text = shown(NO_SUPPORT)

    assert "backends: CPU" in text
    assert "features: CPU : AVX2 = 1" in text
    assert f"no GPU: this build of llama.cpp has no GPU support; {INSTALL_GPU}" in text


def test_the_table_shows_memory_and_who_takes_layers() -> None:
    """Memory is in GiB, or unknown where a device doesn't tell; a GPU needs no advice."""
    silent = device("Metal", total_bytes=0, free_bytes=0)

    text = shown(seen(CUDA0, silent, CPU, backends=("CUDA", "CPU")))

    rows = [line for line in text.splitlines() if re.match("CUDA0|Metal|CPU", line)]
    assert "8.0 GiB" in rows[0]
    assert "7.0 GiB" in rows[0]
    assert "unknown" in rows[1]
    assert ["yes" in row for row in rows] == [True, True, False]
    assert "no GPU" not in text


# The projector of a model that sees


MIB = 1024**2


def seeing(path: Path, survey: Survey, projector: int, **changes: Any) -> Offload:
    """Decide on a file with a projector of so many bytes."""
    settings = Settings(**changes)
    header = gguf_file.read(path)
    verdict = gguf_file.judge(header)
    sizes = plan_sizes(header, verdict, settings, cores=2, gpu_step=512)
    return decide(header, verdict, settings, sizes, survey, projector)


def with_free(*free: int) -> Survey:
    cards = [
        structs.replace(one, free_bytes=had) for one, had in zip((CUDA0, CUDA1), free, strict=False)
    ]
    return seen(*cards, CPU, backends=("CUDA", "CPU"))


def test_a_projector_takes_its_room_on_the_first_gpu(tiny_qwen3: Path) -> None:
    """What the plan says is held counts it, and the reason says where it is."""
    without = decided(tiny_qwen3, ONE_GPU)
    found = seeing(tiny_qwen3, ONE_GPU, 500 * MIB)
    assert found.projector == "CUDA0"
    assert (found.layers, found.fits) == (without.layers, True)
    assert found.bytes == without.bytes + 500 * MIB
    assert "the projector on CUDA0" in found.reason
    assert (without.projector, "projector" in without.reason) == ("", False)


def test_layers_that_no_longer_fit_beside_the_projector_stay_on_the_cpu(
    tiny_qwen3: Path,
) -> None:
    """With the room of all layers and half of the projector there are fewer of them, or none."""
    whole = decided(tiny_qwen3, ONE_GPU)
    room = whole.bytes + MARGIN
    assert decided(tiny_qwen3, with_free(room)).layers == whole.layers
    for projector in (whole.bytes // 3, whole.bytes * 2 // 3):
        found = seeing(tiny_qwen3, with_free(room), projector)
        assert not found.fits
        if found.projector:
            assert found.layers < whole.layers
            assert found.bytes <= whole.bytes
        else:
            assert found.bytes == whole.bytes


@pytest.mark.parametrize("free", [MARGIN, MARGIN + 10 * MIB])
def test_a_projector_too_large_for_the_gpu_stays_on_the_cpu(tiny_qwen3: Path, free: int) -> None:
    """It takes no layer's place."""
    found = seeing(tiny_qwen3, with_free(free), 2 * GIB)
    assert found.projector == ""
    assert found.layers == decided(tiny_qwen3, with_free(free)).layers


@pytest.mark.parametrize("settings", [{"gpu_layers": "0"}, {"gpu_layers": "auto"}])
def test_without_layers_on_a_gpu_the_projector_is_on_the_cpu(
    tiny_qwen3: Path, settings: dict[str, str]
) -> None:
    """Also where a GPU is there, and none is wanted."""
    survey = ONE_GPU if settings["gpu_layers"] == "0" else NO_SUPPORT
    found = seeing(tiny_qwen3, survey, MIB, **settings)
    assert (found.layers, found.projector, found.bytes) == (0, "", 0)


def test_a_model_goes_beside_a_projector_that_fills_the_first_gpu(tiny_qwen3: Path) -> None:
    """Each is whole on one device."""
    full = with_free(MARGIN + GIB, 7 * GIB)
    found = seeing(tiny_qwen3, full, GIB - 100_000)
    assert (found.projector, found.devices, found.fits) == ("CUDA0", ("CUDA1",), True)


def test_the_main_gpu_has_the_projector_where_no_other_is_to_be_used(tiny_qwen3: Path) -> None:
    found = seeing(tiny_qwen3, TWO_GPUS, MIB, split_mode="none", main_gpu=1)
    assert (found.projector, found.devices) == ("CUDA1", ("CUDA1",))
    with pytest.raises(SettingsError, match="main_gpu is 2"):
        seeing(tiny_qwen3, TWO_GPUS, MIB, split_mode="none", main_gpu=2)


def test_layers_that_are_asked_for_bring_the_projector(tiny_qwen3: Path) -> None:
    """Whatever fits: the reason warns."""
    found = seeing(tiny_qwen3, with_free(MARGIN + MIB), 2 * GIB, gpu_layers="1")
    assert (found.layers, found.projector, found.fits) == (1, "CUDA0", False)
    assert "more than fits" in found.reason


def test_devices_are_found_by_their_names() -> None:
    names = [one.name for one in ggml.survey().devices]
    assert all(ggml.device_handle(name) for name in names)
    assert ggml.device_handle("no such device") is None
