"""Look at every page in Firefox: `PYTHONPATH=app:tests python tests/browser/firefox.py FOLDER`.

The tests drive Chromium. This one drives Debian's firefox-esr by Marionette, which is built into
it, so that no driver of its own is needed. It ranks, compares the order with the panda first,
checks that no page overhangs or lacks its heading, and leaves a picture of each in FOLDER.
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
from pathlib import Path
from typing import Any

from rerankd.service import build
from rerankd.settings import Settings
from rerankd.telemetry.observers import Telemetry

from support.browser import PAGES
from support.serving import server_of

FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
PATIENCE = 60.0
SIZES = ((1280, 900), (390, 844))
SHOWN = {
    "playground": ".ranked",
    "catalog": ".model",
    "deployments": ".deployment .facts",
    "keys": ".empty",
    "usage": ".chart svg text",
}
"""What each page is for: a picture is taken once it is there."""
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
def firefox(profile: Path) -> Iterator[Marionette]:
    """Yield a session of a Firefox with a profile of its own."""
    lines = [
        f"user_pref({json.dumps(name)}, {json.dumps(it)});" for name, it in PREFERENCES.items()
    ]
    (profile / "user.js").write_text("\n".join(lines))
    command = [str(FIREFOX), "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
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


def look(session: Marionette, url: str, folder: Path) -> list[str]:
    """Open every page in every size; return what is wrong."""
    faults: list[str] = []
    for width, height in SIZES:
        session.ask("WebDriver:SetWindowRect", width=width, height=height)
        for name, title in PAGES.items():
            session.ask("WebDriver:Navigate", url="about:blank")
            session.ask("WebDriver:Navigate", url=f"{url}/#{name}")
            session.until(f"return document.querySelector('h1')?.textContent === {title!r}")
            if name == "playground":
                session.run("document.querySelector('[data-part=run]').click()")
                best = session.until("return document.querySelector('.ranked .words')?.textContent")
                faults += [] if "giant panda" in best else [f"{best!r} is ranked first"]
            session.until(f"return document.querySelector({SHOWN[name]!r}) !== null")
            faults += overhanging(session, f"{name} at {width}")
            session.picture(folder / f"firefox-{name}-{width}.png")
        session.ask("WebDriver:Navigate", url=f"{url}/docs")
        session.until("return document.querySelector('#operations .operation') !== null")
        faults += overhanging(session, f"docs at {width}")
        session.picture(folder / f"firefox-docs-{width}.png")
    return faults


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
    with tempfile.TemporaryDirectory() as state, tempfile.TemporaryDirectory() as profile:
        service = build(Settings(state_dir=state), observer=Telemetry())
        with server_of(service) as url, firefox(Path(profile)) as session:
            faults = look(session, url, folder)
    print("\n".join(faults) or f"nothing wrong; pictures are in {folder}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
