"""Each contender ranks the same queries in turn, and is compared with the first stage's order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from rerankd.errors import RerankdError
from rerankd.measuring.evaluation.bootstrap import RESAMPLES, Interval, Values, intervals
from rerankd.measuring.evaluation.data import Data
from rerankd.measuring.evaluation.metrics import Measures
from rerankd.measuring.evaluation.rankers import Contender
from rerankd.measuring.evaluation.reliability import Reliability, reliability_of
from rerankd.measuring.evaluation.survey import DataSurvey, Listed
from rerankd.measuring.evaluation.trial import Tick, Trial, rank_all
from rerankd.measuring.figures import MEGABYTE
from rerankd.measuring.provenance import Provenance

FIRST_STAGE = "first stage"
FEW = 30
"""With fewer queries than this, percentiles of a bootstrap are too narrow."""
P95 = 0.95

Begun = Callable[[str], Tick]
"""Called with the name of each contender in its turn; returns what its progress goes to."""


class Task(Struct, frozen=True, kw_only=True, eq=False):
    """The work of every contender."""

    data: Data
    measures: Measures
    known: DataSurvey
    depth: int
    seed: int
    calibrate: bool = False
    """Whether to hold scores against judgements, and to fit them."""


class QualityFigures(Struct, frozen=True, kw_only=True):
    """A measure's mean, its difference from the first stage, and its values by query."""

    measure: str
    mean: float
    difference: float | None
    """None for the first stage itself."""
    interval: Interval | None
    """Of the difference; None also where there are too few queries for one."""
    by_query: tuple[float, ...]
    """In the order of `Comparison.queries`."""


class Cost(Struct, frozen=True, kw_only=True):
    """What ranking took: the time of requests alone, one after the other."""

    documents_per_second: float
    p95_ms: float
    """Of one query with all its candidates, by nearest rank."""
    memory_mb: float | None
    """The most that was resident; None where the process is not known."""
    truncated: int
    """Documents that were cut to the model's context."""


class Gap(Struct, frozen=True, kw_only=True):
    """A contender's mean of the first measure less that of the best contender."""

    best: str
    difference: float
    interval: Interval | None


class Standing(Struct, frozen=True, kw_only=True):
    """The figures of one order of the candidates; the first stage has no cost."""

    name: str
    quality: tuple[QualityFigures, ...]
    cost: Cost | None = None
    gap: Gap | None = None
    """None for the best contender as well."""
    warnings: tuple[str, ...] = ()
    reliability: Reliability | None = None
    """Where asked for."""


class Failure(Struct, frozen=True):
    """A contender that failed, and why."""

    name: str
    message: str


class Comparison(Struct, frozen=True, kw_only=True):
    """Everything `rerankd eval` found, without texts: queries appear by their ids."""

    queries: tuple[str, ...]
    """Those measured."""
    documents: int
    depth: int
    without_relevant: Listed
    without_candidates: Listed
    cut: Listed
    seed: int
    resamples: int
    first_stage: Standing
    contenders: tuple[Standing, ...]
    failed: tuple[Failure, ...]
    made: Provenance | None = None
    """What it was measured with."""

    @property
    def notes(self) -> list[str]:
        """Return what a reader of the figures has to know, one sentence each."""
        return [*_data_notes(self), *_contender_notes(self)]


async def compare_contenders(
    task: Task, contenders: Sequence[Contender], begun: Begun
) -> Comparison:
    """Let each contender rank all queries, one contender loaded at a time.

    A contender that fails is reported with its reason, and the others go on.
    """
    trials: dict[str, Trial] = {}
    failed: list[Failure] = []
    for contender in contenders:
        try:
            async with contender.open() as ranker:
                tick = begun(contender.name)
                trials[contender.name] = await rank_all(
                    task.data, task.measures, task.known, ranker, tick
                )
        except RerankdError as error:
            failed.append(Failure(contender.name, error.message))
    return _compared(task, trials, failed)


def _compared(task: Task, trials: Mapping[str, Trial], failed: Sequence[Failure]) -> Comparison:
    known = task.known
    return Comparison(
        queries=known.queries,
        documents=known.documents,
        depth=task.depth,
        without_relevant=known.without_relevant,
        without_candidates=known.without_candidates,
        cut=known.cut,
        seed=task.seed,
        resamples=RESAMPLES,
        first_stage=Standing(name=FIRST_STAGE, quality=_quality_figures(task, known.values, None)),
        contenders=tuple(_standing_of(name, trials, task) for name in trials),
        failed=tuple(failed),
    )


def _standing_of(name: str, trials: Mapping[str, Trial], task: Task) -> Standing:
    run = trials[name]
    return Standing(
        name=name,
        quality=_quality_figures(task, run.values, task.known.values),
        cost=Cost(
            documents_per_second=task.known.documents / sum(run.seconds),
            p95_ms=1000 * run.percentile(P95),
            memory_mb=None if run.memory is None else run.memory / MEGABYTE,
            truncated=run.truncated,
        ),
        gap=_gap(name, trials, task),
        warnings=run.warnings,
        reliability=reliability_of(run.judged, task.seed) if task.calibrate else None,
    )


def _gap(name: str, trials: Mapping[str, Trial], task: Task) -> Gap | None:
    best = max(trials, key=lambda one: float(trials[one].values[:, 0].mean()))
    if best == name:
        return None
    differences = trials[name].values[:, :1] - trials[best].values[:, :1]
    bounds = intervals(differences, seed=task.seed)
    return Gap(
        best=best, difference=float(differences.mean()), interval=bounds[0] if bounds else None
    )


def _quality_figures(
    task: Task, values: Values, baseline: Values | None
) -> tuple[QualityFigures, ...]:
    """Return each measure's figures; without a baseline there is no difference."""
    names = task.measures.names
    differences: Sequence[float | None] = [None] * len(names)
    bounds: Sequence[Interval | None] = [None] * len(names)
    if baseline is not None:
        differences = (values - baseline).mean(axis=0).tolist()
        bounds = intervals(values - baseline, seed=task.seed) or bounds
    return tuple(
        QualityFigures(
            measure=name,
            mean=float(values[:, at].mean()),
            difference=differences[at],
            interval=bounds[at],
            by_query=tuple(values[:, at].tolist()),
        )
        for at, name in enumerate(names)
    )


def _data_notes(found: Comparison) -> list[str]:
    notes = []
    if found.without_relevant.queries:
        notes.append(
            f"{_queries(found.without_relevant)} without a relevant document, "
            "left out of every mean"
        )
    if found.without_candidates.queries:
        notes.append(
            f"{_queries(found.without_candidates)} without candidates, counted as 0 everywhere"
        )
    if found.cut.queries:
        notes.append(
            f"{_queries(found.cut)} with more than {found.depth} candidates: "
            f"only the first {found.depth} are ranked"
        )
    if len(found.queries) < FEW:
        notes.append(f"{len(found.queries)} queries are few, so the intervals are rough")
    return notes


def _queries(listed: Listed) -> str:
    shown = ", ".join(listed.ids[:3]) + (", …" if listed.queries > 3 else "")  # noqa: PLR2004
    return f"{listed.queries} {'query' if listed.queries == 1 else 'queries'} ({shown})"


def _contender_notes(found: Comparison) -> list[str]:
    notes = []
    for one in found.contenders:
        if one.cost is not None and one.cost.truncated:
            notes.append(
                f"{one.name}: {one.cost.truncated} documents were truncated to its context"
            )
        notes += [f"{one.name}: {warning}" for warning in one.warnings]
        if one.reliability and one.reliability.note:
            notes.append(f"{one.name}: {one.reliability.note}")
        if one.reliability and one.reliability.assumed:
            notes.append(f"{one.name}: candidates without a judgement count as not relevant")
    notes += [f"{one.name} failed: {one.message}" for one in found.failed]
    return notes
