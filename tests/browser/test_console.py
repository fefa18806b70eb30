"""The console's frame and its pages, apart from the playground."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from rerankd.service import build
from rerankd.settings import Settings
from rerankd.sources import catalog

from support.browser import PAGES, PHONE, Visit, axe_script, visiting
from support.places import ROOT
from support.serving import server_of

pytestmark = pytest.mark.browser

AXE = axe_script()
DIALOGS = (
    *(("catalog", "Deploy a file or Hub model"), ("keys", "Create a key")),
    *(("deployments", "Logs"), ("deployments", "curl"), ("deployments", "Stop")),
)
TO_COMPARE = {"query": "panda", "documents": ["a bear", "a lamp"]}


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_an_address_and_fits_a_phone(browser: Browser, url: str, page: str) -> None:
    """Opened by its address, a page has its title, needs nothing else and never overhangs."""
    with visiting(browser, url, size=PHONE) as visit:
        visit.open(page)
        expect(visit.page).to_have_title(f"{PAGES[page]} · rerankd")
        current = visit.page.locator(".nav [aria-current=page]")

        expect(current).to_have_text(PAGES[page])
        assert visit.overhang == 0
        assert (visit.complaints, visit.strayed) == ([], [])


@pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave(browser: Browser, url: str, scheme: str) -> None:
    """No serious or critical fault on any page, filled ones, dialogs and phones included."""
    assert AXE
    found: dict[str, list[str]] = {}
    httpx.post(f"{url}/v1/rerank", json=TO_COMPARE).raise_for_status()
    for size in (PHONE, (1280, 900)):
        with visiting(browser, url, size=size, scheme=scheme) as visit:
            for page in PAGES:
                visit.open(page)
                _fill(visit, page)
                found[f"{page} at {size[0]}"] = visit.faults(AXE)
            for page, button in DIALOGS:
                visit.open(page)
                visit.page.get_by_role("button", name=button, exact=True).click()
                expect(visit.page.get_by_role("dialog")).to_be_visible()
                found[f"{button} at {size[0]}"] = visit.faults(AXE)

    assert {place: faults for place, faults in found.items() if faults} == {}


@pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_grave_in_the_reference(browser: Browser, url: str, scheme: str) -> None:
    """Its frame, and an operation whose form is open and answered, on a phone."""
    assert AXE
    with visiting(browser, url, size=PHONE, scheme=scheme) as visit:
        visit.page.goto(f"{url}/docs")
        operation = visit.page.locator("#post-v1-rerank")
        operation.locator("details.try > summary").click()
        operation.locator("button.send").click()
        expect(operation.locator(".result-status")).to_contain_text("200")

        assert visit.faults(AXE, "header", "#post-v1-rerank") == []
        assert visit.overhang == 0


def _fill(visit: Visit, page: str) -> None:
    """Wait until a page shows what it is for."""
    if page == "playground":
        visit.page.get_by_text("Code for this request").click()
        visit.rank()
    shown = {"playground": ".ranked", "catalog": ".model", "deployments": ".deployment .facts"}
    shown |= {"keys": ".empty", "usage": ".chart svg text"}
    expect(visit.page.locator(shown[page]).first).to_be_visible()


# The frame


def test_skip_link_and_links_move_the_focus(visit: Visit) -> None:
    """The first stop of the tab key leads to the content, a page's link to its heading."""
    visit.open()
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the content")).to_be_focused()
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#main")).to_be_focused()
    visit.page.get_by_role("link", name="Usage").press("Enter")

    expect(visit.page.get_by_role("heading", level=1, name="Usage")).to_be_focused()


def test_the_theme_is_the_system_s_until_one_is_chosen(browser: Browser, url: str) -> None:
    """Dark by preference, light by choice, also after a reload."""

    def background(visit: Visit) -> str:
        return str(visit.page.evaluate("getComputedStyle(document.body).backgroundColor"))

    with visiting(browser, url, scheme="dark") as visit:
        visit.open()
        dark = background(visit)
        visit.page.get_by_role("radio", name="Light").check()
        light = background(visit)
        visit.page.reload()
        expect(visit.page.get_by_role("radio", name="Light")).to_be_checked()

        assert background(visit) == light
        visit.page.get_by_role("radio", name="Same as the system").check()
        assert background(visit) == dark != light


def test_the_policy_stops_foreign_scripts(visit: Visit) -> None:
    """Nothing is fetched from elsewhere, and markup from strings is refused."""
    visit.open()
    fetched = visit.page.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'no')")
    made = "() => { try { document.body.innerHTML = '<b>'; return 'made' } catch { return 'no' } }"
    written = visit.page.evaluate(made)
    complaints, visit.complaints = visit.complaints, []

    assert (fetched, written, visit.strayed) == ("no", "no", [])
    assert any("Content Security Policy" in line for line in complaints)


def test_a_server_that_is_gone_and_back_is_noticed(browser: Browser, tmp_path: Path) -> None:
    """When nothing answers, the page says so by itself, and goes on when something does."""
    settings = Settings(state_dir=str(tmp_path / "state"))
    with server_of(build(settings)) as url, visiting(browser, url) as visit:
        visit.open("deployments")
        expect(visit.page.locator("#server")).to_have_text("1 of 1 ready")
        visit.page.route("**/v1/**", lambda route: route.abort())

        expect(visit.part("trouble")).to_contain_text("cannot be reached", timeout=10_000)
        expect(visit.page.locator("#server")).to_have_text("Not reachable")
        visit.page.unroute("**/v1/**")
        expect(visit.page.locator("#server")).to_have_text("1 of 1 ready", timeout=10_000)
        expect(visit.part("trouble")).to_be_empty()


# Catalog


def test_catalog_is_searched_and_filtered(visit: Visit) -> None:
    """Words, language, licence and what is here narrow the list, which says how far."""
    visit.open("catalog")
    cards = visit.page.locator(".model")
    expect(visit.part("found")).to_have_text(re.compile(r"^\d\d models$"))
    visit.page.get_by_label("Search").fill("Qwen/Qwen3-Reranker-0.6B")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("639 MB")
    visit.page.get_by_label("Search").fill("")
    visit.page.get_by_label("On this machine").check()
    expect(cards.first).to_contain_text("rerank-mini-en")
    visit.page.get_by_label("Language").select_option(label="Chinese")
    expect(cards.first).to_contain_text("rerank-mini-multi")
    visit.page.get_by_label("Search").fill("no-such-word")
    expect(visit.page.get_by_text("No model in the catalog matches")).to_be_visible()
    visit.page.get_by_label("Search").fill("")
    visit.page.get_by_label("On this machine").uncheck()
    visit.page.get_by_label("Licence").select_option("MIT")

    expect(cards.filter(has_text="bge-reranker-base")).to_have_count(1)
    both = [
        one
        for one in catalog.manifests()
        if one.license == "MIT" and {"zh", "mul"} & set(one.languages)
    ]
    expect(cards).to_have_count(len(both))


def test_catalog_tells_what_runs_and_what_a_licence_forbids(visit: Visit) -> None:
    """A deployed model leads to its deployment; a restricted one says what it needs."""
    visit.open("catalog")
    own = visit.page.get_by_role("article", name="rerank-mini-en 1")
    expect(own).to_contain_text("ready")
    expect(own.get_by_role("link", name="See deployment")).to_be_visible()
    visit.page.get_by_label("Search").fill("CC-BY-NC")
    visit.page.get_by_role("button", name="Deploy", exact=True).first.click()

    expect(visit.page.get_by_role("dialog")).to_contain_text("forbids commercial use")


def test_a_refused_deployment_says_why_in_its_dialog(browser: Browser, url: str) -> None:
    """What can't be right is said at its field, what the server says in the dialog, which stays."""
    with visiting(browser, url) as visit:
        visit.open("catalog")
        visit.page.get_by_role("button", name="Deploy a file or Hub model").click()
        dialog = visit.page.get_by_role("dialog")
        dialog.get_by_label("Model").fill("hf:nonsense")
        dialog.get_by_role("button", name="Deploy").click()

        expect(dialog.get_by_text("After hf: goes owner/repo:file.gguf")).to_be_visible()
        expect(dialog.get_by_label("Model")).to_have_value("hf:nonsense")
        expect(dialog.get_by_label("Model")).to_be_focused()

        dialog.get_by_label("Model").fill("/models/a.gguf")
        dialog.get_by_label("Serve as").fill("no-such-family")
        dialog.get_by_role("button", name="Deploy").click()

        expect(dialog.get_by_role("alert")).to_contain_text("neither a family nor a catalog id")


# Deployments


def test_a_deployment_shows_its_facts_log_and_curl(visit: Visit) -> None:
    """Device, memory and workers; what the log has; a request to copy."""
    visit.open("deployments")
    card = visit.page.get_by_role("article", name="rerank-mini-en")
    expect(card).to_contain_text("CPU")
    expect(card).to_contain_text("54.3 MB")
    expect(card).to_contain_text("512 tokens")
    card.get_by_role("button", name="Logs").click()
    expect(visit.page.get_by_role("log")).to_contain_text("ready")
    visit.page.get_by_role("button", name="Close").click()
    card.get_by_role("button", name="curl").click()

    expect(visit.page.get_by_role("dialog")).to_contain_text(f"curl {visit.url}/v1/rerank")


def test_stopping_asks_first_and_leaves_nothing(visit: Visit) -> None:
    """Cancelled, it stays; confirmed, it goes; and the page says where to get another."""
    visit.open("deployments")
    card = visit.page.get_by_role("article", name="rerank-mini-en")
    card.get_by_role("button", name="Stop").click()
    visit.page.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("ready")
    card.get_by_role("button", name="Stop").click()
    visit.page.get_by_role("button", name="Stop it").click()

    expect(card).to_have_count(0)
    expect(visit.page.get_by_text("Nothing is deployed.")).to_be_visible()


def test_a_failed_deployment_can_be_loaded_again(visit: Visit, tmp_path: Path) -> None:
    """The reason is shown; when it is mended, one click loads it."""
    path = tmp_path / "mended.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    visit.open("deployments")
    visit.page.get_by_role("button", name="Deploy a file or Hub model").click()
    visit.page.get_by_role("dialog").get_by_label("Model").fill(str(path))
    visit.page.get_by_role("dialog").get_by_role("button", name="Deploy").click()
    card = visit.page.get_by_role("article", name="mended")
    expect(card.locator(".badge", has_text="failed")).to_be_visible()
    expect(card.locator(".notice.bad")).to_contain_text("mended.gguf")
    own = ROOT / "models" / "rerank-mini-en-q8_0.gguf"
    path.write_bytes(own.read_bytes())
    card.get_by_role("button", name="Try again").click()

    expect(card.locator(".badge", has_text="ready")).to_be_visible(timeout=20_000)
    expect(visit.page.locator("#announcer")).to_have_text("mended: ready")


# Usage


def test_usage_counts_what_was_asked(visit: Visit) -> None:
    """Two requests of two documents, the second from the cache, as tiles, charts and tables."""
    for _ in range(2):
        httpx.post(f"{visit.url}/v1/rerank", json=TO_COMPARE).raise_for_status()
    visit.open("usage")
    tiles = visit.part("tiles")
    expect(tiles).to_contain_text(re.compile(r"Requests\s*2"))
    expect(tiles).to_contain_text(re.compile(r"Documents\s*4"))
    expect(tiles).to_contain_text(re.compile(r"From the cache\s*50 %"))
    expect(visit.page.locator(".chart")).to_have_count(6)
    chart = visit.page.locator(".chart").first
    assert chart.locator(".column").count() in {1, 2}  # a minute may pass between them
    chart.locator("svg").press("End")
    expect(chart.locator(".readout")).to_have_text(re.compile(r"^\d\d:\d\d +[012]$"))
    chart.get_by_text("Table").click()
    assert sum(map(int, chart.locator("td").all_inner_texts())) == 2
    visit.page.get_by_label("Time", exact=True).select_option("day")

    expect(visit.part("table").get_by_role("row")).to_have_count(2)
    expect(visit.part("table")).to_contain_text("no key")
