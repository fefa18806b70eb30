"""Models, keys and usage as their owners manage them in the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.browser import PATIENCE_MS, Visit, visiting
from support.hub_standin import HubStandin, isolate, listening, point
from support.serving import FakeEngine, server_of, service_of

pytestmark = pytest.mark.browser

FILE = "someone/tiny-GGUF:tiny-Q8_0.gguf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStandin]:
    """Yield a Hub whose only file stops halfway until it is released."""
    standin = HubStandin()
    standin.files = {FILE: b"GGUF" * 1000}
    with listening(standin) as address:
        isolate(monkeypatch, tmp_path / "cache")
        point(monkeypatch, address)
        yield standin
        standin.released.set()


def deploy_dialog(visit: Visit) -> None:
    """Open the dialog for a file or a Hub model."""
    visit.open("deployments")
    visit.page.get_by_role("button", name="Deploy a file or Hub model").click()
    expect(visit.page.get_by_role("dialog")).to_be_visible()


def test_the_name_of_a_model_finds_it_first(visit: Visit) -> None:
    """Not the smallest of those that mention it."""
    visit.open("catalog")
    visit.page.get_by_label("Search").fill("bge-reranker-v2-m3")

    expect(visit.page.locator(".model h2").first).to_have_text("BGE Reranker v2 M3")


def test_quality_is_on_one_scale_under_known_names(visit: Visit) -> None:
    """Shares and percents are told alike, with the benchmark's name."""
    visit.open("catalog")
    card = visit.page.get_by_role("article", name="BGE Reranker v2 M3")
    figures = card.locator(".quality")

    expect(figures.first).to_contain_text("MTEB English v2 reranking, nDCG@10")
    expect(figures.locator("b")).to_have_text(["55.3", "56.5"])


FAULTS = [
    ("hf:nonsense", "After hf: goes"),
    ("https://example.org/model", "not one of a model"),
    ("owner/repo", "This is a repository"),
    ("nonsense", "neither in the catalog nor a path"),
    ("/models/a.gguf", ""),
    ("hf:owner/repo:Q8_0", ""),
    ("rerank-mini-en", ""),
]


def test_a_model_s_name_is_checked_while_it_is_typed(visit: Visit) -> None:
    """Empty, half a reference, foreign addresses; what may be right is left alone."""
    deploy_dialog(visit)
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Deploy").click()
    expect(visit.part("sourceFault")).to_contain_text("Enter a model")
    for typed, fault in FAULTS:
        dialog.get_by_label("Model").fill(typed)
        expect(visit.part("sourceFault")).to_contain_text(fault)
        expect(visit.part("sourceFault")).to_be_visible(visible=bool(fault))


def test_a_pasted_address_becomes_a_reference(visit: Visit) -> None:
    """A file's address names the file, with its revision."""
    deploy_dialog(visit)
    field = visit.page.get_by_role("dialog").get_by_label("Model")
    field.fill("https://huggingface.co/a/b-GGUF/resolve/main/b-Q8_0.gguf?download=true")
    expect(field).to_have_value("hf:a/b-GGUF:b-Q8_0.gguf")
    field.fill("https://huggingface.co/a/b-GGUF/blob/v1/sub/b.gguf")

    expect(field).to_have_value("hf:a/b-GGUF:sub/b.gguf@v1")


def test_a_hub_model_is_searched_deployed_and_cancelled(visit: Visit, hub: HubStandin) -> None:
    """Words find a repository, its file is chosen, and the download is given up in one click."""
    hub.stalls = [2000]
    deploy_dialog(visit)
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_text("Search the Hub").click()
    dialog.get_by_label("Words of the name").fill("tiny")
    dialog.get_by_role("button", name="someone/tiny-GGUF").click()
    dialog.get_by_role("button", name="tiny-Q8_0.gguf").click()
    expect(dialog.get_by_label("Model")).to_have_value(f"hf:{FILE}")
    dialog.get_by_role("button", name="Deploy").click()
    card = visit.page.get_by_role("article", name="tiny-Q8_0")
    card.get_by_role("button", name="Cancel").click()

    expect(card).to_have_count(0)
    expect(visit.page.locator(".toast")).to_contain_text("cancelled")


def test_the_options_of_a_deployment_are_explained_and_changed(visit: Visit) -> None:
    """Every option has its help; what is set is what the server then has."""
    visit.open("deployments")
    card = visit.page.get_by_role("article", name="rerank-mini-en")
    card.get_by_role("button", name="Options").click()
    dialog = visit.page.get_by_role("dialog")
    info = httpx.get(f"{visit.url}/v1/server").json()
    shown = [one for one in info["deployment_options"] if one["name"] != "as_family"]
    expect(dialog.locator(".options .field")).to_have_count(len(shown))
    expect(dialog).to_contain_text("Serve files that fail to put relevant texts first")
    dialog.get_by_label("Workers").fill("1")
    dialog.get_by_role("button", name="Save and load again").click()
    expect(dialog).to_have_count(0)
    expect(card).to_contain_text(re.compile(r"Workers\s*1 ×"))

    status = httpx.get(f"{visit.url}/v1/deployments/rerank-mini-en").json()
    assert status["options"] == {"workers": 1}


def test_the_newest_deployment_stands_first(visit: Visit) -> None:
    """The one that was just asked for is where people look."""
    httpx.post(f"{visit.url}/v1/deployments", json={"model": "/no/such.gguf"}).raise_for_status()
    visit.open("deployments")

    expect(visit.page.locator(".deployment h2")).to_have_text(["such", "rerank-mini-en"])


def test_an_unproven_model_is_served_when_somebody_accepts_it(visit: Visit) -> None:
    """The button comes with that failure alone, asks first, and sends the acceptance."""
    status = httpx.get(f"{visit.url}/v1/deployments/rerank-mini-en").json()
    failed = status | {
        "state": "failed",
        "error": "unproven_model",
        "message": "it ranks backwards",
        "facts": None,
    }
    events = "**/v1/deployments/events"
    visit.page.route("**/v1/deployments", lambda route: route.fulfill(json={"data": [failed]}))
    visit.page.route(events, lambda route: route.fulfill(body=": none\n\n"))
    visit.page.route("**/restart", lambda route: route.fulfill(json=failed, status=202))
    visit.open("deployments")
    visit.page.get_by_role("button", name="Serve anyway").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog).to_contain_text("it ranks backwards")
    # The dialog closes before the request is out, so its end says nothing of the request.
    with visit.page.expect_request("**/restart", timeout=PATIENCE_MS) as asked:
        dialog.get_by_role("button", name="Serve anyway").click()
    expect(dialog).to_have_count(0)

    assert asked.value.post_data == '{"accept_unproven":true}'


@pytest.mark.parametrize("mark", ["unproven", "degraded"])
def test_a_model_that_may_rank_wrongly_is_marked(visit: Visit, mark: str) -> None:
    """On its card and in the catalog, with what that means."""
    status = httpx.get(f"{visit.url}/v1/deployments/rerank-mini-en").json() | {"marks": [mark]}
    visit.page.route("**/v1/deployments", lambda route: route.fulfill(json={"data": [status]}))
    visit.page.route("**/v1/deployments/events", lambda route: route.fulfill(body=": none\n\n"))
    visit.open("deployments")
    card = visit.page.get_by_role("article", name="rerank-mini-en")
    expect(card.locator(".badge", has_text=mark)).to_be_visible()
    expect(card.locator(".notice.warn")).to_contain_text(re.compile(mark, re.IGNORECASE))
    visit.open("catalog")

    own = visit.page.get_by_role("article", name="rerank-mini-en 1")
    expect(own.locator(".badge", has_text=mark)).to_be_visible()


def test_escape_doesn_t_lose_a_new_key(visit: Visit) -> None:
    """However often it is pressed; a page of keys shows when they were made."""
    visit.open("keys")
    visit.page.get_by_role("button", name="Create a key").click()
    visit.page.get_by_role("dialog").get_by_label("Name").fill("mine")
    visit.page.get_by_role("dialog").get_by_role("button", name="Create").click()
    field = visit.page.get_by_label("Key “mine”")
    expect(field).to_be_visible()
    for _ in range(3):
        visit.page.keyboard.press("Escape")
    expect(field).to_be_visible()
    expect(visit.page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
        "can't be shown again"
    )
    visit.page.get_by_role("button", name="Done").click()
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    heads = visit.page.get_by_role("columnheader")

    expect(heads.filter(has_text=re.compile("Permissions|Created|Last used"))).to_have_count(3)
    expect(visit.page.get_by_role("row", name="mine")).to_contain_text("just now")


def test_staying_signed_in_holds_for_all_tabs_until_signing_out(
    browser: Browser, tmp_path: Path
) -> None:
    """A second tab is signed in, and out again with the first."""
    settings = Settings(state_dir=str(tmp_path / "state"), api_keys=("k-secret",))
    service = service_of(
        FakeEngine(), start=False, state_dir=settings.state_dir, api_keys=("k-secret",)
    )
    with server_of(service) as url, visiting(browser, url) as visit:
        visit.page.goto(url)
        visit.page.get_by_label("Stay signed in").check()
        visit.sign_in("k-secret")
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        other = visit.page.context.new_page()
        other.goto(url)
        expect(other.get_by_role("button", name="Sign out")).to_be_visible()
        visit.page.get_by_role("button", name="Sign out").click()

        expect(other.get_by_role("dialog", name="Sign in")).to_be_visible()
        visit.page.wait_for_function("localStorage.length === 0")
        assert visit.page.evaluate("sessionStorage.length") == 0


def test_a_revoked_session_says_so(browser: Browser, tmp_path: Path) -> None:
    """Whoever is thrown out learns why."""
    service = service_of(FakeEngine(), start=False, state_dir=str(tmp_path / "s"), api_keys=("k",))
    with server_of(service) as url, visiting(browser, url) as visit:
        headers = {"Authorization": "Bearer k"}
        body = {"name": "mine", "scopes": ["inference", "manage"]}
        made = httpx.post(f"{url}/v1/keys", json=body, headers=headers).json()
        visit.page.goto(url)
        visit.sign_in(made["key"])
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        httpx.delete(f"{url}/v1/keys/{made['id']}", headers=headers).raise_for_status()
        visit.page.evaluate("location.hash = '#usage'")

        dialog = visit.page.get_by_role("dialog", name="Sign in")
        expect(dialog).to_contain_text("no longer valid: it was revoked or has expired")


def test_usage_of_keys_shows_at_once_and_goes_back_for_a_quarter(
    browser: Browser, tmp_path: Path
) -> None:
    """With keyed and keyless requests, nothing is filtered out until somebody chooses."""
    telemetry = Telemetry()
    service = build(Settings(state_dir=str(tmp_path / "state")), observer=telemetry)
    with server_of(service) as url, visiting(browser, url) as visit:
        body = {"query": "panda", "documents": ["a bear"]}
        httpx.post(f"{url}/v1/rerank", json=body).raise_for_status()
        made = httpx.post(
            f"{url}/v1/keys", json={"name": "one", "scopes": ["inference", "manage"]}
        ).json()
        headers = {"Authorization": f"Bearer {made['key']}"}
        httpx.post(f"{url}/v1/rerank", json=body, headers=headers).raise_for_status()
        visit.page.goto(f"{url}/#usage")
        visit.sign_in(made["key"])
        tiles = visit.part("tiles")
        for window in ("hour", "day", "week", "quarter"):
            visit.page.get_by_label("Time", exact=True).select_option(window)
            expect(tiles).to_contain_text(re.compile(r"Requests\s*2"))
        expect(visit.page.get_by_label("Key", exact=True)).to_have_value("*")


def test_the_server_tells_its_version_and_memory(visit: Visit) -> None:
    """Below the navigation, for those who manage it."""
    visit.open()
    visit.page.get_by_role("button", name="About this server").click()
    dialog = visit.page.get_by_role("dialog")

    expect(dialog).to_contain_text("Running for")
    expect(dialog).to_contain_text("Memory of the server")
    expect(dialog).to_contain_text(re.compile(r"rerankd\s*\d+\.\d+"))


def test_the_reference_is_part_of_the_console(visit: Visit) -> None:
    """It has the navigation, and the theme that was chosen."""
    visit.open()
    visit.page.get_by_role("radio", name="Dark").check()
    visit.page.get_by_role("link", name="API reference").click()
    expect(visit.page.locator("#operations .operation").first).to_be_visible(timeout=30_000)
    expect(visit.page.get_by_role("radio", name="Dark")).to_be_checked()
    visit.page.get_by_role("link", name="Catalog", exact=True).click()

    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Catalog")
