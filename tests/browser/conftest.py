"""The browser and the server that the console's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.browser import CHROMIUM, FLAGS, Visit, visiting
from support.serving import server_of


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a browser, or skip where none is installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a server of the embedded model without keys."""
    settings = Settings(state_dir=str(tmp_path / "state"), max_documents=20)
    with server_of(build(settings, keep=True, observer=Telemetry())) as found:
        yield found


@pytest.fixture
def visit(browser: Browser, url: str) -> Iterator[Visit]:
    """Yield a visit of the server, which must neither complain nor stray from it."""
    with visiting(browser, url) as found:
        yield found
        assert found.complaints == []
        assert found.strayed == []
