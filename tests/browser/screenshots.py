"""Take the pictures of docs/screenshots: `PYTHONPATH=tests python tests/browser/screenshots.py`.

A server in this process, with the embedded model, made-up use and a download that stands still.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from rerankd.domain import Outcome, RankedResult, Timings
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.browser import CHROMIUM, FLAGS, PAGES, PHONE, Scheme, Visit, visiting
from support.hub_standin import HubStandin, isolate, listening, point
from support.places import ROOT
from support.serving import server_of

FOLDER = ROOT / "docs" / "screenshots"
LOOKS: dict[str, tuple[tuple[int, int], Scheme]] = {
    "light": ((1200, 780), "light"),
    "dark": ((1200, 780), "dark"),
    "phone": (PHONE, "light"),
}
DOWNLOAD = "hf:example/reranker-large-GGUF:reranker-large-Q8_0.gguf"
MEGABYTE = 1_000_000


class Clock:
    """A clock that is set by hand while use is made up."""

    def __init__(self) -> None:
        self.now: float | None = None

    def __call__(self) -> float:
        return time.time() if self.now is None else self.now


def make_up_use(telemetry: Telemetry, clock: Clock, callers: list[str]) -> None:
    """Count an hour of requests, more of them towards its end."""
    chance = random.Random(7)
    begin = time.time() - 3300
    for minute in range(55):
        for caller, weight in zip(callers, (34, 9), strict=True):
            for _ in range(max(0, round(chance.gauss(weight * (0.4 + minute / 80), weight / 4)))):
                clock.now = begin + 60 * minute
                telemetry.usage.ranked(outcome(caller, chance))
    clock.now = None


def outcome(caller: str, chance: random.Random) -> Outcome:
    """Return a request that went well or, seldom, badly."""
    documents = chance.randint(5, 40)
    failed = chance.random() < 0.01
    facts: dict[str, Any] = {"results": (), "truncated": (), "query_truncated": False}
    facts |= {"query_tokens": 9, "chunks": documents, "score_scale": "model"}
    result = RankedResult(
        model="rerank-mini-en",
        device="cpu",
        prompt_tokens=documents * 61,
        cached=chance.randint(0, documents // 2),
        timings=Timings(2.0, 1.0, 20.0, 23.0),
        **facts,
    )
    return Outcome(
        model="rerank-mini-en",
        caller=caller,
        documents=documents,
        seconds=chance.lognormvariate(-3.6, 0.5),
        result=None if failed else result,
        error="queue_full" if failed else "",
    )


def make_keys(client: httpx.Client) -> list[tuple[str, str]]:
    """Return ids and texts of an operator's key and a service's."""
    bodies: list[dict[str, Any]] = [
        {"name": "operator", "scopes": ["inference", "manage"]},
        {"name": "search-frontend", "models": ["rerank-mini-en"], "requests_per_minute": 600},
        {"name": "nightly-evaluation", "expires": int(time.time()) + 30 * 86_400},
    ]
    made: list[dict[str, Any]] = []
    for body in bodies:
        made.append(client.post("/v1/keys", json=body).raise_for_status().json())
        client.headers["Authorization"] = f"Bearer {made[0]['key']}"
    return [(one["id"], one["key"]) for one in made]


@contextmanager
def stage(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield a server with something to show on every page, and the operator's key."""
    clock = Clock()
    telemetry = Telemetry(clock=clock)
    hub = HubStandin()
    hub.files = {DOWNLOAD.removeprefix("hf:"): bytes(48 * MEGABYTE)}
    hub.piece, hub.stalls = (
        1 << 16,
        [31 * MEGABYTE, *[0] * 50],
    )  # the client asks again when it has waited
    settings = Settings(state_dir=str(folder / "state"))
    with pytest.MonkeyPatch.context() as monkeypatch, listening(hub) as address:
        isolate(monkeypatch, folder / "cache")
        point(monkeypatch, address)
        with (
            server_of(build(settings, observer=telemetry)) as url,
            httpx.Client(base_url=url) as client,
        ):
            keys = make_keys(client)
            make_up_use(telemetry, clock, [keys[1][0], keys[2][0]])
            client.post("/v1/deployments", json={"model": DOWNLOAD}).raise_for_status()
            yield url, keys[0][1]
            client.delete("/v1/deployments/reranker-large-GGUF")
            hub.released.set()


def prepare(visit: Visit, page: str) -> None:
    """Bring a page into the state that is worth a picture."""
    if page == "playground":
        visit.rank()
    shown = {"playground": ".ranked", "catalog": ".model", "deployments": ".bar-fill"}
    shown |= {"keys": "tbody tr", "usage": ".chart svg text"}
    expect(visit.page.locator(shown[page]).first).to_be_visible()
    if page == "playground":  # what fits is shown from the top, what doesn't from the ranking
        visit.page.evaluate(
            "matchMedia('(max-width: 56rem)').matches"
            " ? document.querySelector('.answer').scrollIntoView()"
            " : (scrollTo(0, 0), document.querySelector('.ask').scrollTo(0, 0))"
        )
        visit.page.mouse.move(0, 0)


def shoot(browser: Browser, url: str, key: str, folder: Path) -> None:
    """Take every page in every look."""
    for look, (size, scheme) in LOOKS.items():
        with visiting(browser, url, size=size, scheme=scheme) as visit:
            visit.page.goto(url)
            visit.sign_in(key)
            for page in PAGES:
                visit.open(page)
                prepare(visit, page)
                take(visit, folder / f"{page}-{look}.png")
            visit.page.goto(f"{url}/docs")
            expect(visit.page.locator("#operations .operation").first).to_be_visible(timeout=60_000)
            take(visit, folder / f"docs-{look}.png")


def take(visit: Visit, path: Path) -> None:
    """Save what is seen, and say how large that is."""
    visit.page.screenshot(path=path)
    print(path.name, path.stat().st_size)


def main(folder: Path) -> None:
    """Take the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with stage(Path(made)) as (url, key):
            shoot(browser, url, key, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
