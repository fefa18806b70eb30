"""The OpenAPI document: complete, true, and shown by a page that needs no other host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import jsonschema_rs
import msgspec
import pytest
from litestar import get
from litestar.params import PathParameter, QueryParameter
from litestar.testing import TestClient

from rerankd import http
from rerankd.dialects.dialect import Body, Dialect, RequestContext
from rerankd.dialects.examples import EXAMPLE_DOCUMENTS, EXAMPLE_PICTURE, EXAMPLE_SEEING_MODEL
from rerankd.dialects.pictures import PICTURE_KEYS
from rerankd.dialects.table import DIALECTS
from rerankd.http.application import litestar_app, route_handlers
from rerankd.http.negotiation import JSON, MSGPACK, NDJSON
from rerankd.http.openapi.document import document
from rerankd.http.openapi.operation import Operation, Tag
from rerankd.http.openapi.rendering import MEANINGS, statuses_of
from rerankd.http.openapi.route_doc import RouteDoc, operations_of
from rerankd.http.pages import SECURITY_HEADERS
from rerankd.http.statuses import RETRIED, STATUSES
from rerankd.telemetry.observers import Telemetry

from support.places import files_in
from support.seeing import seeing_service
from support.serving import client_of, service_of

PAGES = {"/", "/docs", "/openapi.json", "/static/{file_path}"}
"""What is for people's eyes, or is the document itself."""
STATIC = Path(http.__file__).parent / "static"
OPERATIONS = tuple(operations_of(route_handlers()))
SPEC = document(route_handlers(), keyed=True)

each_dialect = pytest.mark.parametrize("dialect", tuple(DIALECTS), ids=lambda one: one.name)
each_operation = pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.id)


def schema_of(place: str) -> dict[str, Any]:
    """Return the schema at a place of the document, with all that it refers to."""
    return {"$ref": f"#/components/schemas/{place}", "components": SPEC["components"]}


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with a value."""
    whole = {**schema, "components": SPEC["components"]}
    found = jsonschema_rs.Draft202012Validator(whole).iter_errors(value)
    return [f"{error.instance_path}: {error.message}" for error in found]


def responses() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the operation, the status and the response of every answer, references opened."""
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                name = response.get("$ref", "").rpartition("/")[2]
                found = SPEC["components"]["responses"][name] if name else response
                yield f"{method} {path}", status, found


def examples_of(media: dict[str, Any]) -> Iterator[Any]:
    yield from (example["value"] for example in media.get("examples", {}).values())


# Complete


def test_every_route_is_documented() -> None:
    """The paths and methods of the document are the application's, pages aside."""
    routes = {
        (route.path_format, method.lower())
        for route in litestar_app(service_of(start=False), Telemetry()).routes
        for handler in getattr(route, "route_handlers", ())
        for method in handler.http_methods
    }
    shown = {(path, method) for path, method in routes if method != "options" and path not in PAGES}

    assert shown == {(path, method) for path in SPEC["paths"] for method in SPEC["paths"][path]}


def test_a_route_without_a_description_is_an_error() -> None:
    """A new route is described, or says that it is no part of the API."""

    @get("/x")
    async def undescribed() -> None: ...

    @get("/y", include_in_schema=False)
    async def left_out() -> None: ...

    with pytest.raises(TypeError, match="undescribed"):
        document([undescribed], keyed=True)
    assert not document([left_out], keyed=True)["paths"]


@each_operation
def test_every_operation_is_described(one: Operation) -> None:
    """It has a summary and a tag, its parameters are explained, and it answers something."""
    assert one.summary
    assert one.tag.description
    assert one.replies or one.text_types or one.status == 204
    for parameter in one.parameters:
        assert parameter.get("description") or one.path in DIALECTS.paths
        assert parameter["in"] == "query" or f"{{{parameter['name']}}}" in one.path
    assert len(re.findall(r"\{", one.path)) == sum(p["in"] == "path" for p in one.parameters)


@each_operation
def test_every_error_of_an_operation_has_a_status_with_a_meaning(one: Operation) -> None:
    """Each error that a route may refuse with is one that the server knows how to answer."""
    shown = SPEC["paths"][one.path][one.method]["responses"]

    assert set(one.errors) <= STATUSES.keys()
    assert set(statuses_of(one)) <= MEANINGS.keys()
    assert {str(one.status), *map(str, statuses_of(one))} == shown.keys()
    if one.requests:
        assert {"400", "408", "413", "415"} <= shown.keys()
    assert ({"401", "403"} <= shown.keys()) is not one.public


def test_parameters_are_those_of_the_handler() -> None:
    """Names, bounds, choices and defaults come from the handler's signature."""

    @get("/x/{own:str}", doc=RouteDoc(tag=Tag("t", "T")))
    async def one(
        own: Annotated[str, PathParameter(description="Whose")],
        much: Annotated[int | None, QueryParameter(description="How much")] = None,
        short: Annotated[str, QueryParameter(name="s", max_length=3, description="What")] = "",
        kind: Annotated[str, QueryParameter(enum=("a", "b"), description="Which")] = "b",
    ) -> None:
        """Do this. Or that.

        More about it.
        """

    (found,) = operations_of([one])

    assert (found.path, found.id, found.summary) == ("/x/{own}", "one", "Do this. Or that")
    assert found.parameters == (
        _parameter("own", "path", "Whose", {"type": "string"}) | {"required": True},
        _parameter("much", "query", "How much", {"type": "integer"}),
        _parameter("s", "query", "What", {"type": "string", "maxLength": 3}),
        _parameter(
            "kind", "query", "Which", {"type": "string", "enum": ["a", "b"], "default": "b"}
        ),
    )


def _parameter(name: str, place: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "schema": schema}


def test_operations_have_names_of_their_own() -> None:
    """No two operations share an id, which client generators name functions by."""
    ids = [one.id for one in OPERATIONS]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z]\w*", name) for name in ids)


@each_dialect
def test_every_dialect_is_shown_where_it_is_spoken(dialect: Dialect) -> None:
    """Each path of a dialect shows its request and its reply."""
    for path in dialect.paths:
        (one,) = (one for one in OPERATIONS if one.path == path)

        assert dialect.request in [shape.kind for shape in one.requests]
        assert dialect.reply in [shape.kind for shape in one.replies]
        assert dialect.errors in one.error_formats.values()


def test_references_lead_somewhere() -> None:
    """Every $ref names a component that is there, and every component is used."""
    found = set(re.findall(r'"#/components/(\w+)/([\w.]+)"', msgspec.json.encode(SPEC).decode()))

    assert found
    for kind in ("schemas", "responses"):
        assert set(SPEC["components"][kind]) == {name for group, name in found if group == kind}


def test_every_tag_is_explained() -> None:
    """Operations are grouped by tags that the document describes."""
    tags = {tag["name"] for tag in SPEC["tags"] if tag["description"]}

    assert tags == {one.tag.name for one in OPERATIONS}


def test_ranking_can_be_had_in_every_format() -> None:
    """Requests are JSON or MessagePack; answers also come line by line."""
    for path in DIALECTS.paths:
        post = SPEC["paths"][path]["post"]

        assert {JSON, MSGPACK} == set(post["requestBody"]["content"])
        assert {JSON, MSGPACK, NDJSON} == set(post["responses"]["200"]["content"])


# True


def without_texts(example: Any) -> Any:
    """Return an example with an empty list where its documents are."""
    if isinstance(example, dict):
        return {name: without_texts(one) for name, one in example.items()}
    if isinstance(example, list) and len(example) == len(EXAMPLE_DOCUMENTS):
        return []
    return example


@pytest.mark.slow
@each_dialect
def test_texts_are_required_where_they_are(dialect: Dialect) -> None:
    """A request without documents is refused by server and document alike."""
    schema = SPEC["paths"][dialect.paths[0]]["post"]["requestBody"]["content"][JSON]["schema"]
    wrong = without_texts(dialect.example)
    with client_of(service_of()) as client:
        refused = client.post(dialect.paths[0], json=wrong)

    assert wrong != dialect.example
    assert refused.status_code == 400
    # Either side of vLLM's pairs has four names, none of which is required by itself.
    assert faults(wrong, schema) or dialect.name == "vllm-score"


@pytest.mark.slow
@each_dialect
def test_examples_are_requests_and_answers_of_their_dialect(dialect: Dialect) -> None:
    """Each dialect reads its own example, and its answer is of the type it says."""
    for path in dialect.paths:
        body = Body(msgspec.json.encode(dialect.example))
        assert dialect.parse(body, RequestContext(path=path)).requests

    with client_of(service_of()) as client:
        for path in dialect.paths:
            answer = client.post(path, json=dialect.example)

            assert 200 == answer.status_code
            msgspec.json.decode(answer.content, type=dialect.reply)


@pytest.mark.slow
def test_examples_are_true_to_their_schemas() -> None:
    """Every example of a request, an answer or an error keeps the schema beside it."""
    count = 0
    bodies = [
        ("request", name, one["requestBody"])
        for name, methods in SPEC["paths"].items()
        for one in methods.values()
        if "requestBody" in one
    ]
    for name, status, response in (*responses(), *bodies):
        for media in response.get("content", {}).values():
            for example in examples_of(media):
                assert not faults(example, media["schema"]), f"{name} {status}"
                count += 1
    assert count > len(DIALECTS.paths)


def test_error_examples_have_the_status_they_stand_under() -> None:
    """The error of each status is one that the server answers with that status."""
    own = {(kind, status) for one in DIALECTS for kind, status in one.errors.statuses.items()}
    for status, (kind, _) in MEANINGS.items():
        assert STATUSES[kind] == status or (kind, status) in own


def test_retries_are_told() -> None:
    """What may be retried says when."""
    for _, status, response in responses():
        assert (int(status) in RETRIED) == ("Retry-After" in response.get("headers", {}))


def keys_of(value: Any) -> set[str]:
    return set(value) if isinstance(value, dict) else keys_of(value[0])


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank"])
@each_dialect
def test_real_answers_keep_their_schema(dialect: Dialect, path: str) -> None:
    """What the server answers to the example is of the document's shape, every key of it."""
    path = path if path in dialect.paths else dialect.paths[0]
    with client_of(service_of()) as client:
        answer = client.post(path, json=dialect.example).json()
    content = SPEC["paths"][path]["post"]["responses"]["200"]["content"][JSON]
    shown = content["examples"][dialect.label]["value"]

    assert not faults(answer, content["schema"])
    assert keys_of(shown) == keys_of(answer)


@pytest.fixture(scope="module")
def seeing() -> Iterator[TestClient[Any]]:
    """Yield a client of a server whose model, by the examples' name, reads pictures."""
    model_id = EXAMPLE_SEEING_MODEL
    with seeing_service(model_id=model_id) as service, client_of(service) as found:
        yield found


@each_dialect
def test_examples_with_pictures_are_answered_as_they_say(
    dialect: Dialect, seeing: TestClient[Any]
) -> None:
    """A model that sees answers to them in the shape beside them, on each of their paths."""
    path = "/rerank" if "/rerank" in dialect.paths else dialect.paths[0]
    post = SPEC["paths"][path]["post"]
    name = f"{dialect.label}, with pictures"
    shown = post["requestBody"]["content"][JSON]["examples"][name]["value"]
    content = post["responses"]["200"]["content"][JSON]
    found = seeing.post(path.format(owner="o", model=EXAMPLE_SEEING_MODEL), json=shown)

    assert (found.status_code, EXAMPLE_PICTURE in found.text) == (200, False), found.text
    assert not faults(found.json(), content["schema"])
    assert keys_of(content["examples"][name]["value"]) == keys_of(found.json())


def test_the_native_example_with_pictures_says_what_was_seen(seeing: TestClient[Any]) -> None:
    """Its tokens and sizes are those that such pictures have."""
    post = SPEC["paths"]["/v1/rerank"]["post"]
    name = next(one.label for one in DIALECTS if one.name == "native") + ", with pictures"
    shown = post["requestBody"]["content"][JSON]["examples"][name]["value"]
    expected = post["responses"]["200"]["content"][JSON]["examples"][name]["value"]
    found = seeing.post("/v1/rerank", json=shown).json()

    for part in ("usage", "prompt_tokens_details"), ("meta", "pictures"):
        assert expected[part[0]][part[1]] == found[part[0]][part[1]]
    assert expected["model"] == found["model"]


def test_each_form_of_a_picture_is_described() -> None:
    """In the schema of every query and document."""
    wanted = SPEC["components"]["schemas"]["TeiRequest"]["properties"]
    for name in ("query", "texts"):
        (form,) = [one for one in wanted[name]["anyOf"] if one.get("type") == "object"]
        assert set(PICTURE_KEYS) <= set(form["properties"])
        assert all(one["description"] for one in form["properties"].values())


@each_operation
def test_every_get_answers_as_it_says(one: Operation, told: TestClient[Any]) -> None:
    """What can be had without a body is of its schema."""
    if one.method != "get" or not one.replies:
        return
    path = one.path.format(model_id="rerank-mini-en", deployment_id="rerank-mini-en")
    answer = told.get(path)
    described = SPEC["paths"][one.path]["get"]
    if any(
        part.get("required") and part["in"] == "query" for part in described.get("parameters", ())
    ):
        assert answer.status_code == 400
        assert "400" in described["responses"]
        return
    content = described["responses"][str(answer.status_code)]["content"]

    assert one.status == answer.status_code
    assert not faults(answer.json(), content[JSON]["schema"])


@pytest.fixture(scope="module")
def told() -> Iterator[TestClient[Any]]:
    """Yield a client that may manage."""
    with client_of(service_of(api_keys=("k",))) as client:
        client.headers["Authorization"] = "Bearer k"
        yield client


def test_security_is_told_only_where_keys_are_asked_for() -> None:
    """A server without keys doesn't claim to want one."""
    assert document(route_handlers(), keyed=False)["security"] == []
    assert document(route_handlers(), keyed=True)["security"]


@pytest.mark.parametrize("public", [False, True])
def test_metrics_are_shown_as_open_where_they_are(*, public: bool) -> None:
    """The document follows the setting `metrics_public`."""
    with client_of(service_of(api_keys=("k",), metrics_public=public)) as client:
        shown = client.get("/openapi.json").json()["paths"]["/metrics"]["get"]
        status = client.get("/metrics").status_code

    assert (shown.get("security") == []) is public
    assert ("401" in shown["responses"]) is not public
    assert status == (200 if public else 401)


def test_replicas_show_no_metrics() -> None:
    """One replica of many isn't measured over HTTP, so its document has no such route."""
    paths = {one.path for one in operations_of(route_handlers(replica=True))}

    assert {one.path for one in OPERATIONS} - paths == {"/metrics"}


def test_keys_made_later_are_told_too() -> None:
    """The document that is served follows the keys that there are."""
    with client_of(service_of(api_keys=("k",))) as client:
        assert client.get("/openapi.json").json()["security"]
    with client_of(service_of()) as client:
        assert not client.get("/openapi.json").json()["security"]


# The page


def test_page_and_its_files_are_served_with_strict_headers() -> None:
    """The page comes with a policy that forbids other hosts, and its files are there."""
    with client_of(service_of()) as client:
        page = client.get("/docs")
        files = re.findall(r'(?:src|href)="(static/[^"]+)"', page.text)
        answers = [client.get(file) for file in files]

    assert files
    assert [200] * len(files) == [answer.status_code for answer in answers]
    assert SECURITY_HEADERS.items() <= dict(page.headers).items() | {
        (name, page.headers[name]) for name in SECURITY_HEADERS
    }


def test_page_names_no_other_host() -> None:
    """No file of the page loads anything from elsewhere."""
    for file in files_in(STATIC, "api*"):
        text = file.read_text("utf-8")

        assert not re.search(
            r"""(?:src|href|url|import|from|fetch)\W{0,3}["'(]\s*(?:https?:)?//""", text
        )


def test_page_modules_are_all_there() -> None:
    """Every module that a module of the page imports is a file beside it."""
    for file in files_in(STATIC, "api*.js"):
        for name in re.findall(r'from "\./([\w.-]+)"', file.read_text("utf-8")):
            assert (STATIC / name).is_file(), f"{file.name} imports {name}"
