"""Pictures in the playground: how they come in, what is shown and kept of them, what is sent."""

from __future__ import annotations

import base64
import json
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from playwright.sync_api import Route, expect

from support.browser import PHONE, Visit, axe_script

pytestmark = pytest.mark.browser

AXE = axe_script()
BASH = shutil.which("bash") or "/bin/sh"
COUNT_KEPT = """() => new Promise((resolve) => {
    const asked = indexedDB.open("rerankd");
    asked.onsuccess = () => {
        const count = asked.result.transaction("pictures").objectStore("pictures").count();
        count.onsuccess = () => resolve(count.result);
    };
})"""


def png(width: int, height: int, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\x00" + bytes(colour) * width) * height
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


RED, WIDE = png(300, 200), png(640, 32, (20, 60, 200))
URI = f"data:image/png;base64,{base64.b64encode(RED).decode()}"


def file_of(name: str, data: bytes, kind: str = "image/png") -> dict[str, Any]:
    """Return a file as Playwright gives it to an input."""
    return {"name": name, "mimeType": kind, "buffer": data}


class Seeing:
    """A server whose model sees, as far as the page can tell; keeps what it was asked."""

    def __init__(self, visit: Visit) -> None:
        self.asked: list[dict[str, Any]] = []
        visit.page.route("**/v1/models", self._models)
        visit.page.route("**/v1/rerank", self._rank)

    def _models(self, route: Route) -> None:
        found = route.fetch().json()
        for model in found["data"]:
            model["input_modalities"] = ["text", "image"]
        route.fulfill(json=found)

    def _rank(self, route: Route) -> None:
        body = route.request.post_data_json
        self.asked.append(body)
        last = len(body["documents"]) - 1
        results = [
            {"index": last - place, "relevance_score": 0.9 - place / 10}
            for place in range(last + 1)
        ]
        timings = {"tokenize_ms": 1, "queue_ms": 1, "engine_ms": 1, "total_ms": 3}
        meta = {"score_scale": "model", "truncated": [], "query_truncated": False, "chunks": 0}
        meta |= {"cached": 0, "warnings": [], "device": "cpu", "timings": timings}
        meta["pictures"] = [{"index": last, "width": 320, "height": 192}]
        usage: dict[str, Any] = {"prompt_tokens": 90, "completion_tokens": 0, "total_tokens": 90}
        usage |= {"prompt_tokens_details": {"image_tokens": 60}}
        answer = {"id": "r", "model": "rerank-mini-en", "results": results}
        route.fulfill(json={**answer, "usage": usage, "meta": meta})


@pytest.fixture
def seeing(visit: Visit) -> Seeing:
    """The page of a server whose model sees."""
    return Seeing(visit)


def drop(visit: Visit, place: str, name: str, data: bytes, event: str = "drop") -> None:
    """Let a file fall on a part of the page, or paste it there."""
    carried = visit.page.evaluate_handle(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: "image/png" }));
            return data;
        }""",
        [name, base64.b64encode(data).decode()],
    )
    kind = {"drop": "dataTransfer", "paste": "clipboardData"}[event]
    visit.part(place).evaluate(
        """(place, [name, kind, data]) => {
            const event = new Event(name, { bubbles: true, cancelable: true });
            place.dispatchEvent(Object.assign(event, { [kind]: data }));
        }""",
        [event, kind, carried],
    )


def test_pictures_are_dropped_pasted_and_chosen(visit: Visit, seeing: Seeing) -> None:
    """Each is shown with its size and the number that results call it by, and sent as it is."""
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill("a lamp")
    drop(visit, "documents", "red.png", RED)
    expect(visit.part("shelf").locator("li")).to_have_count(1)
    drop(visit, "form", "wide.png", WIDE, "paste")
    expect(visit.part("shelf").locator("li")).to_have_count(2)
    drop(visit, "query", "asked.png", RED)
    expect(visit.part("queryShelf").locator("li")).to_have_count(1)
    expect(visit.part("shelf").locator("li").nth(1)).to_contain_text("wide.png")
    expect(visit.part("shelf").locator("li").nth(1)).to_contain_text("document 3, 640 × 32")
    expect(visit.part("documentCount")).to_have_text("3 documents")
    visit.rank()
    assert visit.ranked == ["wide.png", "red.png", "a lamp"]

    (body,) = seeing.asked
    image = {"type": "image_url", "image_url": {"url": URI}}
    assert body["query"] == [image, {"type": "text", "text": "What is a panda?"}]
    assert body["documents"][:2] == ["a lamp", {"image": URI}]
    assert body["return_documents"] is False
    first = visit.page.locator(".ranked").first
    expect(first.locator("img.thumbnail")).to_be_visible()
    expect(first).to_contain_text("picture of 640 × 32, scaled to 320 × 192 pixels")
    expect(visit.page.locator(".figures")).to_contain_text("60 of them for pictures")
    expect(visit.page.locator(".asked")).to_contain_text("asked.png")


def test_pictures_stay_in_this_browser_until_they_are_cleared(visit: Visit, seeing: Seeing) -> None:
    """Form, results and earlier runs have them again after a reload; clearing leaves none."""
    visit.open()
    visit.page.get_by_label("Query").fill("")
    visit.part("queryFile").set_input_files(file_of("asked.png", RED))
    visit.part("file").set_input_files([file_of("red.png", RED), file_of("wide.png", WIDE)])
    expect(visit.part("shelf").locator("li")).to_have_count(2)
    visit.rank()
    assert len(visit.ranked) == 8
    visit.page.reload()

    expect(visit.part("shelf").locator("img")).to_have_count(2)
    expect(visit.page.locator(".ranked img")).to_have_count(2)
    expect(visit.page.locator(".asked img")).to_have_count(1)
    assert len(seeing.asked) == 1
    assert seeing.asked[0]["query"] == {"image": URI}
    visit.page.get_by_role("button", name="Remove red.png").click()
    visit.page.get_by_label("Earlier runs").select_option("0")
    expect(visit.part("shelf").locator("img")).to_have_count(2)
    assert visit.page.evaluate(COUNT_KEPT) == 3
    visit.page.get_by_role("button", name="Clear").click()

    expect(visit.part("shelf")).to_be_hidden()
    assert visit.page.evaluate(COUNT_KEPT) == 0


def test_a_model_that_cannot_see_is_said_before_it_is_asked(visit: Visit) -> None:
    """With what to do; nothing is sent, and without pictures all is well again."""
    visit.open()
    asked: list[str] = []
    visit.page.on("request", lambda request: asked.append(request.url))
    visit.part("file").set_input_files(file_of("red.png", RED))

    expect(visit.part("sight")).to_contain_text("rerank-mini-en can’t see pictures. Deploy a model")
    visit.rank()
    expect(visit.part("documentsFault")).to_contain_text("can’t see pictures")
    expect(visit.page.get_by_label("Documents", exact=True)).to_be_focused()
    assert not any("/v1/rerank" in url for url in asked)
    visit.page.get_by_role("button", name="Remove red.png").click()
    expect(visit.part("sight")).to_be_hidden()
    visit.rank()
    assert len(visit.ranked) == 6


def test_models_that_see_are_named(visit: Visit) -> None:
    """Also for pictures that stand in JSON."""
    second = {"id": "sees", "state": "ready", "input_modalities": ["text", "image"]}

    def two(route: Route) -> None:
        found = route.fetch().json()
        found["data"].append(found["data"][0] | second)
        route.fulfill(json=found)

    visit.page.route("**/v1/models", two)
    visit.open()
    visit.page.get_by_label("Documents", exact=True).fill(json.dumps([{"image": URI}]))

    expect(visit.part("sight")).to_contain_text("Choose sees, or remove them.")
    visit.page.get_by_label("Model").select_option("sees")
    expect(visit.part("sight")).to_be_hidden()


def test_all_of_it_works_by_keyboard(visit: Visit) -> None:
    """The pickers are stops of the tab key; taking a picture away leaves the focus near."""
    visit.open()
    visit.part("file").set_input_files([file_of("red.png", RED), file_of("wide.png", WIDE)])
    expect(visit.part("shelf").locator("li")).to_have_count(2)
    expect(visit.page.locator("#announcer")).to_have_text("red.png, wide.png: 8 documents")
    visit.page.get_by_role("button", name="Remove red.png").press("Enter")
    expect(visit.page.get_by_role("button", name="Remove wide.png")).to_be_focused()
    visit.page.keyboard.press("Enter")

    expect(visit.part("file")).to_be_focused()
    visit.page.get_by_label("Query").press("Shift+Tab")
    expect(visit.part("queryFile")).to_be_focused()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (file_of("a.svg", b"<svg/>", "image/svg+xml"), "a.svg is no picture that can be read"),
        (file_of("a.png", RED[:40]), "a.png is no picture that can be read"),
    ],
)
def test_what_is_no_picture_is_said(visit: Visit, file: dict[str, Any], said: str) -> None:
    """And changes nothing."""
    visit.open()
    visit.part("file").set_input_files(file)
    expect(visit.page.locator(".toast")).to_contain_text(said)
    expect(visit.part("shelf")).to_be_hidden()
    expect(visit.part("documentCount")).to_have_text("6 documents")


def test_a_huge_picture_is_refused_unread(visit: Visit) -> None:
    """A server would refuse it as well."""
    visit.open()
    visit.part("form").evaluate(
        """(form) => {
            const data = new DataTransfer();
            const type = "image/png";
            data.items.add(new File([new Uint8Array((20 << 20) + 1)], "a.png", { type }));
            form.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }"""
    )
    expect(visit.page.locator(".toast")).to_contain_text("a.png is larger than 20 MiB")


def test_a_copied_text_is_pasted_as_text(visit: Visit) -> None:
    """Programs put a picture of a table beside its text on the clipboard."""
    visit.open()
    handled = visit.part("documents").evaluate(
        """(place) => {
            const data = new DataTransfer();
            data.setData("text/plain", "cells");
            data.items.add(new File(["x"], "cells.png", { type: "image/png" }));
            return !place.dispatchEvent(Object.assign(
                new Event("paste", { bubbles: true, cancelable: true }), { clipboardData: data }));
        }"""
    )
    assert not handled


def test_what_is_kept_of_pictures_is_bounded(visit: Visit) -> None:
    """The first ones asked for stay."""
    visit.open()
    found = visit.page.evaluate(
        """async () => {
            const store = await import("/static/console/picture_store.js");
            const bytes = store.MOST_KEPT_BYTES / 2;
            for (const id of ["a", "b", "c", "d"]) await store.put({ id, bytes });
            await store.keepOnly(["c", "a", "b"]);
            return (await store.get(["a", "b", "c", "d"])).map((one) => one.id);
        }"""
    )
    assert found == ["a", "c"]


def test_a_link_holds_no_pictures(visit: Visit) -> None:
    """They don't fit into an address, which is said."""
    visit.open()
    visit.part("file").set_input_files(file_of("red.png", RED))
    expect(visit.part("shelf").locator("li")).to_have_count(1)
    visit.page.get_by_role("button", name="Copy link").click()
    expect(visit.page.locator(".toast")).to_have_text("Link without the pictures copied")


class Listener(BaseHTTPRequestHandler):
    """Keeps the bodies that it is sent."""

    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.bodies.append(json.loads(self.rfile.read(length)))
        answer = b'{"results": [{"index": 0, "relevance_score": 0.5}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[str]:
    """Yield the address of a server that keeps what it is sent."""
    Listener.bodies = []
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
@pytest.mark.parametrize("language", ["curl", "Python"])
def test_copied_code_reads_the_pictures_from_their_files(
    visit: Visit, tmp_path: Path, language: str
) -> None:
    """It sends what the page sends, whatever signs stand in texts and in the file's name."""
    name, text = "it's red.png", "$HOME `id` \\ \"quoted\" 'too'"
    (tmp_path / name).write_bytes(RED)
    visit.open()
    visit.page.get_by_label("Query").fill(text)
    visit.page.get_by_label("Documents", exact=True).fill("")
    visit.part("file").set_input_files(file_of(name, RED))
    expect(visit.part("shelf").locator("li")).to_have_count(1)
    visit.page.get_by_text("Code for this request").click()
    visit.page.get_by_role("tab", name=language).click()
    code = visit.page.locator("#snippet code").inner_text()
    with listening() as address:
        code = code.replace(visit.url, address)
        command = [BASH, "-c", code] if language == "curl" else [sys.executable, "-c", code]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=30)

    (body,) = Listener.bodies
    assert body["query"] == text
    assert body["documents"] == [{"image": URI}]


@pytest.mark.skipif(AXE is None, reason="axe-playwright-python is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_fit_a_phone_and_axe(visit: Visit, seeing: Seeing, scheme: str) -> None:
    """With thumbnails in the form and in the results, nothing overhangs and nothing is grave."""
    assert AXE
    visit.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    visit.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    visit.open()
    long = f"{'long-name-' * 12}.png"
    visit.part("file").set_input_files([file_of(long, RED), file_of("wide.png", WIDE)])
    visit.part("queryFile").set_input_files(file_of("asked.png", RED))
    visit.page.get_by_text("Numbered, as results name them").click()
    visit.rank()
    expect(visit.page.locator(".ranked img")).to_have_count(2)

    assert len(seeing.asked) == 1
    expect(visit.page.locator(".numbered .label").last).to_have_text("wide.png")
    assert visit.overhang == 0
    assert visit.faults(AXE) == []
