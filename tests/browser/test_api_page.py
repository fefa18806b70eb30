"""The API page in a headless browser: it shows the whole API and sends real requests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from rerankd.http.application import route_handlers
from rerankd.http.openapi.document import document
from rerankd.service import build
from rerankd.settings import Settings

from support.serving import server_of

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yield the address of a server of the embedded model that knows one key."""
    settings = Settings(api_keys=("k1",))
    with server_of(build(settings)) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


class Visit:
    """A page and everything it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Yield a visit of the API page, drawn in full."""
    context = browser.new_context(viewport={"width": 375, "height": 800})
    found = Visit(context.new_page())
    found.page.goto(f"{url}/docs")
    expect(found.page.locator("#post-v1-rerank")).to_be_visible()
    yield found
    context.close()


def test_page_lists_every_operation(visit: Visit) -> None:
    """The index names all operations of the document, grouped by its tags."""
    spec = document(route_handlers(), keyed=True)
    wanted = [f"{method.upper()} {path}" for path, one in spec["paths"].items() for method in one]

    shown = visit.page.locator("#index-list a").all_inner_texts()
    groups = visit.page.locator("#index-list h3").all_inner_texts()

    assert sorted(wanted) == sorted(" ".join(text.split()) for text in shown)
    assert groups == [tag["name"] for tag in spec["tags"]]


def test_each_dialect_of_a_shared_path_is_shown(visit: Visit) -> None:
    """A path that several families use shows the fields and the example of each."""
    operation = visit.page.locator("#post-v1-rerank")

    shown = operation.locator("details.shape > summary").all_inner_texts()

    for name in ("Voyage", "Text Embeddings Inference", "Mixedbread"):
        assert f"{name} fields" in shown
        assert f"{name} example" in shown


def test_example_of_a_dialect_can_be_sent(visit: Visit) -> None:
    """The chosen example fills the form, and its answer is the dialect's own."""
    operation = visit.page.locator("#post-v1-rerank")
    visit.page.fill("#api-key", "k1")
    operation.locator("details.try > summary").click()
    operation.get_by_label("Example").select_option("Text Embeddings Inference")
    assert '"texts"' in operation.get_by_label("Body").input_value()
    operation.locator("button.send").click()

    expect(operation.locator(".result-status")).to_contain_text("200 OK in")
    assert operation.locator(".answer pre").inner_text().startswith("[")
    assert visit.complaints == []


def test_scores_can_be_streamed(visit: Visit) -> None:
    """Asked for lines, the form shows them, and its curl command asks for them as well."""
    operation = visit.page.locator("#post-v1-rerank")
    visit.page.fill("#api-key", "k1")
    operation.locator("details.try > summary").click()
    operation.get_by_label("Answer as").select_option("application/x-ndjson")
    operation.locator("button.send").click()

    expect(operation.locator(".result-status")).to_contain_text("200 OK in")
    assert 4 == len(operation.locator(".answer pre").inner_text().strip().splitlines())
    assert "-H 'Accept: application/x-ndjson'" in operation.locator(".curl pre").inner_text()


def test_page_asks_no_other_host_and_has_no_faults(visit: Visit, url: str) -> None:
    """Everything comes from this server, and the console stays empty."""
    assert visit.hosts == {url.removeprefix("http://")}
    assert visit.complaints == []


def test_example_can_be_sent(visit: Visit) -> None:
    """With a key typed in, the example request is answered with the panda first."""
    operation = visit.page.locator("#post-v1-rerank")
    visit.page.fill("#api-key", "k1")
    operation.locator("details.try > summary").click()
    operation.locator("button.send").click()

    expect(operation.locator(".result-status")).to_contain_text("200")
    answer = operation.locator(".answer pre").inner_text()
    assert answer.index("giant panda") < answer.index("it is a bear")
    assert visit.complaints == []


def test_whoever_is_signed_in_to_the_console_needs_no_other_key(visit: Visit, url: str) -> None:
    """The reference sends the key that the console keeps for this tab."""
    visit.page.goto(f"{url}/")
    visit.page.get_by_label("API key", exact=True).fill("k1")
    visit.page.get_by_role("button", name="Sign in").last.click()
    expect(visit.page.get_by_role("button", name="Sign out")).to_be_visible()
    visit.page.goto(f"{url}/docs")
    operation = visit.page.locator("#post-v1-rerank")
    operation.locator("details.try > summary").click()
    operation.locator("button.send").click()

    expect(operation.locator(".result-status")).to_contain_text("200")
    assert "k1" not in operation.locator(".curl pre").inner_text()


def test_missing_key_is_shown_as_the_server_says_it(visit: Visit) -> None:
    """Without a key the form shows 401 and the error body."""
    operation = visit.page.locator("#post-v1-rerank")
    operation.locator("details.try > summary").click()
    operation.locator("button.send").click()

    expect(operation.locator(".result-status")).to_contain_text("401")
    assert "invalid_api_key" in operation.locator(".answer pre").inner_text()


def test_page_fits_a_phone(visit: Visit, tmp_path: Path) -> None:
    """At 375 pixels nothing makes the page scroll sideways."""
    wide = visit.page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )

    assert wide == 0
    assert visit.page.screenshot(path=tmp_path / "phone.png")
