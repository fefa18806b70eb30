"""The OpenAPI document: complete, true, and shown by a page that needs no other host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from serving import client_of, service_of

from app import http
from app.dialects import native
from app.http import create_app
from app.http.openapi import document
from app.http.pages import SECURITY_HEADERS

HIDDEN = {"/", "/docs", "/openapi.json"}
STATIC = Path(http.__file__).parent / "static"


def test_every_route_is_documented() -> None:
    """The paths and methods of the document are the application's, pages aside."""
    routes = {
        (route.path_format, method.lower())
        for route in create_app(service_of(start=False)).routes
        for handler in getattr(route, "route_handlers", ())
        for method in handler.http_methods
        if route.path not in HIDDEN and not route.path.startswith("/static")
    }
    documented = {
        (path, method)
        for path, methods in document(keyed=True)["paths"].items()
        for method in methods
    }

    assert documented == {(path, method) for path, method in routes if method != "options"}


def test_references_lead_somewhere() -> None:
    """Every $ref names a schema that is there."""
    found = document(keyed=True)
    references = re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(found).decode())

    assert references
    assert set(references) <= set(found["components"]["schemas"])


def test_examples_are_true() -> None:
    """The request example is accepted and the answer and error examples are of their structs."""
    post = document(keyed=True)["paths"]["/v1/rerank"]["post"]
    request = post["requestBody"]["content"]["application/json"]["example"]

    answer = post["responses"]["200"]["content"]["application/json"]["example"]

    native.read(native.encode(request))
    assert answer == msgspec.to_builtins(msgspec.convert(answer, native.Reply))
    for status, response in post["responses"].items():
        if status != "200":
            example = response["content"]["application/json"]["example"]
            assert example == msgspec.to_builtins(msgspec.convert(example, native.ErrorReply))


def test_real_answer_has_no_key_that_the_document_lacks() -> None:
    """Every key of an answer is a property of its schema."""
    with client_of(service_of()) as client:
        answer = client.post("/v1/rerank", json={"query": "q", "documents": ["a"]}).json()
        found = client.get("/openapi.json").json()
    schemas: dict[str, Any] = found["components"]["schemas"]

    assert set(answer) == set(schemas["Reply"]["properties"])
    assert set(answer["results"][0]) == set(schemas["Result"]["properties"])
    assert set(answer["meta"]) == set(schemas["Report"]["properties"])


def test_what_an_answer_may_leave_out_is_not_required() -> None:
    """Results without documents are true to the document, too."""
    found = document(keyed=False)["components"]["schemas"]["Result"]

    assert "document" in found["properties"]
    assert set(found["required"]) == {"index", "relevance_score"}


def test_security_is_told_only_where_keys_are_asked_for() -> None:
    """A server without keys doesn't claim to want one."""
    assert document(keyed=False)["security"] == []
    assert document(keyed=True)["security"]


def test_page_and_its_files_are_served_with_strict_headers() -> None:
    """The page comes with a policy that forbids other hosts, and its files are there."""
    with client_of(service_of()) as client:
        page = client.get("/docs")
        files = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        answers = [client.get(file) for file in files]

    assert files
    assert [200] * len(files) == [answer.status_code for answer in answers]
    assert SECURITY_HEADERS.items() <= dict(page.headers).items() | {
        (name, page.headers[name]) for name in SECURITY_HEADERS
    }


def test_page_names_no_other_host() -> None:
    """No file of the page loads anything from elsewhere."""
    for file in STATIC.iterdir():
        text = file.read_text("utf-8")

        assert not re.search(
            r"""(?:src|href|url|import|fetch)\W{0,3}["'(]\s*(?:https?:)?//""", text
        )
