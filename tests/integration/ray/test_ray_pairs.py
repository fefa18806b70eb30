"""Pairs ranked in bulk on a Ray cluster of several hosts; `just test-ray` runs this file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rerankd.cli.rank_input import read_documents
from rerankd.distributed import tables
from rerankd.distributed.scoring import PairScores
from rerankd.distributed.shards import Shard, describe_file, shards_of
from rerankd.domain import RankRequest
from rerankd.errors import InvalidRequest
from rerankd.service import build
from rerankd.settings import Settings

from support.places import files_in
from support.ray_hosts import (
    PORT,
    Cluster,
    Node,
    allowed,
    can_make_namespaces,
    cluster_of,
    wait_until,
)

needs_hosts = pytest.mark.skipif(
    not can_make_namespaces(), reason="needs the right to make network namespaces"
)

SUBJECTS = ("the tide", "a bridge", "this poem", "sourdough", "the comet", "an old law")
COLUMNS = ("id", "query", "document")
LOGIT = 0.1
"""What rounding makes of a logit where a step has other rows; they spread over several units."""


def rows(number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return pairs that are all different, thirty of each query."""
    return [
        {
            "id": n,
            "query": f"what is known of {SUBJECTS[n // 30 % 6]} {seed} {n // 30}",
            "document": f"{SUBJECTS[n % 6]} as it was seen {n} times in the year {seed + n % 7}",
        }
        for n in range(number)
    ]


def write_jsonl(path: Path, pairs: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in pairs), "utf-8")
    return path


def write_parquet(path: Path, pairs: list[dict[str, Any]], group: int = 70) -> Path:
    table = pa.table({name: [one[name] for one in pairs] for name in COLUMNS})
    pq.write_table(table, path, row_group_size=group)
    return path


def read_back(output: Path) -> list[dict[str, Any]]:
    """Return every row that was written."""
    found: list[dict[str, Any]] = []
    for path in files_in(output, "part-*"):
        if path.suffix == ".parquet":
            found += pq.read_table(path).to_pylist()
        else:
            found += map(json.loads, path.read_text("utf-8").splitlines())
    return found


# Tables


@pytest.mark.parametrize("step", [1, 7, 70, 71, 1000])
def test_parquet_parts_give_every_row_once(tmp_path: Path, step: int) -> None:
    """However a file is cut, each row comes once, with its number and its values."""
    pairs = rows(200)
    source = describe_file(write_parquet(tmp_path / "a.parquet", pairs), 200, step)

    found = [
        (position, document)
        for part in shards_of([source])
        for batch in tables.read_parquet(part, batch=13)
        for position, document in zip(batch.positions, batch.column("document"), strict=True)
    ]

    assert found == [(n, one["document"]) for n, one in enumerate(pairs)]


@pytest.mark.parametrize("step", [1, 10, 97, 98, 99, 5000, 10**6])
def test_jsonl_parts_give_every_line_once(tmp_path: Path, step: int) -> None:
    """However a file is cut by bytes, each line comes once; blank ones never do."""
    pairs = rows(60)
    path = write_jsonl(tmp_path / "a.jsonl", pairs)
    content = path.read_bytes().replace(b"\n", b"\n\n", 3).rstrip()
    path.write_bytes(content)
    parts = [
        Shard(n, str(path), "jsonl", start, min(start + step, len(content)))
        for n, start in enumerate(range(0, len(content), step))
    ]

    batches = [batch for part in parts for batch in tables.read_jsonl(part, batch=7)]

    assert [one for batch in batches for one in batch.column("id")] == list(range(60))
    positions = [one for batch in batches for one in batch.positions]
    assert all(content[one : one + 1] == b"{" for one in positions)
    assert len(set(positions)) == 60


def test_a_line_that_is_no_object_has_no_texts(tmp_path: Path) -> None:
    """Broken lines keep their place, without columns."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"query":"a"}\n[1]\n{"query":\n"text"\n')

    (batch,) = tables.read_jsonl(Shard(0, str(path), "jsonl", 0, path.stat().st_size))

    assert list(batch.column("query")) == ["a", None, None, None]


def test_a_file_is_not_read_into_memory(tmp_path: Path) -> None:
    """Reading and writing 60 MB takes but the memory of some batches."""
    path = tmp_path / "a.jsonl"
    line = json.dumps({"query": "q", "document": "word " * 1200, "id": 1}).encode() + b"\n"
    path.write_bytes(line * 10_000)
    part = Shard(0, str(path), "jsonl", 0, path.stat().st_size)
    writer = tables.JsonWriter(tmp_path / "out.jsonl", str(path), ())
    written = 0

    tracemalloc.start()
    try:
        for batch in tables.read_jsonl(part, batch=100):
            writer.write(batch, [PairScores(score=0.5)] * len(batch.positions))
            written += len(batch.positions)
        writer.close()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert written == 10_000
    assert most < 6_000_000
    assert tables.tally(tmp_path / "out.jsonl", "jsonl") == (10_000, 0)


def test_a_part_appears_when_it_is_whole(tmp_path: Path) -> None:
    """Until a writer is closed its file isn't there; failed rows are counted."""
    path = write_parquet(tmp_path / "a.parquet", rows(3))
    (batch,) = tables.read_parquet(Shard(0, str(path), "parquet", 0, 3))
    file = tmp_path / "part.parquet"
    writer = tables.ParquetWriter(file, str(path), ("query", "document"))

    writer.write(batch, [PairScores(score=1.0), PairScores(error="bad"), PairScores(score=2.0)])
    assert not file.exists()
    writer.close()

    assert tables.tally(file, "parquet") == (3, 1)
    assert pq.read_table(file).column_names == ["id", "source", "position", "score", "error"]


def test_rank_reads_parquet_and_keeps_its_columns(tmp_path: Path) -> None:
    """`rerankd rank` without Ray; rows without a text are skipped."""
    file = tmp_path / "docs.parquet"
    columns = {"id": [4, 5], "body": ["the panda", None], "year": [2001, 2002]}
    pq.write_table(pa.table(columns), file)

    read = read_documents([str(file)], "auto", "body")

    assert [(one.text, one.line, one.fields) for one in read.documents] == [
        ("the panda", 1, {"id": 4, "year": 2001})
    ]
    assert read.empty == 1
    with pytest.raises(InvalidRequest, match="no column 'text'; it has id, body, year"):
        read_documents([str(file)], "auto", "text")


def test_what_is_no_parquet_and_what_lacks_a_column_is_named(tmp_path: Path) -> None:
    """A file that can't be pairs is told before anything is begun."""
    (tmp_path / "a.parquet").write_bytes(b"x" * 50)
    with pytest.raises(InvalidRequest, match="not a Parquet file"):
        tables.rows_of(tmp_path / "a.parquet")
    with pytest.raises(InvalidRequest, match="no column 'passage'; it has id, query, document"):
        tables.require_columns(write_parquet(tmp_path / "b.parquet", rows(1)), ["passage"])


# On a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that computes nothing and three hosts of one core."""
    with cluster_of(0, 1, 1, 1) as found:
        yield found


def command(cluster: Cluster, output: Path, *inputs: Path, part_rows: int = 60) -> list[str]:
    return [
        *("rank", "--ray", "--ray-address", f"{cluster.head.address}:{PORT}", "--cores", "1"),
        *("--part-rows", str(part_rows), "--output", str(output), "--raw-scores"),
        *map(str, inputs),
    ]


def alone(pairs: list[dict[str, Any]]) -> list[float]:
    """Return what an ordinary service gives each pair."""

    async def run() -> list[float]:
        service = build(Settings(cores=1))
        await service.start()
        try:
            found = []
            for one in pairs:
                request = RankRequest(
                    query=one["query"], documents=(one["document"],), raw_scores=True
                )
                found.append((await service.rank(request)).results[0].score)
            return found
        finally:
            await service.close()

    return asyncio.run(run())


def complete(output: Path, *pairs: list[dict[str, Any]]) -> None:
    """Check that every pair has one row and, in a sample, the score it has alone."""
    found = read_back(output)
    places = [(one["source"], one["position"]) for one in found]
    assert len(set(places)) == len(places) == sum(map(len, pairs))
    by_source: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        by_source.setdefault(one["source"], []).append(one)
    for (_, written), expected in zip(sorted(by_source.items()), pairs, strict=True):
        ordered = sorted(written, key=lambda one: one["position"])
        assert [one["id"] for one in ordered] == [one["id"] for one in expected]
        sample = range(0, len(expected), 97)
        scores = alone([expected[n] for n in sample])
        assert [ordered[n]["score"] for n in sample] == pytest.approx(scores, abs=LOGIT)
        assert all(one["error"] is None for one in ordered)


@needs_hosts
def test_a_lost_host_loses_no_row_and_doubles_none(cluster: Cluster, tmp_path: Path) -> None:
    """A host dies in the middle of a run over both formats: every row is there once, and right."""
    jsonl, parquet = rows(1500, 1), rows(1500, 2)
    inputs = [
        write_jsonl(tmp_path / "a.jsonl", jsonl),
        write_parquet(tmp_path / "b.parquet", parquet, 400),
    ]
    output = tmp_path / "scores"

    with (tmp_path / "log").open("wb") as log:
        running = cluster.head.popen(
            [sys.executable, "-m", "rerankd", *command(cluster, output, *inputs)],
            stdout=log,
            stderr=log,
        )
        wait_until(lambda: len(list(output.glob("part-*"))) >= 5, "the first parts")
        cluster.nodes[-1].kill()
        assert running.wait(300) == 0, (tmp_path / "log").read_text()

    assert len(list(output.glob("part-*"))) > 40
    assert not list(output.glob(".*"))
    complete(output, jsonl, parquet)
    cluster.join()


@needs_hosts
def test_a_killed_run_goes_on_where_it_stopped(cluster: Cluster, tmp_path: Path) -> None:
    """After SIGKILL the same command does what is missing and leaves alone what was done."""
    pairs = rows(2400, 3)
    source = write_jsonl(tmp_path / "a.jsonl", pairs)
    output = tmp_path / "scores"
    arguments = command(cluster, output, source)

    running = cluster.head.popen([sys.executable, "-m", "rerankd", *arguments])
    wait_until(lambda: len(list(output.glob("part-*"))) >= 6, "the first parts")
    os.kill(running.pid, signal.SIGKILL)  # `ip netns exec` has become the command itself
    running.wait()
    wait_until(lambda: not actors(cluster), "the actors of the killed run to end")
    done = {path.name: path.stat().st_mtime_ns for path in files_in(output, "part-*")}
    again = cluster.head.rerankd(*arguments)

    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    assert 6 <= len(done) < summary["parts"]
    assert summary["done_before"] == len(done)
    assert all((output / name).stat().st_mtime_ns == time for name, time in done.items())
    complete(output, pairs)


def actors(cluster: Cluster) -> int:
    """Return how many actors of pools live."""
    found = cluster.head.python(
        "import ray\n"
        f"ray.init('{cluster.head.address}:{PORT}', log_to_driver=False, logging_level='ERROR')\n"
        "from ray._private.state import actors\n"
        "print(sum(one['State'] == 'ALIVE' and 'MapWorker' in one['ActorClassName']\n"
        "          for one in actors().values()))\n"
    )
    return int(found.split()[-1])


SHARE = 0.4
"""Cores that a host has while it is measured: three of them and the head fit on two."""


@needs_hosts
def test_three_hosts_rank_thrice_as_many_rows(cluster: Cluster, tmp_path: Path) -> None:
    """Actors on hosts of equal size rank as many rows a second each, alone or beside others."""
    found = []
    for hosts in (3, 2, 1):
        found.append(ranked(cluster, cluster.hosts, tmp_path / str(hosts)))
        if hosts > 1:
            lost = cluster.hosts[-1]
            lost.kill()
            wait_until(lambda lost=lost: not cluster.knows(lost), "the host to be missed")
    cluster.join()
    cluster.join()

    print(*found, sep="\n")
    for number, one in zip((3, 2, 1), found, strict=True):
        assert len(one.shares) == number
        assert min(one.shares) > 0.7 / number
        assert one.rows_a_second > 0.85 * number * found[-1].rows_a_second


def longer(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return pairs with documents of some 70 words, so that the work is the actors'."""
    return [one | {"document": " ".join([one["document"]] * 6)} for one in pairs]


class Ranked(NamedTuple):
    rows_a_second: float
    """By the clock, while all hosts were at work."""
    rows_a_core_second: float
    cores: float
    """That the actors used on the average."""
    shares: list[float]
    """Of the hosts, in the computing."""


def ranked(cluster: Cluster, hosts: list[Node], folder: Path) -> Ranked:
    """Rank 3,000 rows for each host, of SHARE cores once the actors are there."""
    folder.mkdir()
    source = write_jsonl(folder / "a.jsonl", longer(rows(3000 * len(hosts), 4)))
    output = folder / "scores"
    arguments = command(cluster, output, source, part_rows=50)
    running = cluster.head.popen([sys.executable, "-m", "rerankd", *arguments])

    def parts() -> int:
        assert running.poll() is None
        return len(list(output.glob("part-*")))

    def spent() -> list[float]:
        return [one.cpu_seconds("MapWorker") for one in hosts]

    def all_work() -> bool:
        # Loading takes a second of a core; who has computed for longer ranks.
        return min(spent()) > 3.0 and parts() > 0

    wait_until(all_work, "the actors to be at work")
    with allowed(hosts, SHARE):
        begun, first, before = time.monotonic(), parts(), spent()
        wait_until(lambda: parts() >= first + 22 * len(hosts), "parts", 300)
        seconds, done, after = time.monotonic() - begun, parts() - first, spent()
    assert running.wait(300) == 0
    each = [end - start for start, end in zip(before, after, strict=True)]
    total = sum(each)
    return Ranked(
        50 * done / seconds, 50 * done / total, total / seconds, [one / total for one in each]
    )


@needs_hosts
def test_rows_without_a_score_are_told(cluster: Cluster, tmp_path: Path) -> None:
    """Broken rows have their error and their place, the rest their scores; the exit code is 1."""
    source = tmp_path / "a.jsonl"
    good = [json.dumps(one) for one in rows(3)]
    source.write_text("\n".join([good[0], "{broken", good[1], '{"query": "q"}', good[2]]), "utf-8")
    output = tmp_path / "scores"

    first = cluster.head.rerankd(*command(cluster, output, source))
    second = cluster.head.rerankd(*command(cluster, output, source))
    other = cluster.head.rerankd(*command(cluster, output, source), "--keep-texts")

    assert first.returncode == 1
    assert json.loads(first.stdout) == {"parts": 1, "done_before": 0, "rows": 5, "failed": 2}
    errors = [one["error"] for one in read_back(output)]
    assert errors == [None, "invalid_request", None, "invalid_request", None]
    assert second.returncode == 0
    assert json.loads(second.stdout)["rows"] == 0
    assert other.returncode == 2
    assert other.stderr.splitlines()[-1].startswith("error: ")
    assert "keep_texts was 'False', is 'True'" in other.stderr


@needs_hosts
def test_a_model_that_can_t_be_had_is_told_in_a_line(cluster: Cluster, tmp_path: Path) -> None:
    """A run that no actor can begin ends with the reason, not with Ray's."""
    source = write_jsonl(tmp_path / "a.jsonl", rows(3))
    own = ("--model", "hf:nobody/nothing:nothing.gguf")

    done = cluster.head.rerankd(*command(cluster, tmp_path / "scores", source), *own)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr
