"""What happened during a soak, the bounds that it must keep, and its table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

KEPT_REASONS = 20
"""Reasons that are kept of each kind of fault."""
WORST_HEALTH = 0.250
"""Seconds that a health check may take."""
MOST_GROWTH = 1.20
"""Memory after a soak, as a multiple of that before."""
MORE_FILES, MORE_THREADS = 8, 4
"""Open files and threads that may be left over: caches and pools that filled late."""
LOG_BYTES, LOG_BYTES_BASE = 1500, 1 << 20
"""Log volume per request or connection, and beside them."""


@dataclass
class KindFigures:
    """What became of one kind of traffic."""

    sent: int = 0
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Process:
    """What a server's process holds."""

    megabytes: float
    files: int
    threads: int


class Tally:
    """Counts by kind of traffic; for one event loop."""

    def __init__(self) -> None:
        self.kinds: dict[str, KindFigures] = {}
        self.refusals: Counter[int] = Counter()
        """Answers with an error by their status, of clients that behave and of others."""
        self.wrong: list[str] = []
        self.lost: list[str] = []
        """Requests of clients that behave and got neither an answer nor a clean refusal."""

    def sent(self, kind: str, seconds: float | None = None) -> None:
        """Count a request or connection, and how long its answer took if it had one."""
        entry = self.kinds.setdefault(kind, KindFigures())
        entry.sent += 1
        if seconds is not None:
            entry.seconds.append(seconds)

    def refuse(self, status: int) -> None:
        """Count a refusal."""
        self.refusals[status] += 1

    def judge(self, kind: str, fault: str) -> None:
        """Count an answer as wrong where it has a fault."""
        if fault:
            self.wrong.append(f"{kind}: {fault}")

    def lose(self, kind: str, why: str) -> None:
        """Count a request without an answer or a clean refusal."""
        self.lost.append(f"{kind}: {why}")

    @property
    def total(self) -> int:
        """How many requests and connections there were."""
        return sum(kind.sent for kind in self.kinds.values())


@dataclass(frozen=True, kw_only=True)
class SoakOutcome:
    """A whole soak."""

    seed: int
    minutes: float
    tally: Tally
    health: Sequence[float | None]
    """Seconds of each health check; None where it failed."""
    probe_lag: float
    """The longest that the checking process itself was kept from running, in seconds."""
    before: Process
    after: Process
    log_bytes: int
    tracebacks: int
    exit_code: int
    stop_seconds: float

    def broken(self) -> list[str]:
        """Return the bounds that were broken, in words."""
        tally, health = self.tally, [one for one in self.health if one is not None]
        idle = [kind for kind, entry in tally.kinds.items() if not entry.sent]
        most_log = LOG_BYTES_BASE + LOG_BYTES * (tally.total + len(self.health))
        checks = (
            (not tally.wrong, f"{len(tally.wrong)} wrong answers"),
            (not tally.lost, f"{len(tally.lost)} requests were lost"),
            (not tally.refusals[500], f"{tally.refusals[500]} answers with status 500"),
            (len(health) == len(self.health), "health checks failed"),
            (bool(health), "no health check ran"),
            (bool(tally.total) and not idle, f"no traffic of some kinds: {', '.join(idle)}"),
            (max(health, default=0) <= WORST_HEALTH, "a health check took too long"),
            (self.after.megabytes <= self.before.megabytes * MOST_GROWTH, "memory grew"),
            (self.after.files <= self.before.files + MORE_FILES, "files were left open"),
            (self.after.threads <= self.before.threads + MORE_THREADS, "threads were left"),
            (self.log_bytes <= most_log, "the log grew too fast"),
            (not self.tracebacks, f"{self.tracebacks} tracebacks in the log"),
            (self.exit_code == 0, f"the server ended with {self.exit_code}"),
        )
        return [words for kept, words in checks if not kept]

    def as_json(self) -> str:
        """Return all figures and the first reasons of faults."""
        tally = self.tally
        figures: dict[str, Any] = {
            "seed": self.seed,
            "minutes": self.minutes,
            "kinds": {
                name: {"sent": kind.sent, **_spread(kind.seconds)}
                for name, kind in sorted(tally.kinds.items())
            },
            "refusals": {str(code): count for code, count in sorted(tally.refusals.items())},
            "wrong": len(tally.wrong),
            "wrong_reasons": tally.wrong[:KEPT_REASONS],
            "lost": len(tally.lost),
            "lost_reasons": tally.lost[:KEPT_REASONS],
            "health_checks": len(self.health),
            "health": _spread([one for one in self.health if one is not None]),
            "probe_lag": self.probe_lag,
            "before": vars(self.before),
            "after": vars(self.after),
            "log_bytes": self.log_bytes,
            "tracebacks": self.tracebacks,
            "exit_code": self.exit_code,
            "stop_seconds": self.stop_seconds,
            "broken": self.broken(),
        }
        return json.dumps(figures, indent=1)

    def as_markdown(self) -> str:
        """Return two tables: the traffic, and the figures with their bounds."""
        lines = ["| traffic | sent | median ms | p99 ms | worst ms |", "|---|---|---|---|---|"]
        for name, kind in sorted(self.tally.kinds.items()):
            cells = [_ms(kind.seconds, share) for share in (0.5, 0.99, 1.0)]
            lines.append(f"| {name} | {kind.sent:,} | {' | '.join(cells)} |")
        lines += ["", "| figure | value | bound |", "|---|---|---|"]
        lines += [f"| {name} | {value} | {bound} |" for name, value, bound in self._figures()]
        return "\n".join(lines)

    def _figures(self) -> list[tuple[str, str, str]]:
        tally, before, after = self.tally, self.before, self.after
        health = [one for one in self.health if one is not None]
        refusals = ", ".join(f"{code}: {n:,}" for code, n in sorted(tally.refusals.items()))
        return [
            ("requests and connections", f"{tally.total:,} in {self.minutes:g} minutes", ""),
            ("wrong answers", str(len(tally.wrong)), "0"),
            ("lost requests", str(len(tally.lost)), "0"),
            ("refusals by status", refusals or "none", "no 500"),
            ("health checks", f"{len(self.health):,}, p99 {_ms(health, 0.99)} ms", "none fails"),
            ("worst health check", f"{_ms(health, 1.0)} ms", f"{WORST_HEALTH * 1000:g} ms"),
            ("the checker's own worst delay", f"{self.probe_lag * 1000:.0f} ms", ""),
            (
                "memory before, and 60 s after",
                f"{before.megabytes:.0f} MB, {after.megabytes:.0f} MB",
                f"+{(MOST_GROWTH - 1) * 100:.0f} %",
            ),
            ("open files before and after", f"{before.files}, {after.files}", f"+{MORE_FILES}"),
            ("threads before and after", f"{before.threads}, {after.threads}", f"+{MORE_THREADS}"),
            ("log", f"{self.log_bytes / 1e6:.1f} MB, {self.tracebacks} tracebacks", "0 tracebacks"),
            ("SIGTERM", f"exit {self.exit_code} after {self.stop_seconds:.1f} s", "exit 0"),
        ]


def _percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _ms(values: Sequence[float], share: float) -> str:
    return f"{_percentile(values, share) * 1000:,.0f}" if values else "–"


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    shares = {"median": 0.5, "p99": 0.99, "worst": 1.0}
    return {name: round(_percentile(values, share), 4) for name, share in shares.items()}
