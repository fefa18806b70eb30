"""rerankd on a Ray cluster of several hosts; `just test-ray` runs this file.

The suite doesn't collect it: it takes Ray and pyarrow, network namespaces, and minutes.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from litestar.testing import TestClient

from rerankd.distributed import cluster as rays
from rerankd.service import build
from rerankd.settings import Settings

from support.ray_hosts import (
    METRICS_PORT,
    PORT,
    Cluster,
    Node,
    allowed,
    can_make_namespaces,
    cluster_of,
    wait_until,
)
from support.serving import app_of

WORDS = [
    f"{first}{second}" for first in ("sea", "sun", "moon", "ice") for second in ("bird", "side")
]
PANDA = {
    "query": "What is a panda?",
    "documents": ["hi", "it is a bear", "The giant panda is a bear species endemic to China."],
}


# Without a cluster


def node(cores: int, free: float = 0.0, gpus: float = 0.0) -> rays.Node:
    return rays.Node(cores=cores, free_cores=free, free_gpus=gpus)


def test_what_a_cluster_has_room_for() -> None:
    """Replicas are counted node by node, and what is free on two nodes is room for none."""
    room = rays.Room(nodes=(node(0), node(8, 3), node(4, 3, gpus=0.5)))

    assert room.smallest == 4
    assert [room.fitting(cores) for cores in (2, 3, 8, 9)] == [6, 3, 1, 1]
    assert [room.fits_beside(1, 0, cores, 0) for cores in (2, 3, 4)] == [True, True, False]
    assert [room.fits_beside(1, 1, 1, gpus) for gpus in (0.5, 1)] == [True, False]


@pytest.mark.parametrize(
    ("free", "wanted", "running", "fits"),
    [(1, 2, 2, True), (1, 3, 2, False), (0, 1, 1, False), (2, 3, 1, False), (3, 3, 1, True)],
)
def test_an_update_beside_needs_room_for_one_more_than_wanted(
    free: int, wanted: int, running: int, *, fits: bool
) -> None:
    """One free host is not enough where the update also asks for more replicas."""
    nodes = (*(node(1, 1) for _ in range(free)), *(node(1) for _ in range(running)))

    assert rays.Room(nodes=nodes).fits_beside(wanted, running, 1, 0) == fits


@pytest.mark.parametrize(
    ("settings", "cores"),
    [({}, 4), ({"cores": 3}, 3), ({"workers": 3, "threads": 2}, 6), ({"workers": 3}, 3)],
)
def test_a_replica_has_the_cores_that_its_settings_come_to(
    settings: dict[str, int], cores: int
) -> None:
    """All of the smallest node's, unless cores or workers and threads say something else."""
    room = rays.Room(nodes=(node(0), node(8), node(4)))

    assert rays.share_of_cores(Settings(**settings), room) == cores


# On a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that computes nothing and three hosts of one core."""
    if not can_make_namespaces():
        pytest.skip("needs the right to make network namespaces")
    with cluster_of(0, 1, 1, 1) as found:
        yield found


@pytest.fixture(scope="module")
def served(cluster: Cluster) -> Cluster:
    """Two replicas of the embedded model, the third host free."""
    serve(cluster)
    return cluster


def serve(cluster: Cluster, *more: str) -> None:
    done = ray(cluster, "serve", *SERVING, *more)
    assert done.returncode == 0, done.stderr


SERVING = (
    *("--host", "0.0.0.0", "--no-auth", "--cores", "1", "--cache-bytes", "0"),
    *("--min-replicas", "2", "--max-replicas", "2"),
)


def ray(cluster: Cluster, command: str, *more: str) -> Any:
    return cluster.head.rerankd("ray", command, "--ray-address", address_of(cluster), *more)


def address_of(cluster: Cluster) -> str:
    return f"{cluster.head.address}:{PORT}"


def url_of(node: Node) -> str:
    return f"http://{node.address}:8100"


def places(cluster: Cluster, kind: str) -> list[str]:
    """Return the addresses of the hosts where actors of a kind live."""
    return [address for _, address in actors(cluster, kind)]


def names(cluster: Cluster, kind: str) -> list[str]:
    """Return the names of the actors of a kind that live, each its own."""
    return [name for name, _ in actors(cluster, kind)]


def actors(cluster: Cluster, kind: str) -> list[list[str]]:
    found = cluster.head.python(
        "import ray, logging\n"
        f"ray.init({address_of(cluster)!r}, log_to_driver=False, logging_level='ERROR')\n"
        "from ray._private.state import actors\n"
        "for one in actors().values():\n"
        f"    if one['State'] == 'ALIVE' and {kind!r} in one['Name']:\n"
        "        print(one['Name'], one['Address']['IPAddress'])\n"
    )
    return [line.split() for line in found.splitlines()]


class Load:
    """Clients that ask without pause, each question with its known answer."""

    def __init__(self, url: str, clients: int = 4, documents: int = 12, words: int = 3) -> None:
        self._url = url
        self._name = secrets.token_hex(3)  # replicas know vectors of texts that they saw before
        self._documents = documents
        self._more = " ".join(WORDS * 10).split()[: words - 3]
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._running = [self._pool.submit(self._ask, number) for number in range(clients)]
        self.answers: list[dict[str, Any]] = []
        self.wrong: list[str] = []

    def _ask(self, client: int) -> None:
        with httpx.Client(timeout=120) as http:
            number = 0
            while not self._stopping.is_set():
                self._one(http, f"{self._name}-{client}-{number}")
                number += 1

    def _one(self, http: httpx.Client, name: str) -> None:
        documents = [
            " ".join([name, word, str(n), *self._more])
            for n, word in enumerate((WORDS * 9)[: self._documents])
        ]
        body = {"query": f"where is {name}", "documents": documents}
        try:
            answer = http.post(f"{self._url}/v1/rerank", json=body)
            reply = answer.json()
            results = reply["results"]
            assert sorted(one["index"] for one in results) == list(range(len(documents)))
            assert all(one["document"]["text"] == documents[one["index"]] for one in results)
            self.answers.append(reply | {"asked": body})
        except Exception as error:  # noqa: BLE001 - every kind of loss is one
            self.wrong.append(f"{name}: {error!r}")

    def wait_for(self, answers: int) -> None:
        """Wait until so many more requests were answered."""
        wanted = len(self.answers) + answers
        wait_until(lambda: len(self.answers) >= wanted or bool(self.wrong), "answers")

    def stop(self) -> None:
        """Let the last requests end; raise what a client could not do."""
        self._stopping.set()
        for one in self._running:
            one.result()


@pytest.fixture(scope="module")
def alone() -> Iterator[TestClient[Any]]:
    """One ordinary server of the same model, to compare with."""
    service = build(Settings(cores=1, cache_bytes=0))
    with TestClient(
        app_of(service), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as client:
        assert client.blocking_portal is not None
        client.blocking_portal.call(service.start)
        yield client
        client.blocking_portal.call(service.close)


def like(reply: Any) -> Any:
    """Return a reply without what differs from one request to the next."""
    if isinstance(reply, dict):
        changing = (
            "id",
            "timings",
            "created",
            "inference_time",
            "runtime",
            "request_id",
            "output_id",
        )
        return {name: like(it) for name, it in reply.items() if name not in changing}
    if isinstance(reply, list):
        return [like(one) for one in reply]
    return pytest.approx(reply, abs=1e-6) if isinstance(reply, float) else reply


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/rerank", PANDA),
        ("/v2/rerank", {"model": "rerank-mini-en", **PANDA, "top_n": 1}),
        ("/rerank", {"query": PANDA["query"], "texts": PANDA["documents"]}),
        ("/v1/score", {"text_1": PANDA["query"], "text_2": PANDA["documents"]}),
        ("/v1/rerank", {"model": "not-here", **PANDA}),
        ("/v1/rerank", {"query": "no documents"}),
        ("/nowhere", {}),
    ],
)
def test_every_node_answers_as_one_server_does(
    served: Cluster, alone: TestClient[Any], path: str, body: dict[str, Any]
) -> None:
    """Any node gives the status and the reply that an ordinary server gives, in each dialect."""
    expected = alone.post(path, json=body)

    for node in served.nodes:
        found = httpx.post(url_of(node) + path, json=body)
        assert found.status_code == expected.status_code
        assert like(found.json()) == like(expected.json())
        assert len(found.headers.get_list("x-request-id")) == 1


def test_streams_and_other_formats_pass(served: Cluster) -> None:
    """Scores come line by line as NDJSON, and MessagePack goes in and out."""
    url = url_of(served.head) + "/v1/rerank"

    stream = httpx.post(url, json=PANDA, headers={"Accept": "application/x-ndjson"})
    packed = httpx.post(
        url,
        content=msgspec.msgpack.encode(PANDA),
        headers={"Content-Type": "application/msgpack", "Accept": "application/msgpack"},
    )

    lines = [json.loads(line) for line in stream.text.splitlines()]
    assert stream.status_code == packed.status_code == 200
    assert len(lines) >= len(PANDA["documents"])
    assert len(msgspec.msgpack.decode(packed.content)["results"]) == 3


def test_one_replica_is_neither_managed_nor_measured(served: Cluster) -> None:
    """What only one of many replicas would do or know is refused, pages and models are not."""
    with httpx.Client(base_url=url_of(served.head)) as http:
        statuses = {
            path: http.get(path).status_code
            for path in ("/v1/deployments", "/v1/keys", "/metrics", "/v1/models", "/", "/docs")
        }

    assert list(statuses.values()) == [403, 403, 404, 200, 200, 200]


def test_hosts_export_what_replicas_count(served: Cluster) -> None:
    """Ray's metrics of the hosts with replicas have ours among them, and requests are counted."""
    httpx.post(url_of(served.head) + "/v1/rerank", json=PANDA).raise_for_status()

    wait_until(lambda: COUNTED <= exported(served), "the metrics to be exported", 60)


COUNTED = {
    "ray_rerankd_requests_total",
    "ray_rerankd_documents_total",
    "ray_rerankd_tokens_total",
    "ray_rerankd_engine_seconds_total",
    "ray_rerankd_request_seconds_bucket",
    "ray_rerankd_queue_tokens",
}


def exported(cluster: Cluster) -> set[str]:
    """Return the names of the metrics that hosts export."""
    found = set()
    for one in cluster.nodes:
        text = httpx.get(f"http://{one.address}:{METRICS_PORT}/metrics").text
        found |= {
            line.split("{")[0] for line in text.splitlines() if line.startswith("ray_rerankd")
        }
    return found


def test_there_is_an_entrance_on_every_host(served: Cluster) -> None:
    """Each node's proxy has an entrance beside it."""
    wait_until(
        lambda: sorted(places(served, "#Ingress")) == sorted(one.address for one in served.nodes),
        "an entrance on each host",
    )


def test_a_client_that_leaves_takes_its_work_with_it(served: Cluster) -> None:
    """Tokens of a request whose client has gone are waited for no longer, on any replica."""
    long = {"query": "q", "documents": [f"{n} " + "word " * 200 for n in range(2000)]}

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url_of(served.head) + "/v1/rerank", json=long, timeout=httpx.Timeout(30, read=4))

    wait_until(lambda: waiting_tokens(served) == 0, "the queues to be empty", 15)


def waiting_tokens(cluster: Cluster) -> int:
    """Return the tokens that wait in replicas that are asked at random, a few times."""
    found = cluster.head.python(
        "import ray\nfrom ray import serve\n"
        f"ray.init({address_of(cluster)!r}, log_to_driver=False, logging_level='ERROR')\n"
        "handle = serve.get_app_handle('rerankd-replicas').record_autoscaling_stats\n"
        "print(sum(handle.remote().result()['tokens'] for _ in range(8)))\n"
    )
    return int(float(found.split()[-1]))


def test_an_update_loses_no_request(served: Cluster) -> None:
    """While all replicas are replaced, every request is answered, first by old then by new ones."""
    load = Load(url_of(served.head))
    load.wait_for(20)

    serve(served, "--model-id", "renewed")

    load.wait_for(20)
    load.stop()
    names = [one["model"] for one in load.answers]
    assert not load.wrong
    assert names[0] == "rerank-mini-en"
    assert set(names[-15:]) == {"renewed"}


def test_an_update_that_fails_leaves_what_there_is(served: Cluster) -> None:
    """A model that can't be fetched is told in one line, and the old replicas go on."""
    load = Load(url_of(served.head), clients=2)

    done = ray(served, "serve", *SERVING, "--model", "hf:nobody/nothing:nothing.gguf")

    load.wait_for(10)
    load.stop()
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: hf:nobody/nothing:nothing.gguf: ")
    assert "Traceback" not in done.stderr
    assert not load.wrong
    assert ray(served, "status").returncode == 1
    serve(served)
    assert ray(served, "status").returncode == 0


def test_keys_are_asked_for_on_every_node(served: Cluster, tmp_path: Path) -> None:
    """Keys of the settings and of the state folder where the command ran hold everywhere."""
    made = served.head.rerankd("keys", "create", "ci", "--state-dir", str(tmp_path))
    assert made.returncode == 0, made.stderr
    key = made.stdout.split()[-1]

    serve(served, "--state-dir", str(tmp_path))

    for node in served.nodes:
        url = url_of(node) + "/v1/rerank"
        assert httpx.post(url, json=PANDA).status_code == 401
        assert httpx.post(url, json=PANDA, headers={"X-API-Key": key}).status_code == 200
    serve(served)


def scores_of(reply: dict[str, Any]) -> dict[int, float]:
    return {one["index"]: one["relevance_score"] for one in reply["results"]}


def test_a_lost_host_loses_no_request(served: Cluster) -> None:
    """A host with a replica dies under load: everything is answered, and rightly."""
    node = next(one for one in served.nodes if one.address in places(served, "#Replica"))
    load = Load(url_of(served.head), clients=6)
    load.wait_for(30)

    node.kill()

    try:
        load.wait_for(60)
        load.stop()
        assert not load.wrong
        wait_until(lambda: len(places(served, "#Replica")) == 2, "the replica to be replaced")
        asked = {one["asked"]["query"]: one for one in load.answers}
        with httpx.Client(base_url=url_of(served.head), timeout=60) as http:
            for one in list(asked.values())[:: max(1, len(asked) // 20)]:
                again = http.post("/v1/rerank", json=one["asked"]).json()
                assert scores_of(again) == pytest.approx(scores_of(one), abs=0.02)
    finally:
        served.join()


SHARE = 0.4
"""Cores of a host while it is measured: three of them, the head and the clients fit on two."""


def test_another_number_leaves_replicas_alone(served: Cluster) -> None:
    """More replicas come beside those that are there; the same command again changes nothing."""
    before = set(names(served, "#Replica"))

    serve(served, "--min-replicas", "3", "--max-replicas", "3")
    more = set(names(served, "#Replica"))
    serve(served, "--min-replicas", "3", "--max-replicas", "3")

    assert len(before) == 2
    assert len(more) == 3
    assert before < more
    assert set(names(served, "#Replica")) == more
    serve(served)


def test_three_hosts_do_thrice_as_much(served: Cluster) -> None:
    """Hosts of equal size do as many documents a second each, alone or beside others."""
    found = [measured(served, replicas) for replicas in (1, 2, 3, 1)]

    print(*found, sep="\n")
    alone = (found[0].documents_a_second + found[3].documents_a_second) / 2
    for number, one in enumerate(found[:3], 1):
        assert len(one.shares) == number
        assert min(one.shares) > 0.8 / number
        assert one.documents_a_second > 0.85 * number * alone


class Measured(NamedTuple):
    documents_a_second: float
    """By the clock."""
    documents_a_core_second: float
    """By what the replicas' processes computed."""
    cores: float
    """That those processes used on the average."""
    shares: list[float]
    """Of the hosts with a replica, in the computing."""


def measured(cluster: Cluster, replicas: int) -> Measured:
    """Load so many replicas on hosts of SHARE cores for some seconds."""
    number = str(replicas)
    serve(cluster, "--min-replicas", number, "--max-replicas", number)
    wait_until(lambda: len(places(cluster, "#Replica")) == replicas, "the replicas")
    hosts = [one for one in cluster.nodes if one.address in places(cluster, "#Replica")]
    with allowed(cluster.hosts, SHARE):
        load = Load(url_of(cluster.head), clients=4 * replicas, documents=20, words=80)
        load.wait_for(8 * replicas)
        begun, first = time.monotonic(), len(load.answers)
        before = [one.cpu_seconds("replicas:Replica") for one in hosts]
        load.wait_for(40 * replicas)
        after = [one.cpu_seconds("replicas:Replica") for one in hosts]
        documents = 20 * (len(load.answers) - first)
        seconds = time.monotonic() - begun
        load.stop()
    assert not load.wrong
    spent = [end - start for start, end in zip(before, after, strict=True)]
    shares = [one / sum(spent) for one in spent]
    return Measured(documents / seconds, documents / sum(spent), sum(spent) / seconds, shares)


def test_an_update_without_room_loses_no_request(served: Cluster) -> None:
    """Where every host has a replica already they are replaced in their places, one by one."""
    three = ("--min-replicas", "3", "--max-replicas", "3")
    serve(served, *three)
    wait_until(lambda: len(places(served, "#Replica")) == 3, "the replicas")
    load = Load(url_of(served.head))
    load.wait_for(20)

    serve(served, *three, "--model-id", "renewed")

    load.wait_for(20)
    load.stop()
    assert not load.wrong
    assert {one["model"] for one in load.answers[-15:]} == {"renewed"}


def test_waiting_tokens_bring_replicas(served: Cluster) -> None:
    """With more tokens waiting than one replica should have, a second one comes."""
    serve(served, "--min-replicas", "1", "--replica-tokens", "500")
    wait_until(lambda: len(places(served, "#Replica")) <= 2, "replicas")
    load = Load(url_of(served.head), clients=8, documents=60)

    wait_until(lambda: len(places(served, "#Replica")) == 2, "a second replica", 180)

    load.stop()
    assert not load.wrong


def test_nothing_listens_after_ray_stop(served: Cluster) -> None:
    """Another port is refused while it serves; after `ray stop` nothing listens."""
    elsewhere = ray(served, "serve", *SERVING, "--port", "8200")

    assert elsewhere.returncode == 2
    assert "listens on 0.0.0.0 port 8100 already" in elsewhere.stderr
    assert ray(served, "stop").returncode == 0
    assert ray(served, "status").returncode == 1
    with pytest.raises(httpx.ConnectError):
        httpx.post(url_of(served.head) + "/v1/rerank", json=PANDA)
