"""A state file that is locked, damaged, slow or gone while a server runs."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from rerankd.auth import key_file
from rerankd.auth.key_file import KNOWN_KEYS_SECONDS
from rerankd.auth.keys import KeyStore, keep_key, make_key
from rerankd.errors import StateError, StateUnavailable, Unauthorized
from rerankd.store import STATE_FILE, Key, Store
from rerankd.store.key_marker import MARKER_FILE

NOW = 1_800_000_000.0


class Ring(KeyStore):
    """Keys over a folder, with seconds that pass when the test says so, and no wait for locks."""

    def __init__(self, folder: Path, *given: str, store: Store | None = None) -> None:
        self.seconds = 0.0
        found = store or Store(folder, busy_seconds=0)
        super().__init__(given, found, monotonic=lambda: self.seconds)
        self.load()

    async def settle(self) -> None:
        """Wait for what is read and written in the background."""
        assert self._file
        assert self._uses
        while self._file._task:
            await asyncio.wait({self._file._task})
        await self._uses.written()

    async def asks(self, text: str) -> bool:
        """Return whether a key is let in, as the guard asks."""
        await self.refresh()
        try:
            self.caller(text)
        except Unauthorized:
            return False
        finally:
            await self.settle()
        return True


def put(folder: Path) -> tuple[Key, str]:
    """Make and keep a key."""
    key, text = make_key("k", now=NOW)
    keep_key(Store(folder), key, NOW)
    return key, text


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold another connection's lock on a state file that seems to have changed."""
    with closing(sqlite3.connect(folder / STATE_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        os.utime(folder / STATE_FILE)
        yield


def run(story: Callable[[], object]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))  # type: ignore[arg-type]


def test_a_locked_file_leaves_known_keys_in_force_for_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Then they are refused until it can be read; the log has one line for each change."""
    _, text = put(tmp_path)
    ring = Ring(tmp_path)

    async def story() -> None:
        with locked(tmp_path):
            for _ in range(5):
                assert await ring.asks(text)
                assert not await ring.asks("unknown")
            ring.seconds += KNOWN_KEYS_SECONDS
            for _ in range(5):
                with pytest.raises(StateUnavailable, match="cannot be looked up"):
                    await ring.asks(text)
            assert ring.requires_key
        assert await ring.asks(text)

    with caplog.at_level(logging.INFO, "rerankd.auth.key_file"):
        run(story)
    lines = [one for one in caplog.records if one.name == "rerankd.auth.key_file"]
    begin, end, again = (one.getMessage() for one in lines)
    assert "another process is using it" in begin
    assert "accepted for 60 s" in begin
    assert "refused until then" in end
    assert "can be read again" in again


def test_keys_of_the_settings_do_not_depend_on_the_file(tmp_path: Path) -> None:
    """However long it can't be read; stored ones beside them do."""
    _, text = put(tmp_path)
    ring = Ring(tmp_path, "own")

    async def story() -> None:
        with locked(tmp_path):
            await ring.refresh()
            await ring.settle()
            ring.seconds += KNOWN_KEYS_SECONDS
            assert await ring.asks("own")
            for other in (text, "unknown"):
                with pytest.raises(StateUnavailable):
                    await ring.asks(other)

    run(story)


def test_a_key_revoked_while_the_file_was_locked_is_refused_after_it(tmp_path: Path) -> None:
    """The first reading after the lock counts."""
    key, text = put(tmp_path)
    ring = Ring(tmp_path)

    async def story() -> None:
        with locked(tmp_path):
            assert await ring.asks(text)
        Store(tmp_path).revoke_key(key.id, int(NOW))
        await ring.refresh()  # begins a reading, and doesn't wait for it
        await ring.settle()
        assert not await ring.asks(text)

    run(story)


class Slow(Store):
    """A store on a disk that answers when the test lets it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.answers = threading.Event()
        self.answers.set()
        self.begun = threading.Event()
        self.readings = 0

    def api_keys(self, *, expected: bool = False) -> list[Key]:
        self.readings += 1
        self.begun.set()
        assert self.answers.wait(10)
        return super().api_keys(expected=expected)


def test_a_disk_that_does_not_answer_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reading is under way, known keys are in force, and its answer counts when it comes."""
    monkeypatch.setattr(key_file, "READ_SECONDS", 0.001)
    _, text = put(tmp_path)
    store = Slow(tmp_path)
    ring = Ring(tmp_path, store=store)

    async def story() -> None:
        store.answers.clear()
        store.begun.clear()
        other, _ = put(tmp_path)
        for _ in range(20):
            await ring.refresh()
            assert ring.caller(text)
        assert store.begun.wait(10)  # its thread may be slower than all twenty
        assert store.readings == 2
        store.answers.set()
        await ring.settle()
        assert [key.id for key in ring.keys][-1] == other.id

    run(story)


class Unreadable(Store):
    """A store that can be written, but not read by those who look for changes."""

    fails = False

    def api_keys(self, *, expected: bool = False) -> list[Key]:
        if self.fails and expected:
            raise StateUnavailable("another process is using it")
        return super().api_keys(expected=expected)


def test_what_is_done_here_counts_though_the_file_cannot_be_read(tmp_path: Path) -> None:
    """A key revoked through this server is refused by it at once, and a new one let in."""
    key, text = put(tmp_path)
    store = Unreadable(tmp_path)
    ring = Ring(tmp_path, store=store)

    async def story() -> None:
        assert await ring.asks(text)
        store.fails = True
        await ring.revoke(key.id)
        new, other = make_key("new", now=NOW)
        await ring.add(new)
        for fails in (True, False):
            store.fails = fails
            assert not await ring.asks(text)
            assert await ring.asks(other)

    run(story)


class Late(Store):
    """A store whose readings reach the server when the test lets them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.arrives = threading.Event()
        self.arrives.set()
        self.read = threading.Event()

    def api_keys(self, *, expected: bool = False) -> list[Key]:
        found = super().api_keys(expected=expected)
        self.read.set()
        assert self.arrives.wait(10)
        return found


def test_a_reading_from_before_a_revocation_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may arrive after that one and others."""
    monkeypatch.setattr(key_file, "READ_SECONDS", 0.001)
    keys = [put(tmp_path) for _ in range(2)]
    store = Late(tmp_path)
    ring = Ring(tmp_path, store=store)

    async def story() -> None:
        store.arrives.clear()
        store.read.clear()
        put(tmp_path)
        await ring.refresh()
        assert store.read.wait(10)
        for key, _ in keys:
            await ring.revoke(key.id)
        store.arrives.set()
        await ring.settle()
        for _, text in keys:
            with pytest.raises(Unauthorized, match="was revoked"):
                ring.caller(text)
            assert not await ring.asks(text)

    run(story)


# Lost


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_file(folder: Path) -> None:
    (folder / STATE_FILE).unlink()


def empty_file(folder: Path) -> None:
    (folder / STATE_FILE).write_bytes(b"")


def replace_by_junk(folder: Path) -> None:
    (folder / STATE_FILE).write_bytes(b"junk, and more of it" * 500)


def cut_in_half(folder: Path) -> None:
    file = folder / STATE_FILE
    os.truncate(file, file.stat().st_size // 2)


def replace_by_folder(folder: Path) -> None:
    (folder / STATE_FILE).unlink()
    (folder / STATE_FILE).mkdir()


def replace_parent(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


def restore_keyless(folder: Path) -> None:
    """Put a state file in place that never had keys, as an old backup."""
    (folder / STATE_FILE).unlink()
    with closing(sqlite3.connect(folder / STATE_FILE)) as database:
        database.execute("CREATE TABLE other (id)")


def make_newer(folder: Path) -> None:
    with closing(sqlite3.connect(folder / STATE_FILE)) as database:
        database.execute("PRAGMA user_version = 99")


HARMS = [
    delete_folder,
    delete_file,
    empty_file,
    replace_by_junk,
    cut_in_half,
    replace_by_folder,
    replace_parent,
    restore_keyless,
    make_newer,
]


@pytest.mark.parametrize("harm", HARMS)
def test_a_server_that_has_seen_a_key_stays_closed(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Whatever becomes of the file while it runs; the key is good for a minute more."""
    folder = tmp_path / "state"
    _, text = put(folder)
    ring = Ring(folder)

    async def story() -> None:
        harm(folder)
        assert await ring.asks(text)
        assert ring.requires_key
        ring.seconds += KNOWN_KEYS_SECONDS
        with pytest.raises(StateUnavailable):
            await ring.asks(text)
        assert ring.requires_key

    run(story)


@pytest.mark.parametrize("harm", HARMS)
def test_a_server_does_not_start_without_the_keys_that_were_there(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """The line names the file, and the way out where there is one."""
    folder = tmp_path / "state"
    put(folder)
    running = Ring(folder)
    harm(folder)
    with pytest.raises(StateError):  # the server that runs notices
        running.load()

    with pytest.raises(StateError, match=STATE_FILE) as refused:
        Ring(folder)

    assert "\n" not in refused.value.message
    if harm not in {replace_by_folder, replace_parent, make_newer}:
        assert "rerankd keys reset" in refused.value.message


def test_a_fresh_folder_needs_no_key(tmp_path: Path) -> None:
    """Nor does one whose keys were all revoked, even if its file is deleted then."""
    assert not Ring(tmp_path / "none").requires_key
    key, _ = put(tmp_path)
    other, _ = put(tmp_path)
    store = Store(tmp_path)
    store.revoke_key(key.id, int(NOW))
    assert (tmp_path / MARKER_FILE).exists()
    store.revoke_key(other.id, int(NOW))
    assert not Ring(tmp_path).requires_key
    delete_file(tmp_path)
    assert not Ring(tmp_path).requires_key
    assert not list(tmp_path.iterdir())


def test_keys_of_an_earlier_version_are_remembered(tmp_path: Path) -> None:
    """It didn't write the marker; the first start of this one does."""
    put(tmp_path)
    (tmp_path / MARKER_FILE).unlink()
    Ring(tmp_path)
    assert (tmp_path / MARKER_FILE).stat().st_mode & 0o777 == 0o600
    delete_file(tmp_path)
    with pytest.raises(StateError, match="reset"):
        Ring(tmp_path)


def test_a_key_that_cannot_be_read_closes_the_server(tmp_path: Path) -> None:
    """Its holder gets 401, and nobody else gets in."""
    _, text = put(tmp_path)
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database, database:
        database.execute("UPDATE key SET spec = '{}'")
    ring = Ring(tmp_path)

    async def story() -> None:
        assert ring.requires_key
        assert not await ring.asks(text)
        assert not await ring.asks("")

    run(story)


# Last use


def test_uses_during_a_lock_are_stored_together_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None is lost, and there is one line of log."""
    made = [put(tmp_path) for _ in range(3)]
    ring = Ring(tmp_path)

    async def story() -> None:
        with locked(tmp_path):
            for _, text in made[:2]:
                assert await ring.asks(text)
        await ring.asks(made[2][1])

    run(story)
    assert all(key.last_used for key in Store(tmp_path).api_keys())
    assert sum("last used" in line for line in caplog.messages) == 1


def test_one_write_stores_what_many_requests_leave(tmp_path: Path) -> None:
    """Requests that come during a write wait for the next one together."""
    made = [put(tmp_path) for _ in range(20)]
    batches: list[int] = []

    class Counting(Store):
        def set_keys_used(self, used: Mapping[str, int]) -> None:
            batches.append(len(used))
            super().set_keys_used(used)

    ring = Ring(tmp_path, store=Counting(tmp_path))

    async def story() -> None:
        for _, text in made:
            ring.caller(text)
        await ring.settle()

    run(story)
    assert sum(batches) == len(made)
    assert len(batches) <= 2
