"""A built image, run and asked; `just test-image` runs it, and the suite doesn't collect it.

It builds nothing. The native server beside it is the one of the environment that runs the tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.container import (
    CONFINED,
    DRAIN,
    IMAGE,
    PATIENCE,
    Served,
    call,
    inspected,
    new_key,
    own_check,
    serving,
    volume,
)
from support.process import serving as native_serving
from support.process import until_busy

PANDA = {
    "model": "rerank-mini-en",
    "query": "What is a panda?",
    "documents": [
        "hi",
        "it is a bear",
        (
            "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply "
            "panda, is a bear species endemic to China."
        ),
    ],
}
USER = 10001
MIB = 1024 * 1024
LARGEST_IMAGE = 405 * MIB
LARGEST_IDLE = 150 * MIB
ALIKE = 0.02
"""Logits: another variant of the kernels rounds otherwise; the type's own error is 0.17."""

VARIANTS = {"avx2": "AVX2", "avx512f": "AVX512", "avx512_vnni": "AVX512_VNNI"}
"""What a kernel is called in /proc/cpuinfo and by llama.cpp."""


@pytest.fixture(scope="module")
def state() -> Iterator[str]:
    with volume() as name:
        yield name


@pytest.fixture(scope="module")
def models() -> Iterator[str]:
    with volume() as name:
        yield name


@pytest.fixture(scope="module")
def key(state: str) -> str:
    return new_key(state)


@pytest.fixture(scope="module")
def served(state: str, models: str, key: str) -> Iterator[Served]:
    """One server for what leaves it as it was."""
    with serving(state, models, key) as one:
        yield one


def test_without_a_key_it_refuses_to_start() -> None:
    """A container that anybody could ask ends at once and says what to do."""
    said = call("run", "--rm", *CONFINED, IMAGE, code=2).stderr

    assert "rerankd keys create" in said


def test_panda_question_is_answered_with_a_key_only(served: Served) -> None:
    """The README's question in the README's order; 401 without the key."""
    answer = served.client.post("/v1/rerank", json=PANDA)

    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["index"] for one in results] == [2, 1, 0]
    assert results[0]["relevance_score"] > 0.9
    assert results[2]["relevance_score"] < 0.05
    assert httpx.post(served.client.base_url.join("/v1/rerank"), json=PANDA).status_code == 401


def test_scores_are_a_native_servers(served: Served) -> None:
    """The image's kernels and those compiled for this machine give the same logits."""
    words = ["panda", "bear", "bamboo", "China", "river", "stone", "engine", "queue", "Paris"]
    documents = [
        " ".join(words[(place * step) % len(words)] for place in range(3 + 7 * step))
        for step in range(1, 30)
    ]
    body = {"query": PANDA["query"], "documents": documents, "raw_scores": True}
    with native_serving() as (_, client):
        native = _by_index(client.post("/v1/rerank", json=body).json())
    own = _by_index(served.client.post("/v1/rerank", json=body).json())

    assert own.keys() == native.keys() == set(range(len(documents)))
    assert max(native.values()) - min(native.values()) > 1
    assert max(abs(own[index] - native[index]) for index in native) < ALIKE


def _by_index(answer: dict[str, Any]) -> dict[int, float]:
    return {one["index"]: one["relevance_score"] for one in answer["results"]}


def test_best_kernels_of_this_processor_are_loaded(served: Served) -> None:
    """`rerankd devices` names this processor's instructions, and the patch's product with VNNI."""
    build = json.loads(served.run("rerankd", "devices").stdout.splitlines()[0])
    found = re.search(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    assert found is not None
    flags = set(found[1].split())

    assert "CPU" in build["backends"]
    for flag, name in VARIANTS.items():
        assert (f"| {name} = 1" in build["features"]) == (flag in flags), name
    with_vnni = bool(flags & {"avx512_vnni", "avx_vnni"})
    assert ("Q8_0_VNNI = 1" in build["features"]) == with_vnni
    assert ("Q8_0_MADD = 1" in build["features"]) == ("avx2" in flags and not with_vnni)


def test_commands_work_inside(served: Served, key: str) -> None:
    """`rerankd ps` and `rerankd rank` in the container, with the key in a variable."""
    told = call("exec", "-e", f"RERANKD_API_KEY={key}", served.name, "rerankd", "ps").stdout
    assert "rerank-mini-en" in told

    script = "printf 'hi\\nThe giant panda is a bear.\\n' | rerankd rank 'What is a panda?'"
    first = served.run("sh", "-c", script).stdout.splitlines()[0]
    assert "giant panda" in first


def test_it_runs_without_rights_on_a_read_only_root(served: Served) -> None:
    """Its user is no root, has no capability, and writes into volumes and /tmp alone."""
    assert served.run("id", "-u").stdout.strip() == str(USER)
    status = served.run("cat", "/proc/1/status").stdout
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(rf"^Uid:\s+{USER}\s", status, re.MULTILINE)
    for place in ("/", "/opt/rerankd", "/etc"):
        assert served.run("touch", f"{place}/written", code=None).returncode != 0
    for place in ("/var/lib/rerankd", "/var/cache/rerankd", "/tmp"):  # noqa: S108
        served.run("touch", f"{place}/written")


def test_image_says_how_it_is_run() -> None:
    """User, signal, volumes, port and health check are the image's own."""
    config = inspected("image", IMAGE)["Config"]

    assert config["User"] == f"{USER}:{USER}"
    assert config["StopSignal"] in {"SIGTERM", "15"}
    assert set(config["Volumes"]) == {"/var/lib/rerankd", "/var/cache/rerankd"}
    assert set(config["ExposedPorts"]) == {"8100/tcp"}
    assert own_check()[0] == "python"


def test_image_has_nothing_that_only_builds(served: Served) -> None:
    """No compiler, no installer, no libraries' tests and no caches; compiled Python is there."""
    for program in ("cc", "gcc", "git", "cmake", "pip"):
        assert served.run("sh", "-c", f"command -v {program}", code=None).returncode != 0
    site = "/opt/rerankd/lib/python3*/site-packages"
    unwanted = r"-name tests -o -name '*.a' -o -name '*.h' -o -name pip -o -name hatchling"
    listed = served.run("sh", "-c", f"find {site} \\( {unwanted} \\)").stdout.split()
    assert listed == []
    assert served.run("sh", "-c", f"find {site}/app -name '*.pyc' | head -n 1").stdout


def test_size_and_idle_memory_stay_under_their_bounds(served: Served) -> None:
    """The image's size and an idle server's memory stay under their bounds."""
    size = inspected("image", IMAGE)["Size"]
    status = served.run("cat", "/proc/1/status").stdout
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    idle = int(found[1]) * 1024

    print(f"image {size / 1e6:.1f} MB, idle {idle / 1e6:.1f} MB")  # for docs/performance.md
    assert size < LARGEST_IMAGE
    assert idle < LARGEST_IDLE


def test_sigterm_finishes_what_runs_and_ends_with_0(state: str, models: str, key: str) -> None:
    """`stop` waits for a running request, which is answered whole; a key outlives its container."""
    documents = [f"document {number} about pandas and bears " * 5 for number in range(300)]
    with serving(state, models, key) as served, ThreadPoolExecutor(2) as pool:
        body = {"query": "panda", "documents": documents}
        answer = pool.submit(served.client.post, "/v1/rerank", json=body)
        until_busy(served.client)
        call("stop", "--time", str(DRAIN), served.name)

        assert answer.result(PATIENCE).status_code == 200
        assert len(answer.result().json()["results"]) == len(documents)
        assert inspected("container", served.name)["State"]["ExitCode"] == 0


def test_health_check_fails_once_the_server_is_gone(state: str, models: str, key: str) -> None:
    """The image's own check tells a server that listens from none."""
    with serving(state, models, key) as served:
        words = own_check()
        nowhere = ("-e", "RERANKD_PORT=1")

        assert served.healthy()
        assert call("exec", *nowhere, served.name, *words, code=None).returncode != 0
