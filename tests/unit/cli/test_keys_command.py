"""`rerankd keys`: the key on standard output alone, everything else beside it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from rerankd import cli
from rerankd.auth.keys import KEY_MARK, PREFIX_LENGTH
from rerankd.cli import keys as command
from rerankd.store import STATE_FILE, Store

from support.fakes import PATIENCE


def run(folder: Path, *words: str, **environment: str) -> Result:
    """Run the command over a state folder."""
    words = ("keys", *words, "--state-dir", str(folder))
    return CliRunner().invoke(cli.main, words, env=environment)


def listed(folder: Path, **environment: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(folder, "list", **environment).stdout.splitlines()]


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    """The whole story, without a server."""
    made = run(tmp_path, "create", "ci", "--scope", "manage", "--scope", "inference")
    text = made.stdout.strip()
    (row,) = listed(tmp_path)

    assert made.exit_code == 0
    assert text.startswith(KEY_MARK)
    assert len(made.stdout.splitlines()) == 1
    assert text not in made.stderr
    assert row["id"] in made.stderr
    assert (row["name"], row["prefix"], row["scopes"]) == (
        "ci",
        text[:PREFIX_LENGTH],
        ["manage", "inference"],
    )
    assert text not in json.dumps(row)

    revoked = run(tmp_path, "revoke", row["id"])
    assert (revoked.exit_code, revoked.stdout) == (0, "")
    assert "no key is left" in revoked.stderr
    assert abs(listed(tmp_path)[0]["revoked"] - time.time()) < PATIENCE
    assert run(tmp_path, "revoke", row["id"]).exit_code == 2


def test_a_key_is_revoked_by_how_it_begins(tmp_path: Path) -> None:
    """The list shows the beginning; a whole key is no name, and isn't repeated."""
    text = run(tmp_path, "create", "a").stdout.strip()
    whole = run(tmp_path, "revoke", text)
    assert whole.exit_code == 2
    assert text not in whole.stderr
    assert run(tmp_path, "revoke", text[:PREFIX_LENGTH]).exit_code == 0


def test_what_a_key_may_do_is_kept(tmp_path: Path) -> None:
    """Every option arrives in the record."""
    options = "--model a --model b --requests-per-minute 5 --tokens-per-minute 0"
    made = run(tmp_path, "create", "n", *options.split(), "--expires", "2d")
    (row,) = listed(tmp_path)

    assert "--scope manage" in made.stderr, "nobody could manage over HTTP"
    assert (row["models"], row["requests_per_minute"]) == (["a", "b"], 5)
    assert (row["tokens_per_minute"], row["concurrent_requests"]) == (0, None)
    assert abs(row["expires"] - time.time() - 2 * 86_400) < PATIENCE


@pytest.mark.parametrize(
    "words",
    [
        ("create",),
        ("create", ""),
        ("create", "n" * 101),
        ("create", "n", "--scope", "root"),
        ("create", "n", "--model", "../x"),
        ("create", "n", "--requests-per-minute", "-1"),
        ("create", "n", "--expires", "0d"),
        ("create", "n", "--expires", "soon"),
        ("create", "n", "--expires", "2020-01-01"),
        ("create", "n", "--expires", "99999-01-01"),
        ("revoke",),
        ("revoke", "key-none"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_made(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, one reason, no key."""
    found = run(tmp_path, *words)

    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr
    assert listed(tmp_path) == []


def test_an_expiry_is_a_span_or_a_day() -> None:
    """In hours, days or weeks from now, or as a date with or without a time."""
    now = datetime.now(UTC)
    day = (now + timedelta(days=3)).astimezone().replace(microsecond=0)
    for value, expected in (
        ("12h", now + timedelta(hours=12)),
        ("8w", now + timedelta(weeks=8)),
        (day.isoformat(), day),
    ):
        found = command.Expiry().convert(value, None, None)
        assert abs(found - expected.timestamp()) < PATIENCE


def test_keys_of_the_settings_are_in_the_list(tmp_path: Path) -> None:
    """Without anything of themselves."""
    run(tmp_path, "create", "own")
    found = run(tmp_path, "list", RERANKD_API_KEYS="hidden")

    assert "hidden" not in found.output
    rows = listed(tmp_path, RERANKD_API_KEYS="hidden")
    assert [row["name"] for row in rows] == ["from settings", "own"]


def test_a_person_gets_each_key_in_words(tmp_path: Path) -> None:
    """Each key's standing in words."""
    run(tmp_path, "create", "alive", "--concurrent-requests", "2")
    run(tmp_path, "create", "dead", "--expires", "1h")
    keys = {key.name: key for key in Store(tmp_path).api_keys()}
    Store(tmp_path).revoke_key(keys["dead"].id, int(time.time()))
    rows = {key.name: command._key_cells(key) for key in Store(tmp_path).api_keys()}

    console = Console(width=200)
    with console.capture() as shown:
        console.print(*rows["alive"])
    assert "2 at once" in shown.get()
    assert rows["alive"][-1] == "active"
    assert str(rows["dead"][-1]).startswith("revoked ")


def test_a_state_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """Exit code 2 and the file's name."""
    (tmp_path / STATE_FILE).write_bytes(b"nonsense" * 100)
    found = run(tmp_path, "list")

    assert found.exit_code == 2
    assert STATE_FILE in found.stderr
    assert "Traceback" not in found.output


def test_the_command_does_without_the_web_framework() -> None:
    """A key is made in a moment."""
    code = "import sys, rerankd.cli.keys; sys.exit('litestar' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lost_keys_are_reset_on_purpose(tmp_path: Path) -> None:
    """Each command says how; a damaged file is kept under another name, without its journal."""
    assert run(tmp_path, "reset").exit_code == 0, "nothing to do"
    run(tmp_path, "create", "a")
    assert "keys revoke" in run(tmp_path, "reset").stderr
    file = tmp_path / STATE_FILE
    for lose in (file.unlink, lambda: file.write_bytes(b""), lambda: file.write_bytes(b"x" * 999)):
        lose()
        (tmp_path / f"{STATE_FILE}-journal").write_bytes(b"")
        for words in (("list",), ("create", "b"), ("revoke", "a")):
            refused = run(tmp_path, *words)
            assert refused.exit_code == 2
            assert "rerankd keys reset" in refused.stderr
        reset = run(tmp_path, "reset")
        assert reset.exit_code == 0
        assert listed(tmp_path) == []
        run(tmp_path, "create", "a")
    (kept,) = tmp_path.glob("*.damaged-*[0-9]")
    assert kept.read_bytes() == b"x" * 999
    assert str(kept) in reset.stderr
    assert not list(tmp_path.glob(f"{STATE_FILE}-*"))


def test_a_later_versions_state_is_not_reset(tmp_path: Path) -> None:
    """It is sound: the version that wrote it can use it."""
    run(tmp_path, "create", "a")
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        database.execute("PRAGMA user_version = 99")
    refused = run(tmp_path, "reset")
    assert refused.exit_code == 2
    assert "its schema is 99" in refused.stderr
    assert list(tmp_path.glob("keys-required"))
