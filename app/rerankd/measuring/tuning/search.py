"""The search: one knob after the other, each changed only where the gain is more than noise.

The knobs are workers × threads, the tokens of a step, the type of the weights, flash attention.
Within a knob the candidates run in turn, round by round, so that a machine that slows down slows
all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from rerankd.deployments.applied_tuning import AppliedTuning
from rerankd.deployments.target import Target
from rerankd.machine import available_cores
from rerankd.measuring.tuning.candidates import TuningCandidate, varied
from rerankd.measuring.tuning.trials import OnTrial, TuningBench
from rerankd.settings import Settings
from rerankd.sources.gguf import family_of


def find_fastest(
    target: Target,
    settings: Settings,
    *,
    seconds: float = 110.0,
    accept: Iterable[str] = (),
    on_trial: OnTrial = lambda _: None,
) -> AppliedTuning:
    """Return the fastest settings found within about `seconds`.

    `accept` names types of weights beside F32 that may be chosen where their scores are at least
    as near to the F32 ones as the file's own are. Raises what opening the model raises.
    """
    bench = TuningBench(target, settings, seconds, frozenset(accept), on_trial)
    first = best = bench.default()
    best = bench.choose("workers", best, _shares_of_cores(best))
    steps = family_of(target.header, target.verdict).steps.tuned_steps
    best = bench.choose("step", best, [varied(best, step_tokens=step) for step in steps])
    best = bench.choose_weights(best)
    other = "off" if best.flash_attn == "on" else "on"
    best = bench.choose("flash attention", best, [varied(best, flash_attn=other)])
    ratio = 1.0 if best == first else bench.ratio(best, first)
    bench.clean(best)
    return AppliedTuning(
        model=target.id,
        workers=best.workers,
        threads=best.threads,
        step_tokens=best.step_tokens,
        flash_attn=best.flash_attn,
        weights=best.weights,
        ratio=ratio,
        measured=time.time(),
    )


def _shares_of_cores(like: TuningCandidate) -> list[TuningCandidate]:
    cores = available_cores()
    shares = [
        (workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0
    ]
    return [varied(like, workers=workers, threads=threads) for workers, threads in shares]
