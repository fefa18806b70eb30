"""The whole story in a browser, and who may do what: from an empty server to a revoked key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from rerankd.service import build
from rerankd.settings import Settings

from support.browser import PHONE, Visit, visiting
from support.hub_standin import HubStandin, isolate, listening, point
from support.serving import server_of
from support.tiny_models import write_qwen3

pytestmark = pytest.mark.browser

MANIFEST = """
id = "tiny-qwen3-reranker"
title = "Tiny reranker"
description = "A model of noise, for tests"
license = "Apache-2.0"
languages = ["en"]
parameters = 40_000
family = "qwen3"
score = "softmax"
default = "F32"

[context]
trained = 512
recommended = 256

[shape]
layers = 2
width = 64
heads = 4
kv_heads = 2
head_width = 16
vocabulary = 300

[[variants]]
name = "F32"
repo = "owner/tiny-GGUF"
file = "tiny-qwen3-reranker-F32.gguf"
bytes = {size}
"""
LOADING = 30_000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubStandin]:
    """Yield a Hub that has one small model and stops in the middle of it until released."""
    model = write_qwen3(tmp_path / "model.gguf", head="own").read_bytes()
    standin = HubStandin()
    standin.files = {"owner/tiny-GGUF:tiny-qwen3-reranker-F32.gguf": model}
    standin.stalls = [len(model) // 2]
    manifests = tmp_path / "catalog"
    manifests.mkdir()
    (manifests / "tiny-qwen3-reranker.toml").write_text(MANIFEST.format(size=len(model)))
    with listening(standin) as address:
        isolate(monkeypatch, tmp_path / "cache")
        point(monkeypatch, address)
        yield standin


@pytest.fixture
def keyless(tmp_path: Path, hub: HubStandin) -> Iterator[str]:
    """Yield the address of a server that has no keys yet and a catalog with that model."""
    assert hub
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        catalog_dir=str(tmp_path / "catalog"),
        accept_unproven=True,
    )
    with server_of(build(settings, keep=True)) as found:
        yield found


def rerank(url: str, key: str | None) -> httpx.Response:
    """Ask the tiny model with a key."""
    body = {"model": "tiny-qwen3-reranker", "query": "panda", "documents": ["yes no", "a panda"]}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.post(f"{url}/v1/rerank", json=body, headers=headers, timeout=20)


def deploy_tiny(visit: Visit, hub: HubStandin) -> None:
    """Find the model in the catalog, deploy it, watch the download and the load."""
    visit.open("catalog")
    visit.page.get_by_label("Search").fill("tiny reranker")
    visit.page.get_by_role("article", name="Tiny reranker").get_by_role("button").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    expect(visit.page.get_by_role("heading", level=1)).to_have_text("Deployments")
    card = visit.page.get_by_role("article", name="tiny-qwen3-reranker")
    expect(card.locator(".badge", has_text="downloading")).to_be_visible()
    expect(card.get_by_role("progressbar")).to_be_visible()
    expect(visit.page.locator("#busy-count")).to_have_text("1")
    hub.released.set()
    expect(card.locator(".badge", has_text="ready")).to_be_visible(timeout=LOADING)
    expect(visit.page.locator("#busy-count")).to_be_hidden()


def create_key(visit: Visit, name: str, *, manage: bool, model: str = "") -> str:
    """Make a key on the page of keys and return it from the dialog that shows it once."""
    visit.page.get_by_role("link", name="API keys").click()
    visit.page.get_by_role("button", name="Create a key").click()
    dialog = visit.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Manage models and keys").set_checked(manage)
    if model:
        dialog.get_by_label(model).check()
    dialog.get_by_role("button", name="Create").click()
    field = visit.page.get_by_label(f"Key “{name}”")
    expect(field).to_be_visible()
    key = str(field.input_value())
    assert f"Bearer {key}" in visit.page.get_by_role("dialog").inner_text()
    visit.page.get_by_role("button", name="Done").click()
    expect(visit.page.get_by_role("row", name=name)).to_be_visible()
    assert key not in str(visit.page.content())
    return key


def revoke(visit: Visit, name: str) -> None:
    """Revoke a key, with the confirmation."""
    visit.page.get_by_role("row", name=name).get_by_role("button", name="Revoke").click()
    visit.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(visit.page.get_by_role("row", name=name)).to_contain_text("revoked")


def test_a_model_is_deployed_used_and_its_key_revoked(
    browser: Browser, keyless: str, hub: HubStandin
) -> None:
    """Open, deploy, see it ready, make keys, rank by HTTP and by hand, revoke, be refused."""
    with visiting(browser, keyless) as visit:
        deploy_tiny(visit, hub)
        create_key(visit, "operator", manage=True)
        expect(visit.page.get_by_role("row", name="operator")).to_contain_text("yours")
        key = create_key(visit, "search", manage=False, model="tiny-qwen3-reranker")
        assert rerank(keyless, key).status_code == 200
        assert rerank(keyless, None).status_code == 401
        visit.open("playground", "/model=tiny-qwen3-reranker")
        visit.page.get_by_label("Instruction").fill("Find what is about bears")
        visit.rank()
        expect(visit.page.locator(".answer h2")).to_have_text("tiny-qwen3-reranker")
        assert len(visit.ranked) == 6
        visit.page.get_by_role("link", name="API keys").click()
        revoke(visit, "search")
        refused = rerank(keyless, key)

        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert (visit.complaints, visit.strayed) == ([], [])
        assert key not in visit.page.url


def test_a_key_lasts_for_the_tab_until_signing_out(browser: Browser, tmp_path: Path) -> None:
    """A keyed server asks; a wrong key is told; a right one lasts for the tab, not in addresses."""
    settings = Settings(state_dir=str(tmp_path / "state"), api_keys=("k-secret",))
    with server_of(build(settings)) as url, visiting(browser, url, size=PHONE) as visit:
        visit.page.goto(url)
        visit.sign_in("wrong")
        expect(visit.page.get_by_role("dialog").get_by_role("alert")).to_contain_text("not valid")
        visit.sign_in("k-secret")
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        visit.rank()
        assert len(visit.ranked) == 6
        assert visit.overhang == 0
        visit.page.set_viewport_size({"width": 320, "height": 640})
        assert visit.overhang == 0
        visit.page.get_by_text("Code for this request").click()
        expect(visit.page.locator("#snippet")).to_contain_text("$RERANKD_API_KEY")
        visit.page.reload()
        visit.rank()
        assert len(visit.ranked) == 6
        kept = visit.page.evaluate("[sessionStorage, localStorage].map(one => JSON.stringify(one))")
        assert ["k-secret" in store for store in kept] == [True, False]
        visit.page.get_by_role("button", name="Sign out").click()

        expect(visit.page.get_by_role("dialog", name="Sign in")).to_be_visible()
        assert visit.page.evaluate("sessionStorage.length") == 0
        assert "k-secret" not in visit.page.url + visit.page.content()


def test_who_revokes_the_own_key_is_asked_for_another(browser: Browser, tmp_path: Path) -> None:
    """The page doesn't go on with a key that is refused."""
    settings = Settings(state_dir=str(tmp_path / "state"), api_keys=("k-other",))
    with server_of(build(settings)) as url, visiting(browser, url) as visit:
        headers = {"Authorization": "Bearer k-other"}
        body = {"name": "mine", "scopes": ["inference", "manage"]}
        made = httpx.post(f"{url}/v1/keys", json=body, headers=headers).json()
        visit.page.goto(url)
        visit.sign_in(made["key"])
        visit.page.get_by_role("link", name="API keys").click()
        visit.page.get_by_role("row", name="mine").get_by_role("button", name="Revoke").click()
        dialog = visit.page.get_by_role("dialog")
        expect(dialog).to_contain_text("You are signed in with this key.")
        dialog.get_by_role("button", name="Revoke").click()

        expect(visit.page.get_by_role("dialog", name="Sign in")).to_be_visible()
        assert visit.page.evaluate("sessionStorage.length") == 0


def test_what_a_key_may_not_do_is_said(browser: Browser, tmp_path: Path) -> None:
    """With inference alone the playground works, and each other page says what is missing."""
    settings = Settings(state_dir=str(tmp_path / "state"), api_keys=("k-manage",))
    with server_of(build(settings)) as url, visiting(browser, url) as visit:
        headers = {"Authorization": "Bearer k-manage"}
        body = {"name": "ranks", "scopes": ["inference"]}
        made = httpx.post(f"{url}/v1/keys", json=body, headers=headers).json()
        visit.page.goto(url)
        visit.sign_in(made["key"])
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
        visit.rank()
        assert len(visit.ranked) == 6
        for page in ("deployments", "keys", "usage"):
            visit.page.locator(f".nav a[href='#{page}']").click()
            expect(visit.part("trouble")).to_contain_text("not have the scope “manage”")
        visit.page.get_by_role("link", name="Catalog").click()
        button = visit.page.get_by_role("button", name="Deploy", exact=True).first

        expect(button).to_have_attribute("aria-disabled", "true")
        button.click(force=True)
        expect(visit.page.get_by_role("dialog")).to_have_count(0)
