"""What an earlier release left in its folder is found again by the next `rerankd serve`."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner
from test_process import ROOT, serving

from app.cache import FILE as SCORES
from app.cli import main
from app.store import FILE, SCHEMA, Store

SCHEMA_1 = """
CREATE TABLE deployment (id TEXT PRIMARY KEY, spec BLOB NOT NULL, created REAL NOT NULL);
CREATE TABLE checked (file TEXT PRIMARY KEY, bytes INTEGER NOT NULL, changed INTEGER NOT NULL,
                      engine TEXT NOT NULL);
PRAGMA user_version = 1;
"""
"""The first release's state file, written out: the code that made it moves on."""
WEIGHTS = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
KEYED = {"query": "panda", "documents": ["a bear", "hello"]}


def _first_release(folder: Path) -> None:
    spec = {"id": "mine", "source": str(WEIGHTS), "pinned": True, "options": {"context": 256}}
    with closing(sqlite3.connect(folder / FILE)) as database, database:
        database.executescript(SCHEMA_1)
        database.execute(
            "INSERT INTO deployment VALUES (?, ?, ?)", ("mine", json.dumps(spec), 1700000000.0)
        )


def test_the_first_release_s_deployments_are_served(tmp_path: Path) -> None:
    """A folder of schema 1: its deployment ranks, with its settings, and the schema is ours."""
    _first_release(tmp_path)

    with serving(RERANKD_STATE_DIR=str(tmp_path), RERANKD_LOAD_WAIT="30") as (running, client):
        listed = {one["id"]: one for one in client.get("/v1/deployments").json()["data"]}
        answer = client.post("/v1/rerank", json={**KEYED, "model": "mine"})
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0

    assert listed["mine"]["pinned"]
    assert (answer.status_code, answer.json()["results"][0]["index"]) == (200, 0)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    assert [one.id for one in Store(tmp_path).deployments()] == ["mine"]


def test_keys_deployments_and_scores_outlive_a_restart(tmp_path: Path) -> None:
    """What one server was told is known to the next: key, deployment, known scores."""
    _first_release(tmp_path)
    words = ["keys", "create", "me", "--scope", "manage", "--scope", "inference"]
    made = CliRunner().invoke(main, [*words, "--state-dir", str(tmp_path)])
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
    settings = {
        "RERANKD_STATE_DIR": str(tmp_path),
        "RERANKD_CACHE_PERSIST": "true",
        "RERANKD_LOAD_WAIT": "30",
    }
    cached = []

    for _ in range(2):
        with serving(**settings) as (running, client):
            assert client.get("/v1/models").status_code == 401
            answer = client.post("/v1/rerank", json={**KEYED, "model": "mine"}, headers=headers)
            cached.append(answer.json()["meta"]["cached"])
            running.process.send_signal(signal.SIGTERM)
            assert running.end() == 0

    assert cached == [0, 2]
    assert (tmp_path / SCORES).exists()
