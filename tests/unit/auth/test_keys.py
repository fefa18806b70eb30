"""Keys: what is kept of them, who is let in, and what another process changes meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from rerankd.auth import keys
from rerankd.auth.keys import (
    KEY_MARK,
    PREFIX_LENGTH,
    KeyStore,
    keep_key,
    key_digest,
    key_store_of,
    make_key,
)
from rerankd.auth.rate_limits import KeyLimits
from rerankd.errors import Conflict, NotFound, StateError, Unauthorized
from rerankd.settings import Settings
from rerankd.store import STATE_FILE, STATE_SCHEMA, Key, Spec, Store

NOW = 1_800_000_000.0


class Clock:
    """A time of day that moves when the test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def of_store(folder: Path, clock: Callable[[], float] = time.time) -> KeyStore:
    """Return a ring over a folder's store, read."""
    ring = KeyStore((), Store(folder), clock=clock)
    ring.load()
    return ring


def put(folder: Path, name: str = "k", **given: object) -> tuple[Key, str]:
    """Make and keep a key, as the command does in its own process."""
    key, text = make_key(name, now=NOW, **given)  # type: ignore[arg-type]
    keep_key(Store(folder), key, NOW)
    return key, text


async def written(ring: KeyStore) -> None:
    """Wait until the times of use are stored."""
    if ring._uses:
        await ring._uses.written()


async def accepts(ring: KeyStore, text: str) -> bool:
    """Tell whether a key is let in now, as the guard asks; its use is written meanwhile."""
    await ring.refresh()
    try:
        ring.caller(text)
    except Unauthorized:
        return False
    await written(ring)
    return True


# Making


def test_a_key_is_random_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    """256 bits after the mark, safe in headers and shells; the file has none of their text."""
    made = [put(tmp_path, expires=int(NOW) + 60, models=["a", "a", "b"]) for _ in range(20)]

    for key, text in made:
        assert text.startswith(KEY_MARK)
        assert len(text) == len(KEY_MARK) + 43
        assert text.isascii()
        assert text[:PREFIX_LENGTH] == key.prefix
        assert key.models == ("a", "b")
        assert text not in repr(key)
        assert text[PREFIX_LENGTH:] not in msgspec.json.encode(key).decode()
        for file in tmp_path.iterdir():
            assert text[PREFIX_LENGTH:].encode() not in file.read_bytes()
    assert len({text for _, text in made}) == len({key.id for key, _ in made}) == 20
    assert [key for key, _ in made] == Store(tmp_path).api_keys()


def test_there_are_not_more_keys_than_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked ones don't count."""
    monkeypatch.setattr(keys, "MOST_KEYS", 2)
    first, _ = put(tmp_path)
    put(tmp_path)
    with pytest.raises(Conflict, match="revoke one"):
        put(tmp_path)
    Store(tmp_path).revoke_key(first.id, int(NOW))
    put(tmp_path)


def test_revoked_keys_are_forgotten_in_the_end(tmp_path: Path) -> None:
    """They stay listed for 30 days, and go when the next key is made."""
    store = Store(tmp_path)
    key, _ = put(tmp_path)
    assert store.revoke_key(key.id, int(NOW))
    assert not store.revoke_key(key.id, int(NOW) + 5)
    put(tmp_path)
    assert [one.revoked for one in store.api_keys()] == [int(NOW), None]
    late, _ = make_key("late", now=NOW + keys.REVOKED_SECONDS + 1)
    keep_key(store, late, NOW + keys.REVOKED_SECONDS + 1)
    assert key.id not in {one.id for one in store.api_keys()}


# Checking


def test_only_the_very_key_is_let_in_until_it_expires(tmp_path: Path) -> None:
    """The very key, until it expires; nothing near it."""
    clock = Clock()
    key, text = put(tmp_path, expires=int(NOW) + 10, scopes=["manage"], models=["m"])
    ring = of_store(tmp_path, clock)

    async def check() -> None:
        caller = ring.caller(text)
        assert (caller.id, caller.name, caller.keyed) == (key.id, "k", True)
        assert (caller.scopes, caller.models) == (("manage",), ("m",))
        for wrong in (
            text[:-1],
            text + "x",
            key.prefix,
            "",
            "ü",
            text.swapcase(),
            key_digest(text),
        ):
            with pytest.raises(Unauthorized, match="not valid"):
                ring.caller(str(wrong))
        clock.now += 10
        with pytest.raises(Unauthorized, match="expired"):
            ring.caller(text)

    asyncio.run(check())
    assert ring.requires_key, "a key that ran out doesn't open the server"


def test_keys_of_the_settings_do_all_and_show_nothing() -> None:
    """They have an id and a name, no prefix, and the default limits."""
    settings = Settings(api_keys=("short", "other"), key_tokens_per_minute=9)
    ring = key_store_of(settings)

    async def check() -> None:
        caller = ring.caller("other")
        assert (caller.id, caller.scopes) == ("settings-2", keys.ALL_SCOPES)
        assert caller.limits == KeyLimits(tokens_per_minute=9)
        with pytest.raises(Unauthorized):
            ring.caller("shor")
        with pytest.raises(Conflict, match="settings"):
            await ring.revoke("settings-1")

    asyncio.run(check())
    assert ring.requires_key
    assert [(key.name, key.prefix) for key in ring.keys] == [("from settings", "")] * 2
    assert "short" not in repr(ring.keys)


def test_a_keys_own_limits_come_before_the_settings(tmp_path: Path) -> None:
    """None is the default, 0 is none at all."""
    text = put(tmp_path, requests_per_minute=0, concurrent_requests=3)[1]
    defaults = KeyLimits(requests_per_minute=1, tokens_per_minute=2, concurrent_requests=4)
    ring = KeyStore((), Store(tmp_path), defaults=defaults)
    ring.load()

    async def limits() -> KeyLimits:
        return ring.caller(text).limits

    expected = KeyLimits(requests_per_minute=0, tokens_per_minute=2, concurrent_requests=3)
    assert asyncio.run(limits()) == expected


def test_keys_without_a_store_last_as_long_as_the_ring() -> None:
    """Made, used and revoked in memory."""
    ring = KeyStore()
    key, text = make_key("k", now=time.time())

    async def story() -> None:
        assert not ring.requires_key
        await ring.add(key)
        assert ring.requires_key
        assert await accepts(ring, text)
        await ring.revoke(key.id)
        assert not await accepts(ring, text)
        with pytest.raises(NotFound):
            await ring.revoke(key.id)

    asyncio.run(story())
    assert not ring.requires_key
    assert ring.keys[0].revoked


# What other processes do


@pytest.mark.parametrize("old", [True, False])
def test_another_process_is_noticed_at_once(tmp_path: Path, old: bool) -> None:
    """The very next check sees a key that came or was revoked, however close the changes."""
    other = Store(tmp_path)

    async def story() -> None:
        ring = of_store(tmp_path)
        for _ in range(30):
            key, text = put(tmp_path)
            assert await accepts(ring, text)
            if old:  # a file that has not changed for long is not read again
                os.utime(tmp_path / STATE_FILE, (NOW - 9e8, NOW - 9e8))
                assert await accepts(ring, text)
                assert ring._file
                assert ring._file._is_current()
            other.revoke_key(key.id, int(NOW))
            assert not await accepts(ring, text)
        assert not ring.requires_key

    asyncio.run(story())


def test_changes_within_one_tick_of_the_files_clock_are_noticed(tmp_path: Path) -> None:
    """A file whose time is that of the reading is read again, though it looks the same."""
    key, text = put(tmp_path)
    ring = of_store(tmp_path)
    file = tmp_path / STATE_FILE
    before = file.stat()

    async def story() -> None:
        Store(tmp_path).revoke_key(key.id, int(NOW))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file.stat().st_size == before.st_size
        assert not await accepts(ring, text)

    assert ring._file
    # As it is within the tick, however slow this machine.
    ring._file._last = ring._file._last._replace(settled=False)
    asyncio.run(story())


def test_requests_that_come_together_read_once(tmp_path: Path) -> None:
    """Fifty callers after a change wait for one reading."""
    text = put(tmp_path)[1]
    os.utime(tmp_path / STATE_FILE, (NOW - 9e8, NOW - 9e8))
    readings = 0

    class Counting(Store):
        def api_keys(self, *, expected: bool = False) -> list[Key]:
            nonlocal readings
            readings += 1
            return super().api_keys(expected=expected)

        def set_keys_used(self, used: Mapping[str, int]) -> None:
            """Leave the file as it is: a change of it is read again."""

    ring = KeyStore((), Counting(tmp_path))

    async def story() -> None:
        assert all(await asyncio.gather(*(accepts(ring, text) for _ in range(50))))

    asyncio.run(story())
    assert readings == 1


# Last use


def test_the_last_use_is_kept_once_a_minute(tmp_path: Path) -> None:
    """At once, and again after a minute; a list of this process is always right."""
    clock = Clock()
    text = put(tmp_path)[1]
    ring = of_store(tmp_path, clock)
    store = Store(tmp_path)

    async def use() -> int | None:
        ring.caller(text)
        await written(ring)
        return store.api_keys()[0].last_used

    async def story() -> None:
        assert store.api_keys()[0].last_used is None
        assert await use() == NOW
        clock.now += 59
        assert await use() == NOW
        clock.now += 1
        assert await use() == NOW + 60
        assert ring.keys[0].last_used == NOW + 60

    asyncio.run(story())


def test_a_last_use_that_cannot_be_kept_is_told_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is let in; the log says why nothing is written, without the key."""
    text = put(tmp_path)[1]

    class Full(Store):
        def set_keys_used(self, used: Mapping[str, int]) -> None:
            raise StateError(f"no space for {used}")

    ring = KeyStore((), Full(tmp_path))
    ring.load()

    async def story() -> None:
        assert await accepts(ring, text)
        await written(ring)

    with caplog.at_level(logging.WARNING, "rerankd"):
        asyncio.run(story())
    assert "no space" in caplog.text
    assert text not in caplog.text


# The file

SCHEMA_1 = """
CREATE TABLE deployment (id TEXT PRIMARY KEY, spec BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE checked (file TEXT PRIMARY KEY, bytes INTEGER NOT NULL, changed INTEGER NOT NULL,
                      engine TEXT NOT NULL);
INSERT INTO deployment VALUES ('m', '{"id":"m","source":"s","pinned":true,"options":{}}', 1.5);
INSERT INTO checked VALUES ('/f', 1, 2, 'e');
PRAGMA user_version = 1;
"""


def test_a_file_of_schema_1_gets_keys_and_loses_nothing(tmp_path: Path) -> None:
    """What an earlier version wrote is read, and keys are kept beside it."""
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        database.executescript(SCHEMA_1)

    key, text = put(tmp_path)

    store = Store(tmp_path)
    assert store.deployments() == [Spec(id="m", source="s", pinned=True)]
    assert [one.id for one in store.api_keys()] == [key.id]
    assert asyncio.run(accepts(of_store(tmp_path), text))
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        assert database.execute("SELECT * FROM checked").fetchall() == [("/f", 1, 2, "e")]
        assert database.execute("PRAGMA user_version").fetchone() == (STATE_SCHEMA,)


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    """Nothing is changed in what is not understood."""
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        database.execute(f"PRAGMA user_version = {STATE_SCHEMA + 1}")
    with pytest.raises(StateError, match=f"schema is {STATE_SCHEMA + 1}"):
        Store(tmp_path).api_keys()
    with pytest.raises(StateError, match="schema"):
        put(tmp_path)


def test_a_migration_that_fails_halfway_changes_nothing(tmp_path: Path) -> None:
    """All of it or none."""
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        database.executescript(SCHEMA_1 + "CREATE TABLE key (own INTEGER);")
    with pytest.raises(StateError):
        Store(tmp_path).api_keys()
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
