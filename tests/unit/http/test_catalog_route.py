"""GET /v1/catalog: the list, its filters, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.testing import TestClient

from rerankd import machine
from rerankd.auth.keys import KeyStore
from rerankd.errors import RerankdError
from rerankd.http.catalog import CatalogList, list_catalog
from rerankd.http.guard import KeyGuard
from rerankd.http.statuses import answer_error, answer_framework
from rerankd.sources import catalog

from support.manifests import written
from support.serving import service_of

OURS = catalog.manifests()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Litestar]]:
    """Yield a client of the route alone, with a key, a person's folder and 1 GB free."""
    written(tmp_path)
    monkeypatch.setattr(machine, "available_memory", lambda: 10**9)
    service = service_of(start=False, catalog_dir=str(tmp_path))
    app = Litestar(
        [list_catalog],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        guards=[KeyGuard(KeyStore(["secret"]))],
        exception_handlers={RerankdError: answer_error, HTTPException: answer_framework},
        openapi_config=None,
    )
    with TestClient(app, base_url="http://127.0.0.1") as found:
        found.headers["X-API-Key"] = "secret"
        yield found


def ids_of(client: TestClient[Litestar], query: str) -> set[str]:
    response = client.get(f"/v1/catalog{query}")
    assert response.status_code == 200, response.text
    return {model.id for model in msgspec.json.decode(response.content, type=CatalogList).data}


def test_models_are_listed_like_openai_s(client: TestClient[Litestar]) -> None:
    """The answer is a list of catalog models, the person's own among them."""
    body = client.get("/v1/catalog").json()
    assert body["object"] == "list"
    assert {"catalog.model"} == {model["object"] for model in body["data"]}
    assert {"known", *(one.id for one in OURS)} == {model["id"] for model in body["data"]}
    bge = next(model for model in body["data"] if model["id"] == "bge-reranker-v2-m3")
    assert (bge["bytes"], bge["fits"], bge["installed"]) == (635_676_416, True, False)
    assert [one["name"] for one in bge["variants"]] == ["Q4_K_M", "Q5_K_M", "Q8_0"]


def test_filters_narrow_the_list_together(client: TestClient[Litestar]) -> None:
    """Search, language, licence and fits narrow the list together."""
    assert {"known"} == ids_of(client, "?search=a+model&license=MIT&language=de")
    assert {"qwen3-reranker-4b", "qwen3-reranker-8b", "qwen3-reranker-0.6b"} == ids_of(
        client, "?search=qwen3-reranker&fits=false"
    )
    assert ids_of(client, "?search=qwen3&fits=true") == set()


def test_a_caller_without_a_key_is_refused(client: TestClient[Litestar]) -> None:
    """It is guarded like the other routes."""
    response = client.get("/v1/catalog", headers={"X-API-Key": "wrong"})
    assert response.status_code == 401


@pytest.mark.parametrize("query", ["fits=maybe", f"search={'x' * 201}", f"license={'x' * 101}"])
def test_a_filter_that_cannot_be_read_is_refused(client: TestClient[Litestar], query: str) -> None:
    """A value of the wrong type or length is the caller's error."""
    response = client.get(f"/v1/catalog?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_wrong_manifest_is_named(client: TestClient[Litestar], tmp_path: Path) -> None:
    """A person's wrong manifest is named rather than left out."""
    (tmp_path / "bad.toml").write_text("idd = 1")
    response = client.get("/v1/catalog")
    assert response.json()["error"]["code"] == "model_file"
    assert "bad.toml" in response.json()["error"]["message"]
