"""What a model's scores depend on, as a digest that keeps its scores apart from all others."""

from __future__ import annotations

from importlib.metadata import version

from rerankd import __version__
from rerankd.deployments.applied_tuning import file_head
from rerankd.deployments.target import Target
from rerankd.domain import ModelFacts
from rerankd.errors import ModelFileError
from rerankd.lru import digest_of
from rerankd.settings import SCORE_SETTINGS
from rerankd.sources import gguf as gguf_file

PLACED = frozenset(
    {
        *("model", "weights"),  # by the file that is loaded
        *("context", "gpu_layers", "replica_gpus"),  # by the engine's limit and device
        *("flash_attn", "kv_type", "accept_degraded"),  # as they are
        "as_family",  # where it is set
        "max_picture_tokens",  # the same
    }
)
"""Score settings that have a place of their own in the identity; others are appended."""


def identity_of(target: Target, facts: ModelFacts) -> bytes:
    """Return the digest that keeps scores of different files, layouts and settings apart.

    A file is identified by its beginning (all its metadata, templates included), its size and its
    modification time; hashing gigabytes at each start would take too long.
    """
    path, settings = target.header.path, target.settings
    status = path.stat()
    told = (
        # Layouts are this program's, and another engine rounds in another way.
        *(__version__, version("llama-cpp-python")),
        *(facts.family, facts.context, facts.device, settings.flash_attn, settings.kv_type),
        *(status.st_size, status.st_mtime_ns, settings.accept_degraded),
        target.manifest.context.window if target.manifest else None,
        # After the rest, which keeps its order: caches on disk stay valid.
        *((name, getattr(settings, name)) for name in sorted(SCORE_SETTINGS - PLACED)),
        *gguf_file.parts_state(target.header),
        *readout_of(target),
        *projector_state(target),
        *((limit,) if (limit := settings.max_picture_tokens) else ()),
    )
    return digest_of(file_head(path), repr(told))


def projector_state(target: Target) -> tuple[object, ...]:
    """Return what tells a model's projector from another one, empty for none.

    Raises ModelFileError.
    """
    path = target.mmproj
    if path is None:
        return ()
    try:
        status = path.stat()
        return digest_of(file_head(path)).hex(), status.st_size, status.st_mtime_ns
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror}") from error


def readout_of(target: Target) -> tuple[object, ...]:
    """Return what the user or a manifest says of a file's prompt and scores, empty for nothing."""
    own = target.manifest.readout if target.manifest else None
    family = target.verdict.family
    asked = family.prompt if family and family.chat else None  # what a template made
    return tuple(filter(None, (target.settings.as_family, own, asked)))
