"""Measuring candidates for one model within a time limit, with its weights in other types."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing

import msgspec

from rerankd import machine
from rerankd.deployments.applied_tuning import weights_file
from rerankd.deployments.target import Target
from rerankd.engine import open_engine
from rerankd.engine.llama.requantize import LOSSLESS, bytes_as
from rerankd.errors import ModelFileError
from rerankd.measuring.tuning.candidates import TuningCandidate, TuningTrial, varied
from rerankd.measuring.tuning.running import logits_of, run_for, workload
from rerankd.settings import Settings
from rerankd.sources import gguf as gguf_file
from rerankd.sources.gguf import Header

ROUNDS = 3
GAIN = 1.03
"""How much faster a candidate must be to replace the incumbent."""
LONGEST_SLICE = 2.0
"""The most seconds that a candidate runs in one round."""
SHORTEST_SLICE = 0.3

OnTrial = Callable[[TuningTrial], None]


class TuningBench:
    """Measures candidates for one model; `find_fastest` says what the parameters mean."""

    def __init__(
        self,
        target: Target,
        settings: Settings,
        seconds: float,
        accept: frozenset[str],
        on_trial: OnTrial,
    ) -> None:
        self._target = target
        # Measured as given, without an earlier tuning; and without a vector cache, so that
        # every text is decoded each time.
        self._settings = msgspec.structs.replace(settings, weights="file", vector_cache_bytes=0)
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self._accept = accept
        self._on_trial = on_trial
        self._headers: dict[str, Header] = {"file": target.header}
        self._error: dict[str, float] = {}
        self._prompts, self._sizes = workload(target, self._settings)

    def default(self) -> TuningCandidate:
        """Return the settings that serve would use without tuning."""
        return TuningCandidate(
            workers=self._sizes.workers,
            threads=self._sizes.threads,
            step_tokens=self._sizes.limits.step_tokens,
            flash_attn=self._settings.flash_attn,
        )

    def choose(
        self, knob: str, incumbent: TuningCandidate, others: Iterable[TuningCandidate]
    ) -> TuningCandidate:
        """Return the fastest, the incumbent unless another is faster by more than noise."""
        rivals = [one for one in dict.fromkeys(others) if one != incumbent]
        rates = self._rates([incumbent, *rivals])
        if not rates:
            return incumbent
        ratios = {one: _median_ratio(found, rates[incumbent]) for one, found in rates.items()}
        best = max(ratios, key=lambda one: ratios[one] * (GAIN if one == incumbent else 1.0))
        for one, found in rates.items():
            self._on_trial(
                TuningTrial(
                    knob=knob,
                    candidate=one,
                    tokens_per_second=statistics.median(found),
                    ratio=ratios[one],
                    chosen=one == best,
                    error=self._error.get(one.weights) if knob == "weights" else None,
                )
            )
        return best

    def choose_weights(self, incumbent: TuningCandidate) -> TuningCandidate:
        """Measure the weights in other types; `find_fastest` says which may be chosen."""
        kinds = [kind for kind in ("f32", *sorted(self._accept - LOSSLESS)) if self._write(kind)]
        if not kinds:
            return incumbent
        self._error = error = self._errors(incumbent, ["file", *kinds])
        allowed = [kind for kind in kinds if kind in LOSSLESS or error[kind] <= error["file"]]
        return self.choose(
            "weights", incumbent, [varied(incumbent, weights=kind) for kind in allowed]
        )

    def ratio(self, one: TuningCandidate, other: TuningCandidate) -> float:
        """Return how much faster one is than the other, measured in turn."""
        rates = self._rates([one, other])
        return _median_ratio(rates[one], rates[other]) if rates else math.nan

    def clean(self, best: TuningCandidate) -> None:
        """Remove requantized files that were not chosen."""
        for kind, header in self._headers.items():
            if kind not in {"file", best.weights}:
                header.path.unlink(missing_ok=True)

    # Measuring

    def _rates(self, candidates: Sequence[TuningCandidate]) -> dict[TuningCandidate, list[float]]:
        """Return the candidates' tokens/s in each round; empty when the time is up."""
        left = self._end - time.monotonic()
        if left <= 0 or len(candidates) < 2:  # noqa: PLR2004 - nothing to compare with
            return {}
        share = min(left, self._seconds / 4)
        length = min(LONGEST_SLICE, max(SHORTEST_SLICE, share / len(candidates) / ROUNDS))
        found: dict[TuningCandidate, list[float]] = {one: [] for one in candidates}
        for number in range(ROUNDS):
            if number and time.monotonic() + length * len(candidates) > self._end:
                break
            for one in candidates if number % 2 == 0 else reversed(candidates):
                found[one].append(self._rate(one, length))
        return found

    def _rate(self, candidate: TuningCandidate, seconds: float) -> float:
        engine = open_engine(
            self._headers[candidate.weights], self._target.verdict, self._own(candidate)
        )
        with closing(engine):
            return asyncio.run(run_for(seconds, engine.backends, self._prompts))

    def _own(self, candidate: TuningCandidate) -> Settings:
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
        free = machine.available_memory() or machine.total_memory()
        if bytes_as(header, kind) > free // 2 or time.monotonic() > self._end:
            return False
        try:
            own = msgspec.structs.replace(self._settings, weights=kind)
            self._headers[kind] = gguf_file.read(weights_file(header, own))
        except ModelFileError:
            return False  # no room, or a type that llama.cpp can't write: one candidate less
        return True

    def _errors(self, candidate: TuningCandidate, kinds: Sequence[str]) -> dict[str, float]:
        """Return the largest difference of each type's logits to those of F32."""
        own = self._own(varied(candidate, workers=1))
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


def _median_ratio(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios."""
    return statistics.median(
        rate / max(other, 1e-9) for rate, other in zip(rates, others, strict=True)
    )
