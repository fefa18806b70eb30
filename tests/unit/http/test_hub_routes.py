"""Finding models on the Hub and deleting their files, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.hub_standin import HubStandin, isolate, listening, point
from support.serving import server_of, service_of

pytestmark = pytest.mark.slow

SPLIT = "someone/large-GGUF"
FILE = "someone/tiny-GGUF:tiny-Q8_0.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandin]:
    """Yield a Hub with a whole and a split model."""
    standin = HubStandin()
    standin.files = {FILE: b"GGUF" * 10, "someone/tiny-GGUF:README.md": b"read me"}
    for part in (1, 2):
        standin.files[f"{SPLIT}:large-Q8_0-0000{part}-of-00002.gguf"] = b"GGUF" * part
    with listening(standin) as address:
        isolate(monkeypatch, tmp_path / "cache")
        point(monkeypatch, address)
        yield standin


@pytest.fixture
def client(hub: HubStandin) -> Iterator[httpx.Client]:
    """Yield a client of a server that reaches that Hub."""
    assert hub
    with server_of(service_of(start=False)) as url, httpx.Client(base_url=url) as found:
        yield found


def test_repositories_and_their_files_are_found(client: httpx.Client, hub: HubStandin) -> None:
    """Words find repositories; a split model is one file with the size of all its parts."""
    found = client.get("/v1/hub", params={"search": "tiny"}).json()["data"]
    files = client.get("/v1/hub/files", params={"repo": "someone/tiny-GGUF"}).json()["data"]
    split = client.get("/v1/hub/files", params={"repo": SPLIT}).json()["data"]

    assert found == [{"id": "someone/tiny-GGUF", "downloads": 7, "likes": 1}]
    assert hub.searches[0]["filter"] == "gguf"
    assert files == [{"file": "tiny-Q8_0.gguf", "bytes": 40, "reference": f"hf:{FILE}"}]
    assert [(one["file"], one["bytes"]) for one in split] == [
        ("large-Q8_0-00001-of-00002.gguf", 12)
    ]


def test_what_the_hub_doesn_t_have_or_say_is_told_in_one_line(client: httpx.Client) -> None:
    """An unknown repository, a name that can't be one, and no words."""
    gone = client.get("/v1/hub/files", params={"repo": "someone/gone"})
    wrong = client.get("/v1/hub/files", params={"repo": "no owner"})
    empty = client.get("/v1/hub", params={"search": ""})

    assert (gone.status_code, gone.json()["error"]["code"]) == (502, "download_failed")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "repo")
    assert empty.status_code == 400


def test_a_hub_out_of_reach_is_told_in_one_line(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens there."""
    point(monkeypatch, "http://127.0.0.1:1")
    refused = client.get("/v1/hub", params={"search": "tiny"})

    assert refused.status_code == 502
    assert "the Hub cannot be reached" in refused.json()["error"]["message"]


def test_downloaded_files_are_deleted(client: httpx.Client) -> None:
    """Once; the second time there is nothing. Other files of the server are out of reach."""
    from rerankd.sources.hub import files  # noqa: PLC0415 - after the Hub was put in place
    from rerankd.sources.hub.reference import parse_reference  # noqa: PLC0415 - likewise

    path = files.download(parse_reference(f"hf:{FILE}"))
    first = client.delete("/v1/files", params={"model": f"hf:{FILE}"})
    again = client.delete("/v1/files", params={"model": f"hf:{FILE}"})
    own = client.delete("/v1/files", params={"model": str(path)})

    assert first.json() == {"model": f"hf:{FILE}", "freed_bytes": 40, "deleted": True}
    assert (path.exists(), again.status_code) == (False, 404)
    assert (own.status_code, own.json()["error"]["param"]) == (400, "model")


def test_files_in_use_are_not_deleted(client: httpx.Client) -> None:
    """The answer names the deployment."""
    deployed = client.get("/v1/deployments").json()["data"][0]
    refused = client.delete("/v1/files", params={"model": deployed["source"]})

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
    assert deployed["id"] in refused.json()["error"]["message"]


def test_the_server_describes_itself_and_its_options(client: httpx.Client) -> None:
    """Versions, uptime, memory; each option of a deployment with its help and what counts now."""
    info = client.get("/v1/server").json()
    options = {one["name"]: one for one in info["deployment_options"]}

    assert info["version"]
    assert info["uptime_seconds"] >= 0
    assert info["memory_bytes"] > 1_000_000
    assert options["flash_attn"]["choices"] == ["auto", "on", "off"]
    assert options["accept_unproven"]["kind"] == "bool"
    assert "load check" in options["accept_unproven"]["help"]
    assert options["tensor_split"]["value"] == ""
