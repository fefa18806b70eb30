"""What `rerankd tune` found for a model on this machine, kept in the state folder and applied.

A tuning holds for the beginning of a file (its header), the processor and cores, and the engine's
version: when one of these changes, the defaults are used again.
"""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from rerankd.engine.llama.requantize import requantize
from rerankd.errors import ModelFileError, SettingsError, StateError
from rerankd.lru import digest_of
from rerankd.machine import available_cores
from rerankd.settings import Settings, override, state_folder
from rerankd.sources.gguf import Header, parts_state
from rerankd.store.private_files import make_private_folder, write_private_file

logger = logging.getLogger(__name__)

TUNING_FILE = "tuned.json"
WEIGHTS_FOLDER = "weights"
"""The folder of requantized files."""
FILE_HEAD_BYTES = 1 << 20
"""A file's beginning, which holds all its metadata."""


class AppliedTuning(Struct, frozen=True, kw_only=True):
    """The fastest settings found for a model on this machine."""

    model: str
    workers: int
    threads: int
    step_tokens: int
    flash_attn: str
    weights: str
    ratio: float
    """Tokens/s as a multiple of the defaults', measured in turn."""
    measured: float
    """Unix time in seconds."""


def tuning_key(header: Header) -> str:
    """Return what a tuning is kept under: a digest of the header, the machine and the engine."""
    machine = (processor(), available_cores(), version("llama-cpp-python"))
    return digest_of(file_head(header.path), str(header.file_bytes), repr(machine)).hex()


def file_head(path: Path) -> bytes:
    """Return the first bytes of a file, which differ where its metadata does."""
    with path.open("rb") as file:
        return file.read(FILE_HEAD_BYTES)


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, as exactly as the system knows it."""
    try:
        lines = cpuinfo.read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def find_tuning(header: Header, settings: Settings) -> AppliedTuning | None:
    """Return the tuning of a file on this machine, None where there is none."""
    found = _read_tunings(_tuning_file(settings))
    return found.get(tuning_key(header)) if found else None


def keep_tuning(header: Header, settings: Settings, result: AppliedTuning) -> None:
    """Keep a tuning in place of an earlier one. Raises StateError."""
    file = _tuning_file(settings)
    _write_tunings(file, _read_tunings(file) | {tuning_key(header): result})


def forget_tuning(header: Header, settings: Settings) -> bool:
    """Delete a tuning and its requantized file; return whether there was one."""
    file = _tuning_file(settings)
    found = _read_tunings(file)
    known = found.pop(tuning_key(header), None)
    if known:
        _write_tunings(file, found)
        path = requantized_path(header, settings, known.weights)
        path.unlink(missing_ok=True)
    return known is not None


def apply_tuning(header: Header, settings: Settings) -> Settings:
    """Return the settings with what tuning found, wherever they leave the default."""
    found = find_tuning(header, settings)
    if found is None:
        return settings
    changes: dict[str, object] = {}
    # What was found for all cores doesn't hold for a share of them.
    if not settings.workers and not settings.threads and not settings.cores:
        changes |= {"workers": found.workers, "threads": found.threads}
    if not settings.step_tokens:
        changes["step_tokens"] = found.step_tokens
    if settings.flash_attn == Settings().flash_attn:
        changes["flash_attn"] = found.flash_attn
    if settings.weights == "auto":
        changes["weights"] = found.weights
    try:
        tuned = override(settings, changes)
    except SettingsError as error:  # edited, or written by a later version
        logger.warning("%s: its tuning result is ignored: %s", header.path.name, error.message)
        return settings
    logger.info("%s: using the settings tuned for this machine: %s", header.path.name, changes)
    return tuned


def weights_file(header: Header, settings: Settings) -> Path:
    """Return the file to load: the model's own, or its weights in the type that is set.

    It is written if it isn't there yet, which takes seconds per gigabyte. Raises ModelFileError.
    """
    if settings.weights in {"auto", "file"}:
        return header.path
    path = requantized_path(header, settings, settings.weights)
    if not path.exists():
        logger.info("%s: converting its weights to %s", header.path.name, settings.weights)
        requantize(header, path, settings.weights, threads=available_cores())
    return path


def requantized_path(header: Header, settings: Settings, kind: str) -> Path:
    """Return where a file's weights in another type are kept."""
    try:
        changed = header.path.stat().st_mtime_ns
    except OSError as error:
        raise ModelFileError(f"{header.path}: {error.strerror}") from error
    # By the file, not its header alone: retrained weights are another model.
    states = (str(header.file_bytes), str(changed), *map(str, parts_state(header)))
    own = digest_of(str(header.path.resolve()), *states).hex()
    return state_folder(settings) / WEIGHTS_FOLDER / f"{header.path.stem}-{own[:12]}-{kind}.gguf"


def _tuning_file(settings: Settings) -> Path:
    return state_folder(settings) / TUNING_FILE


def _read_tunings(file: Path) -> dict[str, AppliedTuning]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, AppliedTuning])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        logger.warning("cannot read tuning results from %s: %s", file, error)
        return {}


def _write_tunings(file: Path, found: dict[str, AppliedTuning]) -> None:
    try:
        make_private_folder(file.parent)
        write_private_file(file, msgspec.json.format(msgspec.json.encode(found), indent=1))
    except OSError as error:
        raise StateError(f"cannot store the tuning result in {file}: {error.strerror}") from error
