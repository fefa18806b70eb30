"""docs/applications.md and docs/llama-swap.md: what each application sends, and what it reads.

The requests are those that the applications' own code makes, and of the answers these tests read
what that code reads. The settings come from the pages where these have them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from litestar.testing import TestClient

from rerankd.http.application import create_app
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.places import DOCS

PAGE = (DOCS / "applications.md").read_text("utf-8")
KEY = "a-key-of-the-test"
PANDA = "The giant panda is a bear of China."
TEXTS = ["hi", PANDA]
QUERY = "What is a panda?"
WIDTH = 384

Client = TestClient[Any]


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Yield a client of the embedded model that serves any name, with the key of the test."""
    telemetry = Telemetry()
    service = build(Settings(api_keys=(KEY,), any_model=True), observer=telemetry)
    asyncio.run(service.start())
    app, own = create_app(service, telemetry), {"Authorization": f"Bearer {KEY}"}
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as found:
        found.headers.update(own)
        yield found
    asyncio.run(service.close())


def posted(client: Client, path: str, **body: Any) -> Any:
    """Return the JSON of a successful answer."""
    answer = client.post(path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


def test_librechat_jina(client: Client) -> None:
    """It names a model of its own, and takes each document's text from an object."""
    body = {"model": "jina-reranker-v2-base-multilingual", "top_n": 5, "return_documents": True}
    results = posted(client, "/v1/rerank", query=QUERY, documents=TEXTS, **body)["results"]

    assert [(row["index"], row["document"]["text"]) for row in results] == [(1, PANDA), (0, "hi")]
    assert results[0]["relevance_score"] > results[1]["relevance_score"]


def test_librechat_cohere(client: Client) -> None:
    """It takes the texts from its own list, by the index."""
    body = {"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "top_n": 1}
    (row,) = posted(client, "/v2/rerank", **body)["results"]

    assert (row["index"], row["relevance_score"] > 0.5) == (1, True)


def test_hindsight_tei(client: Client) -> None:
    """It asks for the model once, then for indices and scores in a bare list."""
    assert client.get("/info").json()["model_id"]
    rows = posted(client, "/rerank", query=QUERY, texts=TEXTS, return_text=False)

    assert {row["index"] for row in rows} == {0, 1}
    assert all(isinstance(row["score"], float) for row in rows)


@pytest.mark.parametrize("more", [{}, {"top_n": 2}], ids=["siliconflow", "cohere"])
def test_hindsight_by_other_providers(client: Client, more: dict[str, int]) -> None:
    """Documents are left out of the answer."""
    body = {"model": "rerank-mini-en", "documents": TEXTS, "return_documents": False}
    results = posted(client, "/v1/rerank", query=QUERY, **body, **more)["results"]

    assert [row["index"] for row in results] == [1, 0]
    assert all("document" not in row for row in results)


def test_memmachine(client: Client) -> None:
    """It sends a dot for an empty query, and every candidate must get a score."""
    body = {"model": "rerank-mini-en", "query": ".", "documents": TEXTS}
    results = posted(client, "/v2/rerank", **body)["results"]

    assert sorted(row["index"] for row in results) == [0, 1]
    assert all(isinstance(row["relevance_score"], float) for row in results)


def test_kotaemon(client: Client) -> None:
    """A field that nobody else sends is no fault; the answer is a bare list."""
    rows = posted(client, "/rerank", query=QUERY, texts=TEXTS, is_truncated=True)

    assert [row["index"] for row in rows] == [1, 0]
    assert rows[0]["score"] > rows[1]["score"]


def test_weaviate(client: Client) -> None:
    """It waits, reads what the model is, and finds each score by the document's text."""
    assert client.get("/.well-known/ready").status_code <= 299
    assert isinstance(client.get("/meta").json(), dict)
    scores = posted(client, "/rerank", query=QUERY, documents=TEXTS, property="")["scores"]

    assert {row["document"]: row["score"] > 0.5 for row in scores} == {"hi": False, PANDA: True}


def test_weaviate_reads_a_refusal(client: Client) -> None:
    """Its parser takes nothing but text for an error."""
    answer = client.post("/rerank", json={"query": QUERY, "documents": [], "property": ""})

    assert not answer.is_success
    assert isinstance(answer.json()["error"], str)


# Elasticsearch


def elastic(kind: str) -> dict[str, Any]:
    """Return the settings of an inference endpoint as the page has them."""
    found = re.search(rf"^PUT _inference/{kind}/\S+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    service: dict[str, Any] = json.loads(found[1])
    assert service["service"] == "custom"
    settings: dict[str, Any] = service["service_settings"]
    return settings


def ask_as_elastic(client: Client, settings: dict[str, Any], **given: Any) -> Any:
    """Send what the service `custom` makes of its settings: values as JSON, secrets as they are."""
    body = settings["request"]
    for name, value in given.items():
        body = body.replace(f"${{{name}}}", json.dumps(value))
    headers = {name: text.replace("${api_key}", KEY) for name, text in settings["headers"].items()}
    assert "${" not in f"{body}{headers}"
    path = settings["url"].removeprefix("http://ADDRESS:8100")
    answer = client.post(path, content=body, headers=headers)
    assert answer.is_success, answer.text
    return answer.json()


def values_at(place: str, answer: Any) -> list[Any]:
    """Return what stands at a path such as `$.results[*].index`."""
    found = [answer]
    for step in place.removeprefix("$.").split("."):
        name = step.removesuffix("[*]")
        found = [one[name] for one in found]
        if step.endswith("[*]"):
            found = [item for one in found for item in one]
    return found


def test_elasticsearch_ranks(client: Client) -> None:
    """As many indices as scores, best first."""
    settings = elastic("rerank")
    answer = ask_as_elastic(client, settings, query='"What" is\na panda?', input=TEXTS)
    places = settings["response"]["json_parser"]

    assert values_at(places["reranked_index"], answer) == [1, 0]
    scores = values_at(places["relevance_score"], answer)
    assert scores == sorted(scores, reverse=True)


def test_elasticsearch_gets_vectors(client: Client) -> None:
    """A list of numbers for each text."""
    settings = elastic("text_embedding")
    answer = ask_as_elastic(client, settings, input=TEXTS)
    numbers = values_at(settings["response"]["json_parser"]["text_embeddings"], answer)

    assert len(numbers) == len(TEXTS) * WIDTH
    assert all(isinstance(one, float) for one in numbers)


def test_vectors_for_anythingllm_and_n8n(client: Client) -> None:
    """OpenAI's client for JavaScript asks for Base64 of little-endian numbers."""
    body = {"model": "rerank-mini-en", "input": TEXTS, "encoding_format": "base64"}
    for row in posted(client, "/v1/embeddings", **body)["data"]:
        packed = base64.b64decode(row["embedding"])
        vector = struct.unpack(f"<{WIDTH}f", packed)
        assert sum(number * number for number in vector) == pytest.approx(1.0, abs=1e-3)


def test_n8n_http_request(client: Client) -> None:
    """The fields that the page names, and no others."""
    for name in ("model", "query", "documents", "top_n", "results"):
        assert f"`{name}`" in PAGE[PAGE.index("## n8n") :]
    body = {"model": "rerank-mini-en", "query": QUERY, "documents": TEXTS, "top_n": 1}

    assert [row["index"] for row in posted(client, "/v1/rerank", **body)["results"]] == [1]


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking"])
def test_llama_swap_forwards(client: Client, path: str) -> None:
    """It waits until /health says 200, then hands on these paths as they are, with the model."""
    assert f"`{path}`" in (DOCS / "llama-swap.md").read_text("utf-8")
    assert client.get("/health").status_code == 200
    body = {"model": "rerank-mini-en", "query": QUERY, "documents": TEXTS}

    assert posted(client, path, **body)["results"][0]["index"] == 1


def test_every_application_has_a_row_that_says_what_was_tried() -> None:
    """The table and the sections are the same applications."""
    rows = re.findall(r"^\| (\[.*) \| ", PAGE, re.MULTILINE)
    named = re.findall(r"\[([^\]]+)\]\(#", "".join(rows))

    assert sorted(named) == sorted(re.findall(r"^## (.+)$", PAGE, re.MULTILINE))


def test_memmachine_reads_its_settings() -> None:
    """A Cohere address without a path, an OpenAI one with /v1, and the model's own dimensions."""
    block = re.search(r"## MemMachine.*?```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block
    resources = yaml.safe_load(block[1])["resources"]
    (reranker,), (embedder,) = resources["rerankers"].values(), resources["embedders"].values()

    assert reranker["config"]["base_url"] == "http://ADDRESS:8100"
    assert embedder["config"]["base_url"] == "http://ADDRESS:8100/v1"
    assert embedder["config"]["dimensions"] == WIDTH
