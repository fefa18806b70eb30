"""Usage over a restart: stored in a file of its own, added to, bounded, never in anybody's way."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rerankd.errors import StateError
from rerankd.store import USAGE_FILE, UsageAmounts, UsagePlace, UsageStore
from rerankd.telemetry.observers import Telemetry
from rerankd.telemetry.usage import WINDOWS, Usage
from rerankd.telemetry.usage_keeping import UsageKeeper

from support.outcomes import outcome

NOON = 1_800_000_000.0
DAY = 86_400
SELDOM = 3600.0


class Clock:
    """A clock that a test sets."""

    now = NOON

    def __call__(self) -> float:
        return self.now


@contextmanager
def kept(folder: Path, clock: Clock) -> Iterator[Telemetry]:
    """Yield what counts while a server runs that keeps its usage in a folder."""
    telemetry = Telemetry(kept=UsageStore(folder), clock=clock)
    try:
        yield telemetry
    finally:
        telemetry.close()


def rows(folder: Path) -> int:
    """Return how many rows the usage file has."""
    with closing(sqlite3.connect(folder / USAGE_FILE)) as database:
        (count,) = database.execute("SELECT count(*) FROM usage").fetchone()
    return int(count)


def test_usage_survives_a_restart_in_every_window(tmp_path: Path) -> None:
    """Requests, tokens, errors and latencies of two runs are one report."""
    clock = Clock()
    with kept(tmp_path, clock) as first:
        first.ranked(outcome("m", "k", documents=3))
        first.ranked(outcome("m", "k", error="queue_full"))
        before = first.usage.report("quarter")
    with kept(tmp_path, clock) as second:
        second.ranked(outcome("m", "k", documents=3))
    with kept(tmp_path, clock) as third:
        third.close()  # what it loads is there then
        reports = {name: third.usage.report(name) for name in WINDOWS}

    for report in reports.values():
        assert (report.totals.requests, report.totals.errors) == (3, 1)
        assert report.totals.p50_ms == before.totals.p50_ms
        assert [(one.model, one.key) for one in report.series] == [("m", "k")]
    assert stat.S_IMODE((tmp_path / USAGE_FILE).stat().st_mode) == 0o600


def test_two_servers_of_one_folder_add_up(tmp_path: Path) -> None:
    """Neither overwrites what the other has counted."""
    clock = Clock()
    with kept(tmp_path, clock) as one, kept(tmp_path, clock) as other:
        one.ranked(outcome("m", "k"))
        other.ranked(outcome("m", "k"))
    usage = Usage(clock)
    usage.include(UsageStore(tmp_path).load())

    assert usage.report("day").totals.requests == 2


def test_what_is_older_than_its_window_is_deleted(tmp_path: Path) -> None:
    """A hundred days of use leave 92 steps of a day and those of the shorter windows."""
    clock = Clock()
    store = UsageStore(tmp_path)
    usage = Usage(clock)
    usage.begin_saving()
    for _ in range(100):
        usage.ranked(outcome("m", "k"))
        store.add(usage.take_unsaved().items(), usage.expired())
        clock.now += DAY

    assert rows(tmp_path) == 92 + 7 + 1 + 1
    again = Usage(clock)
    again.include(store.load())
    assert again.report("quarter").totals.requests == 91  # today has none yet


def test_counts_wait_while_the_file_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, requests go on, and nothing counted is lost once the file is back."""
    usage, store = Usage(Clock()), UsageStore(tmp_path)
    (tmp_path / USAGE_FILE).write_bytes(b"no database" * 100)
    keeper = UsageKeeper(usage, store, SELDOM)
    keeper.close()
    usage.ranked(outcome("m", "k"))
    keeper._save()
    keeper._save()
    said = [one for one in caplog.records if "not kept over a restart" in one.message]
    (tmp_path / USAGE_FILE).unlink()
    keeper._save()

    assert len(said) == 1
    assert rows(tmp_path) == len(WINDOWS)


def test_a_row_that_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    """The others count; a window of another version is ignored."""
    store = UsageStore(tmp_path)
    step = int(NOON // DAY)
    good, odd = UsagePlace("quarter", step, "m", "k"), UsagePlace("century", 20, "m", "k")
    store.add([(good, UsageAmounts(requests=2)), (odd, UsageAmounts(requests=5))], {})
    with closing(sqlite3.connect(tmp_path / USAGE_FILE)) as database, database:
        database.execute("INSERT INTO usage VALUES ('day', 1, 'm', 'k', 'nonsense')")
    usage = Usage(Clock())
    usage.include(store.load())

    assert usage.report("quarter").totals.requests == 2


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    """It is neither read nor written."""
    with closing(sqlite3.connect(tmp_path / USAGE_FILE)) as database, database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(StateError, match="another version"):
        UsageStore(tmp_path).load()
    with pytest.raises(StateError, match="another version"):
        UsageStore(tmp_path).add([], {})
