"""The state file: its rights, its locks, and records that this version can't read."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rerankd.auth.keys import key_digest
from rerankd.errors import StateError, StateUnavailable
from rerankd.store import STATE_FILE, STATE_SCHEMA, Key, Spec, Store

KEY = Key(id="key-1", name="k", prefix="rerankd_1", digest=key_digest("t"), created=1)
SPEC = Spec(id="m", source="s")


@contextmanager
def locked(folder: Path, how: str = "EXCLUSIVE") -> Iterator[None]:
    """Hold another connection's lock on the state file."""
    with closing(sqlite3.connect(folder / STATE_FILE, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def edit(folder: Path, statement: str, *values: Any) -> None:
    """Change the state file as another program does."""
    with closing(sqlite3.connect(folder / STATE_FILE)) as database, database:
        database.execute(statement, values)


@pytest.fixture
def wide_open(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that all may enter, with a umask that takes nothing away."""
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o777)
    before = os.umask(0)
    yield folder
    os.umask(before)


USES: dict[str, Callable[[Store, Path], object]] = {
    "deployments": lambda store, _: store.deployments(),
    "keep": lambda store, _: store.keep(SPEC, 1.0),
    "forget": lambda store, _: store.forget("m"),
    "is_checked": lambda store, path: store.is_checked(path, "e"),
    "set_checked": lambda store, path: store.set_checked(path, "e"),
    "api_keys": lambda store, _: store.api_keys(),
    "add_key": lambda store, _: store.add_key(KEY, 0),
    "revoke_key": lambda store, _: store.revoke_key("key-1", 1),
    "set_keys_used": lambda store, _: store.set_keys_used({"key-1": 1}),
}
READING = {"deployments", "is_checked", "api_keys"}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_file_is_unavailable_and_says_so(tmp_path: Path, use: str, how: str) -> None:
    """Reads pass another's write lock; nothing else waits beyond the limit that was set."""
    store = Store(tmp_path, busy_seconds=0)
    store.keep(SPEC, 1.0)

    with locked(tmp_path, how):
        if how == "IMMEDIATE" and use in READING:
            USES[use](store, tmp_path)
            return
        with pytest.raises(StateUnavailable, match="another process is using it") as refused:
            USES[use](store, tmp_path)

    assert refused.value.retry_after == 1
    USES[use](store, tmp_path)


@pytest.mark.parametrize("use", USES)
def test_a_damaged_file_is_one_line_with_what_to_do(tmp_path: Path, use: str) -> None:
    """Junk in the file's place is neither read nor written over."""
    junk = b"not a database, whatever else it may be" * 99
    (tmp_path / STATE_FILE).write_bytes(junk)

    with pytest.raises(StateError, match="from a backup") as refused:
        USES[use](Store(tmp_path), tmp_path)

    assert not isinstance(refused.value, StateUnavailable)
    assert "\n" not in refused.value.message
    assert (tmp_path / STATE_FILE).read_bytes() == junk


@pytest.mark.parametrize("use", USES)
def test_a_folder_in_the_files_place_is_one_line(tmp_path: Path, use: str) -> None:
    """Whatever is asked for."""
    (tmp_path / STATE_FILE).mkdir()
    with pytest.raises(StateError, match="cannot use the state"):
        USES[use](Store(tmp_path), tmp_path)


def test_a_full_disk_is_one_line_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write for which there is no room leaves the file as it was."""
    store = Store(tmp_path)
    store.keep(SPEC, 1.0)
    connect = sqlite3.connect

    def connect_full(*given: Any, **named: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*given, **named)
        database.execute("PRAGMA max_page_count = 1")  # it has more: no page can be added
        return database

    monkeypatch.setattr(sqlite3, "connect", connect_full)
    with pytest.raises(StateError, match="full"):
        store.keep(Spec(id="big", source="s" * 100_000), 2.0)
    assert store.deployments() == [SPEC]


def test_a_file_in_the_folders_place_is_no_empty_state(tmp_path: Path) -> None:
    """The folder may have held keys; a folder that can't exist holds nothing, and never did."""
    (tmp_path / "state").touch()

    with pytest.raises(StateError, match="cannot use the state"):
        Store(tmp_path / "state").stamp()
    assert Store(tmp_path / "state" / "below").stamp() is None
    assert Store(Path(os.devnull, "none")).api_keys() == []


def test_reading_what_is_not_there_makes_no_file(tmp_path: Path) -> None:
    """A look at an empty folder leaves it empty."""
    store = Store(tmp_path / "none")
    assert not store.deployments()
    assert not store.api_keys()
    store.forget("m")
    store.set_keys_used({"k": 1})
    assert not store.revoke_key("k", 1)
    assert not list(tmp_path.iterdir())


# Rights


def test_only_the_owner_reads_what_is_written(wide_open: Path) -> None:
    """Whatever the folder and the umask, while a write is under way as well."""
    store = Store(wide_open)
    store.keep(SPEC, 1.0)
    with locked(wide_open, "IMMEDIATE"):
        pass
    with closing(sqlite3.connect(wide_open / STATE_FILE)) as other:
        other.execute("UPDATE deployment SET created = 2")
        names = {path.name for path in wide_open.iterdir()}
        modes = {mode_of(path) for path in wide_open.iterdir()}

    assert names == {STATE_FILE, f"{STATE_FILE}-journal"}
    assert modes == {0o600}


def test_files_of_earlier_versions_are_tightened(wide_open: Path) -> None:
    """Those of ours and copies beside them; what others keep in the folder is theirs."""
    own = [STATE_FILE, "state.sqlite3-wal", "state.sqlite3.bak", "scores.sqlite3", "tuned.json"]
    (wide_open / "weights").mkdir()
    own.append("weights/m-1-f16.gguf")
    for name in (*own, "other.txt"):
        (wide_open / name).write_bytes(b"")
        (wide_open / name).chmod(0o644)
    (wide_open / "tuned.json.1").symlink_to(wide_open / "other.txt")

    Store(wide_open).tighten()

    assert {mode_of(wide_open / name) for name in own} == {0o600}
    assert mode_of(wide_open / "other.txt") == 0o644


# Records


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b"",
        b'{"id":"x","source":7}',
        b'{"id":"x","source":"s","options":{"a":[1]}}',
        b'{"id":"y","source":"s"}',
        b'{"id":"\xff","source":"s"}',
        b"[" * 100_000,
        7,
        "{}",
    ],
)
def test_a_deployment_that_cannot_be_read_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record: object
) -> None:
    """With one line that names it; the others are there, and it can be replaced or deleted."""
    store = Store(tmp_path)
    store.keep(SPEC, 1.0)
    edit(tmp_path, "INSERT INTO deployment VALUES ('x', ?, 0)", record)

    with caplog.at_level(logging.WARNING):
        assert store.deployments() == [SPEC]
    (line,) = caplog.messages
    assert "'x'" in line
    assert "\n" not in line

    store.keep(Spec(id="x", source="s"), 2.0)
    assert [one.id for one in store.deployments()] == ["x", "m"]


RECORD = msgspec.to_builtins(KEY)


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b"\xff",
        7,
        msgspec.json.encode(RECORD | {"scopes": ["future"]}),
        msgspec.json.encode(RECORD | {"only_from": "10.0.0.0/8"}),
        msgspec.json.encode(RECORD | {"expires": 10**15}),
        msgspec.json.encode(RECORD | {"expires": "tomorrow"}),
        msgspec.json.encode(RECORD | {"requests_per_minute": -1}),
        msgspec.json.encode(RECORD | {"id": "key-2"}),
        msgspec.json.encode(RECORD | {"prefix": "other"}),
    ],
)
def test_a_key_that_cannot_be_read_is_listed_but_matches_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record: object
) -> None:
    """It can be revoked by its id; the other keys are there."""
    store = Store(tmp_path)
    store.add_key(KEY, 0)
    other = msgspec.structs.replace(KEY, id="key-3", prefix="rerankd_3")
    store.add_key(other, 0)
    edit(tmp_path, "UPDATE key SET spec = ? WHERE id = 'key-1'", record)

    with caplog.at_level(logging.WARNING):
        unreadable, known = store.api_keys()
    assert known == other
    assert (unreadable.id, unreadable.prefix, unreadable.digest) == ("key-1", "rerankd_1", b"")
    assert (unreadable.scopes, unreadable.revoked) == ((), None)
    (line,) = caplog.messages
    assert "'key-1'" in line

    assert store.revoke_key("key-1", 5)
    assert store.api_keys()[0].revoked == 5


@pytest.mark.parametrize("revoked", ["never", -5, 10**15, b"x", 1.5])
def test_a_time_of_revocation_that_makes_no_sense_revokes(tmp_path: Path, revoked: object) -> None:
    """A key that somebody revoked somehow isn't in force."""
    store = Store(tmp_path)
    store.add_key(KEY, 0)
    edit(tmp_path, "UPDATE key SET revoked = ?, last_used = ?", revoked, revoked)
    (key,) = store.api_keys()
    assert key.revoked == 0
    assert key.last_used is None


@pytest.mark.parametrize("schema", [STATE_SCHEMA + 1, -1])
def test_a_file_of_an_unknown_schema_is_left_alone(tmp_path: Path, schema: int) -> None:
    """One line that names both schemas."""
    store = Store(tmp_path)
    store.keep(SPEC, 1.0)
    edit(tmp_path, f"PRAGMA user_version = {schema}")
    before = (tmp_path / STATE_FILE).read_bytes()
    with pytest.raises(StateError, match=f"schema is {schema}, but .* supports {STATE_SCHEMA}"):
        store.deployments()
    assert (tmp_path / STATE_FILE).read_bytes() == before
