"""The edge to ggml, the tensor library below llama.cpp: its backends and devices.

llama_cpp binds none of these functions, so they are declared here, from ggml-backend.h.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
from llama_cpp import _ggml

from rerankd.engine.planning.devices import Device, DeviceType, Survey
from rerankd.errors import EngineFailure

MOST_DEVICES = 256
TYPES: tuple[DeviceType, ...] = ("CPU", "GPU", "iGPU", "accelerator", "meta")
"""By their number in ggml_backend_dev_type."""
SPELLED = {"cuda": "CUDA", "hip": "ROCm", "musa": "MUSA", "metal": "MTL", "vulkan": "Vulkan"}
"""How backends call themselves where that isn't their library's name in capitals."""


class _Properties(ctypes.Structure):
    """`ggml_backend_dev_props`, with room behind it for what a later version may add."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("room", ctypes.c_byte * 64),
    )


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "ggml_backend_load_all_from_path": (None, ctypes.c_char_p),
    "ggml_backend_reg_count": (ctypes.c_size_t,),
    "ggml_backend_reg_get": (ctypes.c_void_p, ctypes.c_size_t),
    "ggml_backend_reg_name": (ctypes.c_char_p, ctypes.c_void_p),
    "ggml_backend_dev_count": (ctypes.c_size_t,),
    "ggml_backend_dev_get": (ctypes.c_void_p, ctypes.c_size_t),
    "ggml_backend_dev_backend_reg": (ctypes.c_void_p, ctypes.c_void_p),
    "ggml_backend_dev_get_props": (None, ctypes.c_void_p, ctypes.POINTER(_Properties)),
    "ggml_op_name": (ctypes.c_char_p, ctypes.c_int),
    "ggml_nbytes": (ctypes.c_size_t, ctypes.c_void_p),
    "ggml_backend_tensor_get": (
        *(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t),
    ),
    "ggml_backend_tensor_set": (
        *(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t),
    ),
}
"""The result's type, then the arguments'."""

_loading = threading.Lock()


@cache
def _function(name: str) -> Any:
    # Through libllama's handle, which finds the ggml that it is linked to: in a wheel, libggml.so
    # and libggml.so.0 are two files, and llama_cpp's own handle may be the other one.
    found = getattr(lib._lib, name)  # noqa: SLF001 - llama_cpp keeps the handle there only
    found.restype, *found.argtypes = _SIGNATURES[name]
    return found


def load_plugins() -> None:
    """Load the best backends of a build that has them as plugins beside its libraries, once.

    llama.cpp itself looks only in the folder it was compiled for, in that of the program, and in
    the working directory. Raises EngineFailure where this processor can run none of them.
    """
    folder = library_folder()
    if not any(folder.glob("libggml-cpu-*.so")):
        return
    with _loading:
        if not _count("reg"):
            _function("ggml_backend_load_all_from_path")(os.fsencode(folder))
        if not _count("reg"):
            raise EngineFailure("this processor cannot run any of the installed llama.cpp kernels")


def survey() -> Survey:
    """Return what llama.cpp sees now; the first call starts the GPUs' drivers.

    Raises EngineFailure for a device of a type this code doesn't know.
    """
    load_plugins()
    lib.llama_supports_gpu_offload()  # loads plugins that are in another folder
    found = [_function("ggml_backend_reg_get")(at) for at in range(_count("reg"))]
    registered = [_text(_function("ggml_backend_reg_name")(one)) for one in found]
    return Survey(
        devices=tuple(_device(at) for at in range(_count("dev"))),
        backends=tuple(dict.fromkeys((*registered, *_compiled(library_folder())))),
        features=_text(lib.llama_print_system_info()).strip(" |"),
    )


def device_handle(name: str) -> int | None:
    """Return ggml's own handle of a device, None where there is none of that name."""
    for at in range(_count("dev")):
        if _device(at).name == name:
            return int(_function("ggml_backend_dev_get")(at))
    return None


@cache
def operation_name(number: int) -> str:
    """Return what ggml calls an operation, by its number."""
    return _text(_function("ggml_op_name")(number))


def tensor_bytes(address: int) -> bytes:
    """Return a tensor's numbers, wherever they lie."""
    size = int(_function("ggml_nbytes")(address))
    found = ctypes.create_string_buffer(size)
    _function("ggml_backend_tensor_get")(address, found, 0, size)
    return found.raw


def write_tensor(address: int, numbers: bytes) -> None:
    """Replace a tensor's numbers."""
    if len(numbers) != int(_function("ggml_nbytes")(address)):
        raise EngineFailure("as many bytes as the tensor has must be written")
    _function("ggml_backend_tensor_set")(address, numbers, 0, len(numbers))


def _count(kind: str) -> int:
    return min(int(_function(f"ggml_backend_{kind}_count")()), MOST_DEVICES)


def _device(at: int) -> Device:
    handle = _function("ggml_backend_dev_get")(at)
    properties = _Properties()
    _function("ggml_backend_dev_get_props")(handle, ctypes.byref(properties))
    if not 0 <= properties.type < len(TYPES):
        raise EngineFailure(f"llama.cpp has a device of unknown type {properties.type}")
    backend = _function("ggml_backend_dev_backend_reg")(handle)
    return Device(
        name=_text(properties.name),
        description=_text(properties.description).strip(),
        type=TYPES[properties.type],
        backend=_text(_function("ggml_backend_reg_name")(backend)),
        total_bytes=int(properties.memory_total),
        free_bytes=int(properties.memory_free),
        hardware_id=_text(properties.device_id) or None,
    )


def _text(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")


def library_folder() -> Path:
    """Return the folder that has llama.cpp's libraries."""
    return Path(str(_ggml.libggml._name)).parent  # noqa: SLF001 - ctypes keeps the path there only


def _compiled(folder: Path) -> list[str]:
    """Return the backends whose library is in the build.

    A backend that finds no driver at all doesn't register; then only its file shows that it
    is there.
    """
    names = {path.name.split(".")[0].partition("-")[2] for path in folder.glob("libggml-*")}
    return [
        SPELLED.get(name, name.upper())
        for name in sorted(names)
        if name != "base" and not name.startswith("cpu")  # one a processor type, in some builds
    ]
