"""Visits of the console with a headless browser that may talk to the server alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect

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
PAGES = {
    "playground": "Playground",
    "catalog": "Catalog",
    "deployments": "Deployments",
    "keys": "API keys",
    "usage": "Usage",
}
PHONE, DESK = (360, 740), (1440, 900)
GRAVE = ("serious", "critical")
PATIENCE_MS = 120_000
"""How long anything may take before it is a failure: a busy machine is no fault of the page."""
expect.set_options(timeout=PATIENCE_MS / 4)

Scheme = Literal["light", "dark"]


def axe_script() -> Path | None:
    """Return axe-core as its package vendors it, None where that is not installed."""
    found = importlib.util.find_spec("axe_playwright_python")
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) / "axe.min.js" if folders else None


class Visit:
    """A page, whatever it asked for elsewhere, and what it complained about."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.strayed: list[str] = []
        self.complaints: list[str] = []
        page.context.route("**/*", self._pass)
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _pass(self, route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(self.url).netloc:
            route.fallback()
        else:
            self.strayed.append(route.request.url)
            route.abort()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, name: str = "playground", argument: str = "") -> None:
        """Open a page of the console by its address and wait until it is drawn."""
        self.page.goto("about:blank")  # a change of the fragment alone would not load anything
        self.page.goto(f"{self.url}/#{name}{argument}")
        expect(self.page.get_by_role("heading", level=1)).to_have_text(PAGES[name])

    def part(self, name: str) -> Any:
        """Return a part of the page by its name in console.html."""
        return self.page.locator(f"[data-part={name}]")

    def sign_in(self, key: str) -> None:
        """Give a key to the dialog that asks for one."""
        self.page.get_by_label("API key", exact=True).fill(key)
        self.page.get_by_role("button", name="Sign in").last.click()

    def rank(self) -> None:
        """Send the request of the playground."""
        self.page.get_by_role("button", name="Rank").click()

    @property
    def ranked(self) -> list[str]:
        """The texts of the ranking, best first, once it is there."""
        expect(self.page.locator(".ranked").first).to_be_visible()
        return [str(text) for text in self.page.locator(".ranked .words").all_inner_texts()]

    @property
    def overhang(self) -> int:
        """Pixels by which the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.page.evaluate(script))

    def faults(self, script: Path, *within: str) -> list[str]:
        """Return what axe-core calls serious or critical here, with the elements concerned.

        With selectors, it looks at these parts alone: a long page takes it minutes.
        """
        self.page.evaluate(script.read_text("utf-8"))
        options = "{resultTypes: ['violations'], elementRef: false}"
        place = f"{{include: {[[one] for one in within]}}}" if within else "document"
        found = self.page.evaluate(f"axe.run({place}, {options})")
        return [
            f"{rule['id']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
            if node["impact"] in GRAVE
        ]


@contextmanager
def visiting(
    browser: Browser, url: str, *, size: tuple[int, int] = DESK, scheme: Scheme = "light"
) -> Iterator[Visit]:
    """Yield a visit with a window and storage of its own."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    try:
        yield Visit(context.new_page(), url)
    finally:
        context.close()
