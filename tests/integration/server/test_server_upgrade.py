"""What an earlier release left in its folder is found again by the next `rerankd serve`."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from rerankd.cli import main
from rerankd.deployments.applied_tuning import TUNING_FILE, tuning_key
from rerankd.ranking.score_cache import FILE as SCORES
from rerankd.ranking.score_cache import SCHEMA as SCORES_SCHEMA
from rerankd.sources import gguf as gguf_file
from rerankd.sources.hub.files import find_installed
from rerankd.sources.hub.reference import RemoteFile
from rerankd.store import STATE_FILE, STATE_SCHEMA, Store

from support.hub_standin import COMMIT, isolate, sha256_of
from support.places import DATA, ROOT, files_in
from support.process import serving

LEFT = DATA / "upgrade"
RELEASES = ("schema-1", "0.1.0")
WEIGHTS = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
QUESTION = {"query": "panda", "documents": ["a bear", "hello"], "return_passages": True}

EVERYTHING = "rerankd_WNfYPWIBsWndPpd3u4vrWytyRBYSprPqkVA7xOpPgys"
LIMITED = "rerankd_ZHtx8P27cWG33utmc8huLblD5PTYZlEv2SxLkWryPnU"
REVOKED = "rerankd_ncoB9qerOk21Y4Skexka7fMne5sZ24eKJUowK_famgc"
"""The keys of 0.1.0's folder, as it printed them."""


def folder_of(release: str, folder: Path) -> Path:
    """Return a folder as a release left it."""
    for dump in files_in(LEFT / release, "*.sql"):
        with closing(sqlite3.connect(folder / f"{dump.stem}.sqlite3")) as database:
            database.executescript(dump.read_text("utf-8"))
    if (tuned := LEFT / release / "tuned.json").is_file():
        (folder / tuned.name).write_bytes(tuned.read_bytes())
    return folder


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def ask(client: httpx.Client, key: str = "", **more: Any) -> httpx.Response:
    """Rank with the deployment that was left."""
    body = {**QUESTION, "model": "mine", **more}
    return client.post("/v1/rerank", json=body, headers=bearer(key) if key else {})


@pytest.mark.parametrize("release", RELEASES)
def test_deployments_are_served_with_their_settings(release: str, tmp_path: Path) -> None:
    """What was deployed ranks again, pinned and with its own context; the schema is ours."""
    folder_of(release, tmp_path)
    key = EVERYTHING if release != "schema-1" else ""

    with serving(RERANKD_STATE_DIR=str(tmp_path), RERANKD_LOAD_WAIT="30") as (running, client):
        answer = ask(client, key)
        client.headers.update(bearer(key) if key else {})
        listed = {one["id"]: one for one in client.get("/v1/deployments").json()["data"]}
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0

    assert (answer.status_code, answer.json()["results"][0]["index"]) == (200, 0)
    assert listed["mine"]["pinned"]
    assert listed["mine"]["facts"]["context"] == 256
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (STATE_SCHEMA,)
    assert [one.id for one in Store(tmp_path).deployments()] == ["mine"]


def test_keys_open_what_they_opened(tmp_path: Path) -> None:
    """Scopes, models and limits of keys hold on, a revoked key stays refused."""
    folder_of("0.1.0", tmp_path)

    with serving(RERANKD_STATE_DIR=str(tmp_path), RERANKD_LOAD_WAIT="30") as (_, client):
        statuses = {
            "without": client.get("/v1/models").status_code,
            "revoked": ask(client, REVOKED).status_code,
            "limited, its model": ask(client, LIMITED).status_code,
            "limited, another": ask(client, LIMITED, model="rerank-mini-en").status_code,
            "limited, managing": client.get("/v1/keys", headers=bearer(LIMITED)).status_code,
        }
        limit = ask(client, LIMITED).headers["x-ratelimit-limit-requests"]
        keys = client.get("/v1/keys", headers=bearer(EVERYTHING)).json()["data"]

    assert list(statuses.values()) == [401, 401, 200, 404, 403], statuses
    assert limit == "100"
    assert [one["name"] for one in keys] == ["everything", "limited", "gone"]
    assert [one["revoked"] is None for one in keys] == [True, True, False]


def test_what_was_tuned_is_applied(tmp_path: Path) -> None:
    """0.1.0's result for this processor (its digest is put in) sets workers and steps."""
    folder_of("0.1.0", tmp_path)
    (result,) = json.loads((tmp_path / TUNING_FILE).read_bytes()).values()
    here = tuning_key(gguf_file.read(WEIGHTS))
    (tmp_path / TUNING_FILE).write_text(json.dumps({here: result}))

    with serving(RERANKD_STATE_DIR=str(tmp_path)) as (running, client):
        models = client.get("/v1/deployments", headers=bearer(EVERYTHING)).json()["data"]

    facts = next(one["facts"] for one in models if one["id"] == "rerank-mini-en")
    assert (facts["workers"], facts["threads"]) == (1, 1)
    assert any("tuned for this machine" in line for line in running.lines)


def test_kept_scores_are_read_and_those_of_another_version_computed(tmp_path: Path) -> None:
    """A score is told again only by the version that computed it, in the form that 0.1.0 wrote.

    So the first answer computes; with 0.1.0's values under the digests that it made, the next
    server tells these values and computes nothing.
    """
    folder_of("0.1.0", tmp_path)
    settings = {
        "RERANKD_STATE_DIR": str(tmp_path),
        "RERANKD_CACHE_PERSIST": "true",
        "RERANKD_LOAD_WAIT": "30",
    }
    with closing(sqlite3.connect(tmp_path / SCORES)) as database:
        old = database.execute("SELECT value FROM score ORDER BY place").fetchall()

    found = []
    for _ in range(2):
        with serving(**settings) as (running, client):
            found.append(ask(client, EVERYTHING, raw_scores=True).json())
            running.process.send_signal(signal.SIGTERM)
            assert running.end() == 0
        assert not [line for line in running.lines if "starting with an empty one" in line]
        with closing(sqlite3.connect(tmp_path / SCORES)) as database, database:
            assert database.execute("PRAGMA user_version").fetchone() == (SCORES_SCHEMA,)
            keys = database.execute("SELECT key FROM score ORDER BY place").fetchall()
            assert len(keys) == 4
            for (value,), (key,) in zip(old, keys[2:], strict=True):
                database.execute("UPDATE score SET value = ? WHERE key = ?", (value, key))

    assert [one["meta"]["cached"] for one in found] == [0, 2]
    assert found[1]["results"][0]["relevance_score"] == pytest.approx(-2.6991, abs=1e-4)
    assert found[1]["results"][0]["passages"][0]["text"] == "a bear"


def test_downloaded_models_are_known_without_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stamp as 0.1.0 wrote it beside a blob of the client's cache still verifies the file."""
    isolate(monkeypatch, tmp_path)
    text = b"GGUF and so on"
    wanted = RemoteFile("owner/repo", "file.gguf", COMMIT, len(text), sha256_of(text))
    home = tmp_path / "models--owner--repo"
    blob, link = home / "blobs" / sha256_of(text), home / "snapshots" / COMMIT / "file.gguf"
    for folder in (blob.parent, link.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(text)
    link.symlink_to(blob)
    assert find_installed([wanted]) is None

    changed = blob.stat().st_mtime_ns
    stamp = f'{{"bytes":{len(text)},"changed_ns":{changed},"sha256":"{sha256_of(text)}"}}'
    blob.with_name(f"{blob.name}.verified").write_text(stamp)

    assert find_installed([wanted]) == link


def test_keys_deployments_and_scores_outlive_a_restart(tmp_path: Path) -> None:
    """What one server was told is known to the next: key, deployment, known scores."""
    folder_of("schema-1", tmp_path)
    words = ["keys", "create", "me", "--scope", "manage", "--scope", "inference"]
    made = CliRunner().invoke(main, [*words, "--state-dir", str(tmp_path)]).stdout.strip()
    settings = {
        "RERANKD_STATE_DIR": str(tmp_path),
        "RERANKD_CACHE_PERSIST": "true",
        "RERANKD_LOAD_WAIT": "30",
    }
    cached = []

    for _ in range(2):
        with serving(**settings) as (running, client):
            assert client.get("/v1/models").status_code == 401
            cached.append(ask(client, made).json()["meta"]["cached"])
            running.process.send_signal(signal.SIGTERM)
            assert running.end() == 0

    assert cached == [0, 2]


def test_a_newer_state_is_refused_in_one_line(tmp_path: Path) -> None:
    """Going back to an older release is no guess: it says which schema it knows."""
    folder_of("0.1.0", tmp_path)
    with closing(sqlite3.connect(tmp_path / STATE_FILE)) as database, database:
        database.execute(f"PRAGMA user_version = {STATE_SCHEMA + 1}")

    done = CliRunner().invoke(main, ["keys", "list", "--state-dir", str(tmp_path)])

    assert done.exit_code == 2
    assert f"schema is {STATE_SCHEMA + 1}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
