"""What llama.cpp can compute on, and which of it a model would be put on: structs and rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct, structs

from rerankd.engine.planning import offload
from rerankd.engine.planning.memory import (
    contexts_bytes,
    is_causal_network,
    require_dimensions,
)
from rerankd.engine.planning.offload import ModelBytes, Placement, SplitMode
from rerankd.engine.planning.sizing import Sizes, gpu_steps, plan_sizes
from rerankd.errors import SettingsError
from rerankd.families.header import Header
from rerankd.families.memory import ContextBytes, Dimensions
from rerankd.settings import Settings
from rerankd.sources.gguf import Verdict

DeviceType = Literal["CPU", "GPU", "iGPU", "accelerator", "meta"]

ON_THE_PROCESSOR = frozenset({"CPU", "BLAS", "ZenDNN", "zDNN", "AMX", "KleidiAI"})
"""Backends that have no memory of their own to put layers in."""

CUDA_HEADS = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
"""Sizes of heads that flash attention has CUDA kernels for, of networks as they are ranked with."""

_PIP = "pip install --force-reinstall --no-cache-dir --no-deps llama-cpp-python"
INSTALL_GPU = (
    "install a build of llama-cpp-python with one, "
    f"for CUDA: CMAKE_ARGS='-DGGML_CUDA=on' {_PIP}; "
    f"for Vulkan: CMAKE_ARGS='-DGGML_VULKAN=on' {_PIP}; "
    f"for Metal: CMAKE_ARGS='-DGGML_METAL=on' {_PIP} (docs/gpu.md)"
)


class Device(Struct, frozen=True, kw_only=True):
    """One device as its backend describes it; memory in bytes, both 0 where it reports none."""

    name: str
    description: str
    type: DeviceType
    backend: str
    total_bytes: int
    free_bytes: int
    hardware_id: str | None = None
    """The PCI address, by which one GPU seen by two backends is known."""


class Survey(Struct, frozen=True, kw_only=True):
    """Everything llama.cpp sees at one moment."""

    devices: tuple[Device, ...]
    backends: tuple[str, ...]
    """Backends that are in the build, whether or not they found a device."""
    features: str
    """llama.cpp's own line on what the processor and the backends can do."""


def offload_targets(survey: Survey) -> tuple[Device, ...]:
    """Return the devices llama.cpp puts layers on, in its order: `main_gpu` counts in this list.

    Source: llama.cpp's `llama_prepare_model_devices`. GPUs reached over the network come first;
    one GPU seen by two backends counts once; integrated ones count only where there are no
    others, and only those of one backend.
    """
    remote = [one for one in survey.devices if one.type == "GPU" and one.backend == "RPC"]
    local: list[Device] = []
    for device in survey.devices:
        if device.type == "GPU" and device.backend != "RPC" and not _is_listed(device, local):
            local.append(device)
    integrated = [one for one in survey.devices if one.type == "iGPU"]
    same = [one for one in integrated if one.backend == integrated[0].backend]
    return (*remote, *(local or same))


def _is_listed(device: Device, others: Sequence[Device]) -> bool:
    return device.hardware_id is not None and any(
        other.hardware_id == device.hardware_id for other in others
    )


def free_bytes(device: Device, survey: Survey) -> int:
    """Return a device's free memory, the host's where it reports none, as llama.cpp takes it."""
    if device.total_bytes or device.free_bytes:
        return device.free_bytes
    return next((one.free_bytes for one in survey.devices if one.type == "CPU"), 0)


def missing_gpu(survey: Survey) -> str | None:
    """Return why no layer can go to a GPU, one clause, or None where there is one."""
    if offload_targets(survey):
        return None
    compiled = [name for name in survey.backends if name not in ON_THE_PROCESSOR]
    if not compiled:
        return "this build of llama.cpp has no GPU support"
    return f"this build of llama.cpp has {', '.join(compiled)}, which found no GPU"


def way_to_gpu(survey: Survey) -> str | None:
    """Return what to install or to look at so that a GPU is used, None where one is."""
    if offload_targets(survey):
        return None
    if all(name in ON_THE_PROCESSOR for name in survey.backends):
        return INSTALL_GPU
    return (
        "check that the driver is installed and the device is passed into the container "
        "(docs/gpu.md)"
    )


def require_gpu(survey: Survey, setting: str) -> None:
    """Raise SettingsError, with what to install or look at, where `gpu_layers` can't be met."""
    reason = missing_gpu(survey)
    if reason:
        raise SettingsError(
            f"gpu_layers is {setting}, but {reason}; {way_to_gpu(survey)}", param="gpu_layers"
        )


class Offload(Struct, frozen=True, kw_only=True):
    """What was decided on `gpu_layers`, with a reason to log and to show."""

    layers: int
    """For llama.cpp's n_gpu_layers: 0 is the CPU alone."""
    of: int
    """How many layers the model has, its output counted as one."""
    reason: str
    split_mode: SplitMode = "none"
    main_gpu: int = -1
    tensor_split: tuple[float, ...] = ()
    """These three are for llama.cpp. On the CPU alone they name no device, or it would copy
    weights to the GPU for every larger batch and take memory there."""
    devices: tuple[str, ...] = ()
    """Names of the devices that hold layers."""
    bytes: int = 0
    """About what they will hold together, with the projector."""
    projector: str = ""
    """Name of the device that the projector goes to; empty: the CPU, or there is none."""
    fits: bool = True
    """Whether all layers that are wanted there fit, by the estimate."""
    flash_attn: Literal["auto", "on", "off"] = "on"
    """What the context is made with."""


def plan_steps(  # noqa: PLR0913 - a model, and what it is planned for
    header: Header,
    verdict: Verdict,
    settings: Settings,
    *,
    cores: int,
    survey: Survey,
    projector: int = 0,
) -> tuple[Sizes, Offload]:
    """Plan sizes and GPU layers together: a step is longer on a GPU, and takes memory there.

    Steps are as long as leaves room for all layers and the projector, which takes `projector`
    bytes, and otherwise as short as on the CPU. Raises what `plan_sizes` and `decide` raise.
    """
    for step in gpu_steps(header, verdict, settings):
        sizes = plan_sizes(header, verdict, settings, cores=cores, gpu_step=step)
        offload = decide(header, verdict, settings, sizes, survey, projector)
        if offload.fits:
            break
    if not offload.layers:
        sizes = plan_sizes(header, verdict, settings, cores=cores)
    return sizes, offload


def decide(  # noqa: PLR0913 - a model, and where it may go
    header: Header,
    verdict: Verdict,
    settings: Settings,
    sizes: Sizes,
    survey: Survey,
    projector: int = 0,
) -> Offload:
    """Decide how many layers of a model go to GPUs: `auto` as many as fit, else what is asked.

    A projector of so many bytes comes first: pictures spend most of their time in it, and llama.cpp
    puts all of it on one device. It stays on the CPU where no layer would fit beside it.

    Raises SettingsError when a GPU is asked for and there is none, or a device that isn't
    there is named; ModelFileError when the header has no sizes to plan with.
    """
    of = header.integer("block_count") + 1
    if settings.gpu_layers.isdigit() and not int(settings.gpu_layers):
        return Offload(layers=0, of=of, reason="gpu_layers is 0: on the CPU")
    if settings.gpu_layers != "auto":
        require_gpu(survey, settings.gpu_layers)
    missing = missing_gpu(survey)
    if missing:
        return Offload(layers=0, of=of, reason=f"{missing}: on the CPU")
    targets = offload_targets(survey)
    free = [free_bytes(one, survey) for one in targets]
    require_dimensions(header)
    model = offload.model_bytes(header, causal=is_causal_network(header))
    if lacks_flash_attention(header, settings, targets):
        settings = structs.replace(settings, flash_attn="auto")
    context = contexts_bytes(header, verdict, sizes, settings)
    home = _home_of_projector(projector, free, settings)
    held = [projector if at == home else 0 for at in range(len(free))]
    left = [max(0, had - taken) for had, taken in zip(free, held, strict=True)]
    placement = _placed(model, context, left, settings)
    lost = home is not None and not placement.layers
    if lost:
        home, held = None, [0] * len(free)
        placement = _placed(model, context, free, settings)
    taken = tuple(map(sum, zip(placement.device_bytes, held, strict=True)))
    placement = structs.replace(placement, device_bytes=taken)
    wanted = min(of, int(settings.gpu_layers)) if settings.gpu_layers.isdigit() else of
    found = _explained(placement, (wanted, of), targets, free, settings.split_mode)
    found = structs.replace(found, flash_attn=settings.flash_attn, fits=found.fits and not lost)
    return found if home is None else _with_projector(found, targets[home])


def _home_of_projector(size: int, free: Sequence[int], settings: Settings) -> int | None:
    """Return which device a projector of `size` bytes goes to, None for the CPU."""
    at = settings.main_gpu if settings.split_mode == "none" else 0
    if not size or at >= len(free):
        return None
    fits = size <= offload.usable(free[at])
    return at if fits or settings.gpu_layers != "auto" else None


def _with_projector(found: Offload, device: Device) -> Offload:
    reason = found.reason.replace(" on the GPU", f" on the GPU, the projector on {device.name}", 1)
    return structs.replace(found, projector=device.name, reason=reason)


def lacks_flash_attention(header: Header, settings: Settings, targets: Sequence[Device]) -> bool:
    """Return whether a CUDA GPU would leave a model's flash attention to the CPU.

    "auto" has llama.cpp fall back to plain attention there. A quantised KV cache needs the other.
    """
    sizes = Dimensions.of(header)
    return (
        settings.flash_attn == "on"
        and settings.kv_type != "q8_0"
        and any(one.backend == "CUDA" for one in targets)
        and (sizes.key_width != sizes.value_width or sizes.key_width not in CUDA_HEADS)
    )


def _placed(
    model: ModelBytes, context: ContextBytes, free: Sequence[int], settings: Settings
) -> Placement:
    split = offload.Split(settings.split_mode, settings.main_gpu, settings.tensor_split)
    if settings.gpu_layers == "auto":
        return offload.plan_layers(model, context, free, split)
    asked = model.layers if settings.gpu_layers == "all" else int(settings.gpu_layers)
    room = [offload.usable(one) for one in free]
    return offload.place(model, context, room, min(asked, model.layers), split)


def _explained(
    placement: Placement,
    layers: tuple[int, int],
    targets: Sequence[Device],
    free: Sequence[int],
    split_mode: SplitMode,
) -> Offload:
    wanted, of = layers
    rows = list(zip(targets, placement.counts, placement.device_bytes, free, strict=True))
    over = any(taken > offload.usable(had) for _, _, taken, had in rows)
    held = [
        f"{_size(taken)} of {_size(had)} free on {one.name}" for one, _, taken, had in rows if taken
    ]
    if placement.layers:
        reason = f"{placement.layers} of {of} layers on the GPU, about {', '.join(held)}"
        if over:
            reason += "; this is more than fits, by the estimate"
    else:
        reason = f"no layer fits in the {_size(max(free))} free: on the CPU"
    shared = bool(placement.layers) and placement.alone is None
    return Offload(
        layers=placement.layers,
        of=of,
        reason=reason,
        split_mode=split_mode if shared else "none",
        main_gpu=placement.alone if placement.alone is not None else 0 if shared else -1,
        tensor_split=placement.shares if shared else (),
        devices=tuple(one.name for one, count, _, _ in rows if count),
        bytes=sum(placement.device_bytes),
        fits=not over and placement.layers >= wanted,
    )


def _size(count: int) -> str:
    return f"{count / 1024**2:.0f} MiB"
