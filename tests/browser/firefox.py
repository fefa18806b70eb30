"""Look at every page in Firefox: `PYTHONPATH=app:tests python tests/browser/firefox.py FOLDER`.

The tests drive Chromium. This one drives Debian's firefox-esr by Marionette, which is built into
it, so that no driver of its own is needed. It ranks, compares the order with the panda first,
checks that no page overhangs or lacks its heading, and leaves a picture of each in FOLDER: in
both themes, in wide and narrow windows, and at 200 % zoom.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.browser import PAGES
from support.serving import server_of

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
PATIENCE = 60.0
WIDTHS = {1: (1280, 390, 320), 2: (1280, 640)}
"""Widths of a page in pixels of the screen, for each zoom."""
NARROWEST = 500
"""The narrowest window that Firefox has; a narrower page is a part of one."""
SCHEMES = {"light": 1, "dark": 0}
"""What the system prefers, and what the preference of that has for it."""
TEXTS = (
    "الباندا العملاقة دب يعيش في جبال الصين.",
    "הפנדה הענקית היא דוב של סין.",
    "大熊猫是一种生活在中国的熊。",
    "ジャイアントパンダは中国の熊です。🐼",
    "The giant panda is a bear of China. 👩‍👩‍👧‍👦 🇨🇳",
    "unbroken" * 40,
)
"""Documents from right to left, without spaces, and of more than one code point a character."""
SHOWN = {
    "playground": ".ranked",
    "catalog": ".model",
    "deployments": ".deployment .facts",
    "keys": ".empty",
    "usage": ".chart svg text",
}
"""What each page is for: a picture is taken once it is there."""
SYSTEM_ACCESS = "--remote-allow-system-access"
"""Lets the page be made narrower than a window."""
PREFERENCES = {
    "marionette.port": 0,  # Firefox chooses one and writes it into its profile
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "services.settings.server": "data:,",
}


class Marionette:
    """A session of a Firefox that was started with --marionette."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._file = self._socket.makefile("rb")
        self._serial = 0
        self._receive()
        self.ask("WebDriver:NewSession", capabilities={})

    def ask(self, command: str, **parameters: Any) -> Any:
        """Send a command; return its result. Raises RuntimeError with what Firefox says."""
        self._serial += 1
        message = json.dumps([0, self._serial, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(message), message))
        _, _, error, result = self._receive()
        if error:
            raise RuntimeError(f"{command}: {error['message']}")
        return result

    def _receive(self) -> Any:
        length = b""
        while (digit := self._file.read(1)) != b":":
            length += digit
        return json.loads(self._file.read(int(length)))

    def run(self, script: str) -> Any:
        """Return what a script returns."""
        return self.ask("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def until(self, script: str) -> Any:
        """Return what a script returns once that is true."""
        end = time.monotonic() + PATIENCE
        while not (found := self.run(script)):
            if time.monotonic() > end:
                raise TimeoutError(script)
            time.sleep(0.05)
        return found

    def picture(self, path: Path) -> None:
        """Save what is seen."""
        found = self.ask("WebDriver:TakeScreenshot", full=False)["value"]
        path.write_bytes(base64.b64decode(found))


@contextmanager
def firefox(profile: Path, scheme: str, zoom: int) -> Iterator[Marionette]:
    """Yield a session of a Firefox with a profile of its own."""
    looks = {
        "layout.css.prefers-color-scheme.content-override": SCHEMES[scheme],
        "layout.css.devPixelsPerPx": f"{zoom}.0",
    }
    wanted = {**PREFERENCES, **looks}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(it)});" for name, it in wanted.items()]
    (profile / "user.js").write_text("\n".join(lines))
    command = [str(FIREFOX), "--headless", "--marionette", SYSTEM_ACCESS, "--profile", str(profile)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as process:  # type: ignore[call-overload]
        try:
            port = profile / "MarionetteActivePort"
            end = time.monotonic() + PATIENCE
            while not port.is_file() or not port.read_text().strip():
                if process.poll() is not None or time.monotonic() > end:
                    raise TimeoutError("Firefox did not start")
                time.sleep(0.1)
            yield Marionette(int(port.read_text()))
        finally:
            process.terminate()


def look(session: Marionette, url: str, folder: Path, scheme: str, zoom: int) -> list[str]:
    """Open every page in every size; return what is wrong."""
    faults: list[str] = []
    for width in WIDTHS[zoom]:
        wide = width // zoom
        narrow(session, wide)
        name = f"{wide}-zoom{zoom}-{scheme}"
        for page, title in PAGES.items():
            session.ask("WebDriver:Navigate", url="about:blank")
            session.ask("WebDriver:Navigate", url=f"{url}/#{page}")
            session.until(f"return document.querySelector('h1')?.textContent === {title!r}")
            if page == "playground":
                best = rank(session)
                faults += [] if "panda" in best else [f"{best!r} is ranked first"]
                faults += [f"{page}-{name}: {one!r} is on the left" for one in turned(session)]
            session.until(f"return document.querySelector({SHOWN[page]!r}) !== null")
            faults += overhanging(session, f"{page}-{name}")
            session.picture(folder / f"firefox-{page}-{name}.png")
        session.ask("WebDriver:Navigate", url=f"{url}/docs")
        session.until("return document.querySelector('#operations .operation') !== null")
        faults += overhanging(session, f"docs-{name}")
        session.picture(folder / f"firefox-docs-{name}.png")
    return faults


def narrow(session: Marionette, wide: int) -> None:
    """Make the page as wide as is wanted, in CSS pixels."""
    session.ask("WebDriver:SetWindowRect", width=max(wide, NARROWEST), height=740)
    session.ask("Marionette:SetContext", value="chrome")
    session.run(f"gBrowser.selectedBrowser.style.maxWidth = '{wide}px'")
    session.ask("Marionette:SetContext", value="content")
    session.until(f"return innerWidth === {wide}")


def rank(session: Marionette) -> str:
    """Rank texts of many scripts; return the best one, which is in view."""
    session.run(
        f"""
        const documents = document.querySelector('[data-part=documents]');
        documents.value = {json.dumps(chr(10).join(TEXTS))};
        documents.dispatchEvent(new Event('input', {{ bubbles: true }}));
        document.querySelector('[data-part=run]').click();
        """
    )
    best = session.until("return document.querySelector('.ranked .words')?.textContent")
    session.run("document.querySelector('.answers').scrollIntoView()")
    return str(best)


def turned(session: Marionette) -> list[str]:
    """Return ranked texts that are read from the right but stand on the left."""
    found: list[str] = session.run(
        """
        const isTurned = (words) => {
          const range = document.createRange();
          range.selectNodeContents(words);
          const [inside, around] = [range, words].map((one) => one.getBoundingClientRect().right);
          return getComputedStyle(words).direction === "rtl" && inside < around - 1;
        };
        return [...document.querySelectorAll(".ranked .words")].filter(isTurned)
          .map((one) => one.textContent);
        """
    )
    return found


def overhanging(session: Marionette, where: str) -> list[str]:
    """Return that a page is wider than the window, if it is."""
    root = "document.documentElement"
    over = session.run(f"return {root}.scrollWidth - {root}.clientWidth")
    return [f"{where}: {over} pixels too wide"] if over > 0 else []


def main(folder: Path) -> int:
    """Look, and say what was found."""
    if FIREFOX is None:
        print("no Firefox here: apt-get install firefox-esr, or set FIREFOX", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as state:
        service = build(Settings(state_dir=state), observer=Telemetry())
        with server_of(service) as url:
            for scheme, zoom in product(SCHEMES, WIDTHS):
                with (
                    tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
                    firefox(Path(profile), scheme, zoom) as session,
                ):
                    faults += look(session, url, folder, scheme, zoom)
    print("\n".join(faults) or f"nothing wrong; pictures are in {folder}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
