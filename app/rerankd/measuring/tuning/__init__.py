"""Finding the fastest settings of a model on this machine by running it.

One knob after the other: workers × threads, the tokens of a step, the type of the weights, flash
attention. Within a knob the candidates run in turn, round by round, so that a machine that slows
down slows all of them; the knob is changed only where the gain is more than noise.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from rerankd.deployments import applied_tuning as tuned
from rerankd.deployments.runtime import Target
from rerankd.engine import open_engine
from rerankd.engine.llama.requantize import LOSSLESS, bytes_as
from rerankd.engine.planning.sizing import CAUSAL, available_cores
from rerankd.errors import ModelFileError
from rerankd.measuring.tuning.running import logits_of, run_for, workload
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header

ROUNDS = 3
GAIN = 1.03
"""How much faster a candidate must be to be preferred to what is there."""
LONGEST_SLICE = 2.0
"""Seconds that one candidate runs in one round, at most."""
SHORTEST_SLICE = 0.3
STEPS = {True: (256, 512, 1024), False: (64, 96, 128, 192, 256)}
"""Candidates for the tokens of a step, of causal models and of encoders."""


class Candidate(Struct, frozen=True, kw_only=True):
    """Settings that may be the fastest."""

    workers: int
    threads: int
    step_tokens: int
    flash_attn: str = "on"
    weights: str = "file"

    def __str__(self) -> str:
        """Return them in one short line."""
        return (
            f"{self.workers} x {self.threads} threads, steps of {self.step_tokens}, "
            f"flash attention {self.flash_attn}, weights {self.weights}"
        )


class Trial(Struct, frozen=True, kw_only=True):
    """What a candidate came to, in tokens/s, by the incumbent of its knob."""

    knob: str
    candidate: Candidate
    tokens_per_second: float
    ratio: float
    chosen: bool = False
    error: float | None = None
    """Largest difference of a logit to that of the same weights in F32, where weights vary."""


Tell = Callable[[Trial], None]


def tune(
    target: Target,
    settings: Settings,
    *,
    seconds: float = 110.0,
    accept: Iterable[str] = (),
    tell: Tell = lambda _: None,
) -> tuned.Tuned:
    """Return the fastest settings found within about `seconds`.

    `accept` names types of weights beside F32 that may be chosen where their scores are at least
    as near to the F32 ones as the file's own are. Raises what opening the model raises.
    """
    bench = _Bench(target, settings, seconds, frozenset(accept), tell)
    first = best = bench.default()
    best = bench.choose("workers", best, _shares_of_cores(best))
    steps = STEPS[target.verdict.family in CAUSAL]
    best = bench.choose("step", best, [_with(best, step_tokens=step) for step in steps])
    best = bench.choose_weights(best)
    other = "off" if best.flash_attn == "on" else "on"
    best = bench.choose("flash attention", best, [_with(best, flash_attn=other)])
    ratio = 1.0 if best == first else bench.ratio(best, first)
    bench.clean(best)
    return tuned.Tuned(
        model=target.id,
        workers=best.workers,
        threads=best.threads,
        step_tokens=best.step_tokens,
        flash_attn=best.flash_attn,
        weights=best.weights,
        ratio=ratio,
        measured=time.time(),
    )


def _with(candidate: Candidate, **changes: object) -> Candidate:
    return msgspec.structs.replace(candidate, **changes)


def _shares_of_cores(like: Candidate) -> list[Candidate]:
    cores = available_cores()
    shares = [
        (workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0
    ]
    return [_with(like, workers=workers, threads=threads) for workers, threads in shares]


class _Bench:
    """Measures candidates for one model within a time."""

    def __init__(
        self, target: Target, settings: Settings, seconds: float, accept: frozenset[str], tell: Tell
    ) -> None:
        self._target = target
        # What is measured is what is given, not what an earlier run found; and every text is
        # decoded each time, or a model that keeps vectors would only be measured once.
        self._settings = msgspec.structs.replace(settings, weights="file", vector_cache_bytes=0)
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._accept = accept
        self._tell = tell
        self._headers: dict[str, Header] = {"file": target.header}
        self._error: dict[str, float] = {}
        self._prompts, self._sizes = workload(target, self._settings)

    def default(self) -> Candidate:
        """Return what serve would take without tuning."""
        return Candidate(
            workers=self._sizes.workers,
            threads=self._sizes.threads,
            step_tokens=self._sizes.limits.step_tokens,
            flash_attn=self._settings.flash_attn,
        )

    def choose(self, knob: str, incumbent: Candidate, others: Iterable[Candidate]) -> Candidate:
        """Return the fastest, the incumbent unless another is faster by more than noise."""
        rivals = [one for one in dict.fromkeys(others) if one != incumbent]
        rates = self._rates([incumbent, *rivals])
        if not rates:
            return incumbent
        ratios = {one: _ratio(found, rates[incumbent]) for one, found in rates.items()}
        best = max(ratios, key=lambda one: ratios[one] * (GAIN if one == incumbent else 1.0))
        for one, found in rates.items():
            self._tell(
                Trial(
                    knob=knob,
                    candidate=one,
                    tokens_per_second=statistics.median(found),
                    ratio=ratios[one],
                    chosen=one == best,
                    error=self._error.get(one.weights) if knob == "weights" else None,
                )
            )
        return best

    def choose_weights(self, incumbent: Candidate) -> Candidate:
        """Measure the weights in other types; see `tune` for which of them may be chosen."""
        kinds = [kind for kind in ("f32", *sorted(self._accept - LOSSLESS)) if self._write(kind)]
        if not kinds:
            return incumbent
        self._error = error = self._errors(incumbent, ["file", *kinds])
        allowed = [kind for kind in kinds if kind in LOSSLESS or error[kind] <= error["file"]]
        return self.choose(
            "weights", incumbent, [_with(incumbent, weights=kind) for kind in allowed]
        )

    def ratio(self, one: Candidate, other: Candidate) -> float:
        """Return how much faster one is than the other, measured in turn."""
        rates = self._rates([one, other])
        return _ratio(rates[one], rates[other]) if rates else math.nan

    def clean(self, best: Candidate) -> None:
        """Remove requantized files that were not chosen."""
        for kind, header in self._headers.items():
            if kind not in {"file", best.weights}:
                header.path.unlink(missing_ok=True)

    # Measuring

    def _rates(self, candidates: Sequence[Candidate]) -> dict[Candidate, list[float]]:
        """Return tokens/s of candidates in each round; empty when the time is up."""
        left = self._end - time.monotonic()
        if left <= 0 or len(candidates) < 2:  # noqa: PLR2004 - nothing to compare with
            return {}
        share = min(left, self._seconds / 4)
        length = min(LONGEST_SLICE, max(SHORTEST_SLICE, share / len(candidates) / ROUNDS))
        found: dict[Candidate, list[float]] = {one: [] for one in candidates}
        for number in range(ROUNDS):
            if number and time.monotonic() + length * len(candidates) > self._end:
                break
            for one in candidates if number % 2 == 0 else reversed(candidates):
                found[one].append(self._rate(one, length))
        return found

    def _rate(self, candidate: Candidate, seconds: float) -> float:
        engine = open_engine(
            self._headers[candidate.weights], self._target.verdict, self._own(candidate)
        )
        with closing(engine):
            return asyncio.run(run_for(seconds, engine.backends, self._prompts))

    def _own(self, candidate: Candidate) -> Settings:
        return msgspec.structs.replace(
            self._settings,
            workers=candidate.workers,
            threads=candidate.threads,
            step_tokens=candidate.step_tokens,
            flash_attn=candidate.flash_attn,
        )

    # Weights

    def _write(self, kind: str) -> bool:
        """Write the weights in another type where there is memory and disk for them."""
        header = self._target.header
        if bytes_as(header, kind) > available_memory() // 2 or time.monotonic() > self._end:
            return False
        try:
            own = msgspec.structs.replace(self._settings, weights=kind)
            self._headers[kind] = gguf_file.read(tuned.weights_file(header, own))
        except ModelFileError:
            return False  # no room, or a type that llama.cpp can't write: one candidate less
        return True

    def _errors(self, candidate: Candidate, kinds: Sequence[str]) -> dict[str, float]:
        """Return the largest difference of each type's logits to those of F32."""
        own = self._own(_with(candidate, workers=1))
        logits: dict[str, list[float]] = {}
        for kind in kinds:
            engine = open_engine(self._headers[kind], self._target.verdict, own)
            with closing(engine):
                logits[kind] = asyncio.run(logits_of(engine.backends, self._prompts[0]))
        exact = logits["f32"] if "f32" in logits else logits["file"]
        return {
            kind: max(abs(one - other) for one, other in zip(found, exact, strict=True))
            for kind, found in logits.items()
        }


def _ratio(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios."""
    return statistics.median(
        rate / max(other, 1e-9) for rate, other in zip(rates, others, strict=True)
    )


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return the bytes that could be taken without swapping; all there is where it isn't told."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        lines = []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    if found:
        return int(found[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
