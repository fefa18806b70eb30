"""How many workers, threads and tokens a model gets: pure arithmetic on its header."""

from __future__ import annotations

from msgspec import Struct, structs

from rerankd.domain import StepLimits
from rerankd.errors import SettingsError
from rerankd.families.family import Family, StepSizes
from rerankd.families.header import Header
from rerankd.families.score import MaxSimScore
from rerankd.prompts.colbert_layout import recipe_of
from rerankd.settings import Settings
from rerankd.sources.gguf import Verdict, family_of

OUTPUT_BUDGET = 2 * 1024**3
"""Bytes that the pooled output buffers of all workers may come to, if nothing else is set."""
SMALL_MODEL = 100_000_000
"""Parameters below which one thread a worker beats several (docs/performance.md)."""
MOST_WORKERS = 16
LARGE_VOCABULARY = 100_000
GPU_ROWS = 64
"""Documents of an encoder's step on a GPU: what fills it where they are of 30 tokens."""


class Sizes(Struct, frozen=True, kw_only=True):
    """A plan for one model: `workers` contexts of `threads` cores and these limits each."""

    workers: int
    threads: int
    batch: int
    """Tokens that one decode may hold (n_batch = n_ubatch)."""
    sequences: int
    limits: StepLimits


def plan_sizes(
    header: Header, verdict: Verdict, settings: Settings, *, cores: int, gpu_step: int = 0
) -> Sizes:
    """Size a model, for the CPU or for steps of up to `gpu_step` tokens on a GPU.

    Raises SettingsError when the context asked for is longer than it has.
    """
    trained = header.integer("context_length")
    if settings.context > trained:
        raise SettingsError(
            f"context {settings.context} is more than the {trained} tokens of {header.path.name}",
            param="context",
        )
    family = family_of(header, verdict)
    usual = structs.replace(family.steps, pair=min(trained, _usual_pair(family, header)))
    if family.causal:
        return _plan_causal(usual, settings, cores, gpu_step)
    return _plan_encoder(usual, header, settings, cores, gpu_step)


def gpu_steps(header: Header, verdict: Verdict, settings: Settings) -> tuple[int, ...]:
    """Return the steps to try on a GPU, longest first; the one that is set, if any, alone."""
    if settings.step_tokens:
        return (settings.step_tokens,)
    usual = family_of(header, verdict).steps
    found = [usual.gpu_step]
    while found[-1] // 2 >= usual.step:
        found.append(found[-1] // 2)
    return tuple(found)


def _usual_pair(family: Family, header: Header) -> int:
    if isinstance(family.score, MaxSimScore):
        return recipe_of(header).pair_tokens
    return family.steps.pair


def _plan_encoder(
    usual: StepSizes, header: Header, settings: Settings, cores: int, gpu_step: int
) -> Sizes:
    row_bytes = max(header.vocabulary, 1) * 4
    affordable = max(512, OUTPUT_BUDGET // 2 // row_bytes // 64 * 64)
    pair = settings.context or min(usual.pair, affordable)
    workers, threads = _share_cores(header, settings, cores, on_gpu=bool(gpu_step))
    if not settings.workers:
        workers = max(1, min(workers, OUTPUT_BUDGET // (row_bytes * pair)))
        threads = settings.threads or max(1, cores // workers)
    step = min(settings.step_tokens or usual.step, max(pair, 1))
    rows = 16 if header.vocabulary > LARGE_VOCABULARY else 32
    if gpu_step:
        # Many short pairs fill a step that is longer than any pair.
        step = settings.step_tokens or min(gpu_step, max(pair, affordable))
        rows = GPU_ROWS
    longest = max(pair, step)
    limits = StepLimits(
        pair_tokens=pair, step_tokens=step, step_rows=rows, step_prefixes=rows, cells=longest
    )
    # llama.cpp aborts when a context has more sequences than tokens a batch.
    return Sizes(
        workers=workers, threads=threads, batch=max(longest, rows), sequences=rows, limits=limits
    )


def _share_cores(
    header: Header, settings: Settings, cores: int, *, on_gpu: bool
) -> tuple[int, int]:
    if settings.workers:
        return settings.workers, settings.threads or max(1, cores // settings.workers)
    if settings.threads:
        return max(1, cores // settings.threads), settings.threads
    if on_gpu or header.parameters >= SMALL_MODEL:
        return 1, cores
    workers = min(cores, MOST_WORKERS)
    return workers, max(1, cores // workers)


def _plan_causal(usual: StepSizes, settings: Settings, cores: int, gpu_step: int) -> Sizes:
    # One worker: a second one would decode every prefix again and hold a second KV cache.
    workers = settings.workers or 1
    threads = settings.threads or max(1, cores // workers)
    pair = settings.context or usual.pair
    step = min(settings.step_tokens or gpu_step or usual.step, pair)
    limits = StepLimits(
        pair_tokens=pair, step_tokens=step, step_rows=usual.rows, step_prefixes=4, cells=pair + step
    )
    sequences = limits.step_rows + limits.step_prefixes
    return Sizes(
        workers=workers,
        threads=threads,
        batch=max(step, sequences),
        sequences=sequences,
        limits=limits,
    )
