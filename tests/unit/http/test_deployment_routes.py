"""Deployments whose ids are also paths: refused when they are new, managed where they exist."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from rerankd.http import deployments
from rerankd.settings import Settings

from support.serving import server_of, service_of

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/json"}


def test_a_deployment_called_events_can_be_shown_and_stopped() -> None:
    """Its path also streams events; every route of deployments still finds it."""
    service = service_of(start=False, model_id="events")
    with server_of(service) as url, httpx.Client(base_url=url) as client:
        shown = client.get("/v1/deployments/events", headers=JSON).json()
        logs = client.get("/v1/deployments/events/logs")
        restarted = client.post("/v1/deployments/events/restart")
        stopped = client.delete("/v1/deployments/events")
        gone = client.get("/v1/deployments/events", headers=JSON)
        again = client.delete("/v1/deployments/events")

    assert (shown["id"], shown["state"]) == ("events", "ready")
    assert logs.status_code == 200
    assert (restarted.status_code, restarted.json()["error"]["code"]) == (409, "conflict")
    assert stopped.json() == {"id": "events", "deleted": True}
    assert (gone.status_code, again.status_code) == (404, 404)


@pytest.mark.parametrize(
    "body", [{"model": "rerank-mini-en", "id": "events"}, {"model": "/models/events.gguf"}]
)
def test_no_new_deployment_is_called_events(body: dict[str, str]) -> None:
    """Neither by name nor by its file's; the answer says what to change."""
    with server_of(service_of(start=False)) as url:
        refused = httpx.post(f"{url}/v1/deployments", json=body)

    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "id"
    assert "reserved" in refused.json()["error"]["message"]


def test_options_are_changed_over_http() -> None:
    """What is left out stays; a name or a value that can't be is refused before anything stops."""
    with server_of(service_of(start=False, model_id="a")) as url:
        place = f"{url}/v1/deployments/a"
        changed = httpx.patch(place, json={"options": {"workers": 1}})
        pinned = httpx.patch(place, json={"pinned": False})
        refused = httpx.patch(place, json={"options": {"port": 1}})
        strange = httpx.patch(place, json={"model": "another"})
        absent = httpx.patch(f"{url}/v1/deployments/b", json={})

    assert (changed.status_code, changed.json()["options"]) == (202, {"workers": 1})
    assert (pinned.json()["pinned"], pinned.json()["options"]) == (False, {"workers": 1})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "port")
    assert (strange.status_code, absent.status_code) == (400, 404)


@pytest.mark.parametrize("body", [None, {}, {"accept_unproven": True}])
def test_a_restart_needs_no_body(body: dict[str, bool] | None) -> None:
    """One that is there is read; a model that is ready isn't loaded again."""
    with server_of(service_of(start=False, model_id="a")) as url:
        place = f"{url}/v1/deployments/a/restart"
        conflict = httpx.post(place) if body is None else httpx.post(place, json=body)
        strange = httpx.post(place, json={"accept": True})

    assert (conflict.status_code, strange.status_code) == (409, 400)


@pytest.mark.parametrize("name", ["restart", "logs", "deployments"])
def test_other_words_of_the_routes_are_names_like_any(name: str) -> None:
    """No route takes them for itself."""
    service = service_of(start=False, model_id=name)
    with server_of(service) as url, httpx.Client(base_url=f"{url}/v1/deployments/") as client:
        assert client.get(name).json()["id"] == name
        assert client.get(f"{name}/logs").status_code == 200
        assert client.delete(name).json()["deleted"]


@pytest.mark.parametrize(
    "name", ["a/b", "a/b/c", "a/restart", "/models/m.gguf", "50%", "a%2Fb", "é/ü"]
)
def test_an_id_may_hold_slashes_and_percent_signs(name: str) -> None:
    """Escaped as any client escapes a path segment, it is one id in every route."""
    service = service_of(start=False, model_id=name)
    path = f"/v1/deployments/{quote(name, safe='')}"
    with server_of(service) as url, httpx.Client(base_url=url) as client:
        assert client.get(path).json()["id"] == name
        assert client.get(f"{path}/logs").status_code == 200
        assert client.post(f"{path}/restart").json()["error"]["code"] == "conflict"
        assert client.delete(path).json() == {"id": name, "deleted": True}


def test_slashes_of_an_id_may_arrive_bare() -> None:
    """Some proxies unescape paths; what follows the id is still found."""
    service = service_of(start=False, model_id="a/b")
    with server_of(service) as url, httpx.Client(base_url=f"{url}/v1/deployments/") as client:
        assert client.get("a/b").json()["id"] == "a/b"
        assert client.get("a/b/logs").status_code == 200
        assert client.post("a/b/restart").status_code == 409
        assert client.get("a/c").status_code == 404
        assert client.delete("a/b").json()["deleted"]


def test_an_option_beyond_the_machine_is_refused_with_the_bound() -> None:
    """422 at once: nothing is stored and nothing starts."""
    body = {"model": "rerank-mini-en", "id": "x", "options": {"workers": 100_000}}
    with server_of(service_of(start=False)) as url:
        refused = httpx.post(f"{url}/v1/deployments", json=body)
        listed = httpx.get(f"{url}/v1/deployments").json()["data"]

    assert refused.status_code == 422
    assert refused.json()["error"]["param"] == "workers"
    assert "at most" in refused.json()["error"]["message"]
    assert [one["id"] for one in listed] == ["rerank-mini-en"]


def test_a_new_deployment_is_named_apart_from_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A local file may be one of the catalog's, and then all of it is read."""
    seen: list[str] = []

    def named(model: str, settings: Settings) -> str:
        del model, settings
        seen.append(threading.current_thread().name)
        return "found"

    monkeypatch.setattr(deployments, "default_name", named)
    with server_of(service_of(start=False)) as url:
        found = httpx.post(f"{url}/v1/deployments", json={"model": str(tmp_path / "m.gguf")})

    assert found.json()["id"] == "found"
    assert seen
    assert all(name.startswith("name-deployments") for name in seen)
