"""The score cache: what it keeps, what it drops, and what survives a restart."""

from __future__ import annotations

import os
import sqlite3
import threading
import tracemalloc
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from rerankd.domain import Passage
from rerankd.lru import ENTRY_BYTES, digest_of
from rerankd.ranking.score_cache import FILE, CachedScore, ScoreCache

ROOM = 1_000_000


def known(logit: float = 1.5, *, chunks: int = 1) -> CachedScore:
    return CachedScore(
        logit=logit, tokens=88, chunks=chunks, truncated=False, passages=(Passage(0, 5, logit),)
    )


def keys(count: int, first: int = 0) -> list[bytes]:
    return [digest_of(str(number)) for number in range(first, first + count)]


def filled(cache: ScoreCache, names: Iterable[bytes]) -> ScoreCache:
    cache.put((key, known()) for key in names)
    return cache


# In memory


def test_what_was_put_is_found_again_as_it_was() -> None:
    """A score comes back with its tokens, chunks and passages; what was never put is None."""
    cache = ScoreCache(ROOM)
    (one, other, missing) = keys(3)
    cache.put([(one, known(0.1, chunks=3)), (other, known(-7.25))])

    assert cache.get([missing, other, one]) == [None, known(-7.25), known(0.1, chunks=3)]


def test_stats_count_hits_misses_and_entries() -> None:
    """Every look-up of a key is a hit or a miss."""
    cache = filled(ScoreCache(ROOM), keys(3))
    cache.get([*keys(2), *keys(4, first=90)])

    assert (2, 4, 3) == (cache.stats.hits, cache.stats.misses, cache.stats.entries)


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    """Size 0 switches it off."""
    cache = filled(ScoreCache(0), keys(2))

    assert not cache.enabled
    assert cache.get(keys(2)) == [None, None]


def test_an_entry_costs_about_what_is_counted() -> None:
    """The bound is one of real memory: Python's own account agrees within a quarter."""
    count = 20_000
    tracemalloc.start()
    try:
        cache = ScoreCache(100_000_000)
        for start in range(0, count, 1000):
            cache.put((key, known()) for key in keys(1000, first=start))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert 0.6 < taken / cache.stats.bytes < 1.25


def test_many_threads_may_use_it_at_once() -> None:
    """Threads that put and get over each other find only whole values."""
    cache = ScoreCache(50 * (ENTRY_BYTES + 40))
    wrong: list[object] = []

    def work(seed: int) -> None:
        for turn in range(200):
            names = keys(5, first=(seed * 7 + turn) % 60)
            filled(cache, names)
            wrong.extend(one for one in cache.get(names) if one not in {None, known()})

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


# On disk


def reopened(folder: Path, max_bytes: int = ROOM) -> ScoreCache:
    return ScoreCache(max_bytes, folder)


def test_scores_survive_a_restart(tmp_path: Path) -> None:
    """What was put before closing is known to the next process."""
    first = filled(reopened(tmp_path), keys(30))
    first.close()
    second = reopened(tmp_path)
    found = second.get(keys(31))
    second.close()

    assert found == [known()] * 30 + [None]


def test_the_file_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    """More scores than the cache may hold push the oldest out of the file as well."""
    room = 10 * ENTRY_BYTES
    first = reopened(tmp_path, room)
    for number in range(100):
        filled(first, keys(1, first=number))
    first.close()
    with sqlite3.connect(tmp_path / FILE) as database:
        (rows,) = database.execute("SELECT count(*) FROM score").fetchone()
    database.close()
    second = reopened(tmp_path, ROOM)
    found = second.get(keys(100))
    second.close()

    assert rows == 10
    assert [number for number, one in enumerate(found) if one] == list(range(90, 100))


def test_nothing_of_a_text_is_in_the_file(tmp_path: Path) -> None:
    """The file holds digests, no query and no document."""
    cache = reopened(tmp_path)
    cache.put([(digest_of("prefix", "a very secret document"), known())])
    cache.close()

    assert b"secret" not in (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_file_that_cannot_be_read_is_begun_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged cache costs its content and one warning, not the start."""
    (tmp_path / FILE).write_bytes(content)
    first = filled(reopened(tmp_path), keys(1))
    first.close()
    second = reopened(tmp_path)
    found = second.get(keys(1))
    second.close()

    assert found == [known()]
    assert bool(content) == ("starting with an empty one" in caplog.text)


@pytest.mark.parametrize("value", [b"junk", b"", b"\x91\xa1\xff", 7, "text", None])
def test_a_score_that_makes_no_sense_is_not_known(tmp_path: Path, value: object) -> None:
    """It is computed again, and the scores beside it are found."""
    filled(reopened(tmp_path), keys(2)).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as database, database:
        if value is None:
            database.execute("UPDATE score SET key = 7 WHERE place = 1")
        else:
            database.execute("UPDATE score SET value = ? WHERE place = 1", (value,))
    second = reopened(tmp_path)
    found = second.get(keys(2))
    second.close()

    assert found == [None, known()]


def test_the_file_is_private(tmp_path: Path) -> None:
    """Whatever the folder and the umask."""
    tmp_path.chmod(0o777)
    before = os.umask(0)
    try:
        filled(reopened(tmp_path), keys(1)).close()
    finally:
        os.umask(before)
    assert {one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {0o600}


def test_a_file_of_another_schema_is_begun_anew(tmp_path: Path) -> None:
    """What a later version wrote is not guessed at."""
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("CREATE TABLE score (other INTEGER)")
        database.execute("PRAGMA user_version = 7")
    database.close()
    cache = filled(reopened(tmp_path), keys(1))
    cache.close()
    again = reopened(tmp_path)
    found = again.get(keys(1))
    again.close()

    assert found == [known()]


def test_a_disk_that_takes_nothing_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory goes on when the file can't be written."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    cache = ScoreCache(ROOM, blocked)
    filled(cache, keys(1))
    filled(cache, keys(2))
    cache.close()

    assert cache.get(keys(2)) == [known(), known()]
    assert caplog.text.count("not kept in") <= 1
    assert "starting with an empty one" in caplog.text
