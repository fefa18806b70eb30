"""Every route against every kind of caller, in one table that a new route has to join."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import pytest
from litestar.testing import TestClient
from msgspec import Struct

from rerankd.auth import keys
from rerankd.auth.keys import KeyStore
from rerankd.dialects.embedding_table import BY_PATH
from rerankd.dialects.table import DIALECTS
from rerankd.http.application import create_app, litestar_app
from rerankd.store import Key, Scope
from rerankd.telemetry.observers import Telemetry

from support.fakes import PATIENCE
from support.serving import client_of, server_of, service_of

Access = Literal["public", "any", "inference", "manage"]
"""Whom a route is for: everybody, any key, or a key of a scope."""


class Row(Struct, frozen=True):
    """What a route asks for; `body` is one that it takes."""

    access: Access
    body: Any = None
    path: str = ""
    """An address of the route, where its own has parameters."""
    status: int = 200
    """The answer to it, of a server whose only model is a cross-encoder."""
    endless: bool = False
    """The answer doesn't end by itself."""


def ranking(path: str) -> Row:
    """Return the row of a path that ranks."""
    *_, dialect = DIALECTS.on(path)
    return Row("inference", dialect.example, path=path.format(owner="x", model="rerank-mini-en"))


ROWS: dict[tuple[str, str], Row] = {
    **{("POST", path): ranking(path) for path in DIALECTS.paths},
    **{("POST", path): Row("inference", one.example, status=422) for path, one in BY_PATH.items()},
    ("GET", "/v1/me"): Row("any"),
    ("GET", "/v1/models"): Row("any"),
    ("GET", "/v1/models/{model_id}"): Row("any", path="/v1/models/rerank-mini-en"),
    ("GET", "/v1/catalog"): Row("any"),
    ("GET", "/metrics"): Row("any"),
    ("GET", "/info"): Row("any"),
    ("GET", "/props"): Row("any"),
    ("GET", "/meta"): Row("any"),
    ("GET", "/v1/keys"): Row("manage"),
    ("POST", "/v1/keys"): Row("manage", {"name": "made by a test"}),
    ("DELETE", "/v1/keys/{key_id}"): Row("manage", path="/v1/keys/none"),
    ("GET", "/v1/deployments"): Row("manage"),
    ("POST", "/v1/deployments"): Row("manage", {"model": "no/such.gguf"}),
    ("GET", "/v1/deployments/events"): Row("manage", endless=True),
    ("DELETE", "/v1/deployments/events"): Row("manage"),
    ("GET", "/v1/deployments/{deployment_id}"): Row("manage", path="/v1/deployments/none"),
    ("DELETE", "/v1/deployments/{deployment_id}"): Row("manage", path="/v1/deployments/none"),
    ("POST", "/v1/deployments/{deployment_id}/restart"): Row(
        "manage", path="/v1/deployments/none/restart"
    ),
    ("GET", "/v1/deployments/{deployment_id}/logs"): Row(
        "manage", path="/v1/deployments/none/logs"
    ),
    ("GET", "/v1/usage"): Row("manage"),
    ("GET", "/v1/server"): Row("manage"),
    ("GET", "/v1/hub"): Row("manage"),
    ("GET", "/v1/hub/files"): Row("manage"),
    ("DELETE", "/v1/files"): Row("manage"),
    ("PATCH", "/v1/deployments/{deployment_id}"): Row("manage", path="/v1/deployments/none"),
    ("GET", "/health"): Row("public"),
    ("GET", "/health/live"): Row("public"),
    ("GET", "/health/ready"): Row("public"),
    ("GET", "/.well-known/ready"): Row("public"),
    ("GET", "/v1/cluster/auth"): Row("public"),
    ("GET", "/"): Row("public"),
    ("GET", "/docs"): Row("public"),
    ("GET", "/openapi.json"): Row("public"),
    ("GET", "/static/{file_path}"): Row("public", path="/static/none"),
    ("HEAD", "/static/{file_path}"): Row("public", path="/static/none"),
}

REFUSED = (401, 403)
FOREIGN: tuple[dict[str, str], ...] = (
    {"Origin": "https://example.org"},
    {"Origin": "null"},
    {"Origin": "http://testserver.example.org"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
)

CALLERS: dict[str, tuple[Scope, ...]] = {
    "both": ("inference", "manage"),
    "inference": ("inference",),
    "manage": ("manage",),
    "other model": ("inference", "manage"),
    "expired": ("inference", "manage"),
    "revoked": ("inference", "manage"),
}


class Ring(Struct):
    """Keys of every kind, by name, and the ring that knows them."""

    ring: KeyStore
    texts: dict[str, str]


def made_ring() -> Ring:
    """Return a ring with a key of every kind."""
    ring, texts, now = KeyStore(), {}, time.time()

    async def fill() -> None:
        for name, scopes in CALLERS.items():
            expires = int(now) - 1 if name == "expired" else None
            models = ["another"] if name == "other model" else None
            key: Key
            key, texts[name] = keys.make_key(
                name, now=now, scopes=scopes, expires=expires, models=models
            )
            await ring.add(key)
            if name == "revoked":
                await ring.revoke(key.id)

    asyncio.run(fill())
    texts["wrong"] = texts["both"][:-1] + ("A" if texts["both"][-1] != "A" else "B")
    texts["prefix"] = texts["both"][: keys.PREFIX_LENGTH]
    return Ring(ring, texts)


@pytest.fixture(scope="module")
def made() -> Ring:
    """Return the keys of this file."""
    return made_ring()


@pytest.fixture(scope="module")
def client(made: Ring) -> Iterator[TestClient[Any]]:
    """Yield a client of an application that knows them."""
    service = service_of()
    app = create_app(service, ring=made.ring)
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found
    asyncio.run(service.close())


def routes_of(app: Any) -> set[tuple[str, str]]:
    """Return every method and path of an application."""
    return {
        (method, route.path_format)
        for route in app.routes
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def ask(
    client: TestClient[Any] | httpx.Client, where: tuple[str, str], headers: dict[str, str]
) -> httpx.Response:
    """Call a route as its row says."""
    row = ROWS[where]
    body = {"json": row.body} if row.body is not None else {}
    return client.request(where[0], row.path or where[1], headers=headers, **body)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


every_route = pytest.mark.parametrize("where", ROWS, ids=" ".join)


def test_every_route_has_a_row() -> None:
    """A route that is added is refused here until somebody says whom it is for."""
    service = service_of(start=False)
    found = {
        where for where in routes_of(litestar_app(service, Telemetry())) if where[0] != "OPTIONS"
    }
    asyncio.run(service.close())

    missing = sorted(found - ROWS.keys())
    assert not missing, (
        f"say in ROWS of tests/unit/http/test_security.py whom these are for: {missing}"
    )
    assert not ROWS.keys() - found, "rows without a route"


@every_route
@pytest.mark.parametrize("name", ["", "wrong", "prefix", "expired", "revoked"])
def test_without_a_good_key_only_public_routes_answer(
    client: TestClient[Any], made: Ring, where: tuple[str, str], name: str
) -> None:
    """401 for no key and for one that is wrong, too short, expired or revoked."""
    response = ask(client, where, bearer(made.texts[name]) if name else {})

    if ROWS[where].access == "public":
        assert response.status_code not in REFUSED
    else:
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


@every_route
@pytest.mark.parametrize("name", ["both", "inference", "manage"])
def test_a_key_opens_the_routes_of_its_scopes(
    client: TestClient[Any], made: Ring, where: tuple[str, str], name: str
) -> None:
    """403 for a key without the route's scope; every other one gets past the guard."""
    row = ROWS[where]
    allowed = row.access in {"public", "any", *CALLERS[name]}
    if allowed and row.endless:
        pytest.skip("its answer doesn't end; test_server_deployments reads it")

    status = ask(client, where, bearer(made.texts[name])).status_code

    assert (status not in REFUSED) if allowed else (status == 403)
    if allowed and row.access == "inference":
        assert status == row.status


@every_route
def test_a_key_for_another_model_ranks_with_no_other(
    client: TestClient[Any], made: Ring, where: tuple[str, str]
) -> None:
    """404, as for a model that isn't there; models of others are not told of."""
    row = ROWS[where]
    if row.endless:
        pytest.skip("its answer doesn't end")

    response = ask(client, where, bearer(made.texts["other model"]))

    if row.access == "inference":
        assert response.status_code == 404
        named = "rerank-mini-en" in f"{row.path} {row.body}"  # what the caller says is no news
        assert named or "rerank-mini-en" not in response.text
    assert response.status_code not in REFUSED
    if where[1].startswith("/v1/models"):
        assert '"rerank-mini-en"' not in response.text


@every_route
@pytest.mark.parametrize("page", FOREIGN, ids=str)
def test_pages_of_other_sites_never_manage(
    client: TestClient[Any], made: Ring, where: tuple[str, str], page: dict[str, str]
) -> None:
    """403 with the best of keys; for other routes the key is what counts."""
    response = ask(client, where, bearer(made.texts["both"]) | page)

    if ROWS[where].access == "manage":
        assert response.status_code == 403
    else:
        assert response.status_code not in REFUSED
    assert "access-control-allow-origin" not in response.headers


def test_without_keys_pages_of_other_sites_do_nothing() -> None:
    """On a server that asks for no key, they reach public routes alone; own pages reach all."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as open_one:
        for where, row in ROWS.items():
            for page in FOREIGN:
                if row.access != "public":
                    assert ask(open_one, where, page).status_code == 403, (where, page)
            own = ({"Origin": url}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"})
            for page in own:
                if not row.endless and where[0] == "GET":
                    assert ask(open_one, where, page).status_code not in REFUSED, (where, page)


def test_no_key_is_read_from_an_address(client: TestClient[Any], made: Ring) -> None:
    """Addresses end up in logs and histories."""
    for name in ("key", "api_key", "api-key", "token", "access_token", "Authorization"):
        response = client.get("/v1/models", params={name: made.texts["both"]})
        assert response.status_code == 401


def test_options_tell_methods_and_nothing_else(client: TestClient[Any]) -> None:
    """They need no key, since browsers send none, and have no body."""
    for (_, path), row in ROWS.items():
        response = client.options(row.path or path)
        assert response.status_code in {204, 401}
        assert response.status_code == 401 or not response.content


def test_no_key_shows_in_logs_answers_or_names(
    client: TestClient[Any], made: Ring, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever becomes of a key, its text stays out of all that is written."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="rerankd")
    told = []
    for text in made.texts.values():
        for where in (("GET", "/v1/me"), ("GET", "/v1/keys"), ("POST", "/v1/rerank")):
            response = ask(client, where, bearer(text))
            told += [response.text, str(response.headers)]
        told += [client.get("/v1/models", headers={"X-API-Key": text}).text]
    told += [caplog.text, repr(made.ring.keys), repr(vars(made.ring))]

    secret = keys.PREFIX_LENGTH
    for name, text in made.texts.items():
        if name != "prefix":
            assert not [one for one in told if text[secret:] in one], name


STRANGE_HOSTS = (
    *(
        "rebound.example",
        "rebound.example:8100",
        "localhost.rebound.example",
        "127.0.0.1.nip.example",
    ),
    *("rerankd", "printer.local", "host.docker.internal", "LOCALHOST.example.", "[::1].example"),
)


def test_without_keys_only_this_machines_names_do_anything() -> None:
    """A page whose own name leads here is refused on every route that is not public."""
    with server_of(service_of()) as url, httpx.Client(base_url=url, timeout=PATIENCE) as open_one:
        for host in STRANGE_HOSTS:
            page = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            for where, row in ROWS.items():
                status = ask(open_one, where, page).status_code
                assert (status == 403) is (row.access != "public"), (where, host)
            refused = ask(open_one, ("POST", "/rerank"), {"Host": host}).text
            assert "allowed_hosts" in refused, "a program is told what to do"


def test_with_a_key_the_host_does_not_matter(client: TestClient[Any], made: Ring) -> None:
    """No page has a key, and a proxy may send any name."""
    headers = bearer(made.texts["both"]) | {"Host": "search.example"}
    assert ask(client, ("POST", "/rerank"), headers).status_code == 200


def test_a_page_that_avoids_the_preflight_does_nothing() -> None:
    """Browsers send text/plain without asking first, but never without the page's origin."""
    plain = {"Content-Type": "text/plain", "Origin": "https://example.org"}
    body = b'{"query": "q", "documents": ["a"], "name": "n", "model": "m"}'
    with client_of(service_of()) as open_one:
        for (method, path), row in ROWS.items():
            if method == "POST":
                response = open_one.post(row.path or path, content=body, headers=plain)
                assert response.status_code == 403, path
