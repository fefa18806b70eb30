"""Children that decode: what a crash, a hang and a bomb cost, and that pictures go on after it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from rerankd.domain import Picture
from rerankd.errors import BadPicture, PictureTooLarge, RerankdError
from rerankd.pictures import PictureDecoder, PictureLimits, ScaleRule, decode_once, decoder

from support.fakes import PATIENCE
from support.pictures import plain, png_claiming

pytestmark = pytest.mark.slow

RULE = ScaleRule(32, 4 * 32 * 32, 1280 * 32 * 32)
RED, BLUE = Picture(plain(colour="red")), Picture(plain(colour="blue"))


def child_that(code: str) -> subprocess.Popen[bytes]:
    """Start a child that does something else than decode."""
    whole = f"import os, resource, signal, sys, time; sys.stdin.buffer.read(1); {code}"
    return subprocess.Popen(
        [sys.executable, "-c", whole], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_one_child_decodes_picture_after_picture() -> None:
    """A child is used again, also after a bad file, and equal pictures are equal."""
    asyncio.run(_picture_after_picture())


async def _picture_after_picture() -> None:
    pictures = PictureDecoder(PictureLimits(pixels=10_000), 1)

    red = await pictures.decode(RED, RULE)
    (child,) = pictures._idle.queue
    process = child._process
    with pytest.raises(BadPicture, match="decoded as PNG"):
        await pictures.decode(Picture(RED.data[:60]), RULE)
    with pytest.raises(PictureTooLarge, match=r"max_picture_pixels"):
        await pictures.decode(Picture(png_claiming(200, 200)), RULE)
    again, blue = await pictures.decode(RED, RULE), await pictures.decode(BLUE, RULE)

    assert child._process is process
    assert red == again != blue
    assert (red.width, red.height, red.rgb.dtype) == (64, 64, np.uint8)
    assert red.rgb[3, 3].tolist() == [255, 0, 0]
    pictures.close()
    assert process.returncode == 0


def test_a_child_that_decodes_while_all_is_closed_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that was given up leaves its picture with a child, and nobody waits for that."""
    begun, go_on = threading.Event(), threading.Event()
    started: list[subprocess.Popen[bytes]] = []
    start = decoder.start_child

    def start_late() -> subprocess.Popen[bytes]:
        begun.set()
        assert go_on.wait(PATIENCE)
        started.append(start())
        return started[0]

    monkeypatch.setattr(decoder, "start_child", start_late)

    async def close_meanwhile() -> None:
        pictures = PictureDecoder(PictureLimits(), 1)
        asked = asyncio.create_task(pictures.decode(RED, RULE))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        pictures.close()
        go_on.set()
        await asked

    asyncio.run(close_meanwhile())
    assert started[0].returncode == 0


@pytest.mark.parametrize(
    ("code", "expected", "kind"),
    [
        (
            "os.kill(os.getpid(), signal.SIGSEGV)",
            r"crashes the decoder for PNG \(SIGSEGV",
            BadPicture,
        ),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "takes more than 3 s", PictureTooLarge),
        ("os.kill(os.getpid(), signal.SIGKILL)", "too much time or memory", PictureTooLarge),
        ("sys.exit(3)", "ended with exit code 3", RerankdError),
        ("print('nonsense' * 9)", "ended with exit code", RerankdError),
    ],
)
def test_a_child_that_dies_costs_one_picture(
    code: str, expected: str, kind: type[RerankdError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is refused with what became of the child, and the next has a new child."""
    child = decoder.DecoderProcess(PictureLimits(seconds=3))
    monkeypatch.setattr(decoder, "start_child", lambda: child_that(code))

    with pytest.raises(kind, match=expected) as caught:
        child.decode(RED.data, RULE)

    assert type(caught.value) is kind
    monkeypatch.undo()
    assert child.decode(RED.data, RULE).width == 64
    child.end()


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does nothing, and so takes no processor time, is given up in the end."""
    monkeypatch.setattr(decoder, "start_child", lambda: child_that("time.sleep(600)"))
    monkeypatch.setattr(decoder, "HANG_SECONDS", 0.05)

    with pytest.raises(PictureTooLarge, match="too much time or memory"):
        decode_once(RED, RULE)


def test_a_child_that_computes_for_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is of processor time, and the child sets it itself."""
    busy = "from rerankd.pictures.child import limit_time; limit_time(0.01)\nwhile True: pass"
    monkeypatch.setattr(decoder, "start_child", lambda: child_that(busy))

    with pytest.raises(
        PictureTooLarge, match=r"takes more than 10 s to decode \(picture_timeout\)"
    ):
        decode_once(RED, RULE)


def test_a_child_has_no_memory_for_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a reader takes beyond the limit is refused to it."""
    code = (
        "from rerankd.pictures import child; child.limit_itself(1000)\n"
        "try: bytearray(2**30)\nexcept MemoryError: sys.exit(9)"
    )
    monkeypatch.setattr(decoder, "start_child", lambda: child_that(code))

    with pytest.raises(RerankdError, match="exit code 9"):
        decode_once(RED, RULE)


def test_a_file_with_too_many_bytes_starts_no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Size and format are looked at before anything is decoded."""
    monkeypatch.delattr(decoder, "start_child")

    with pytest.raises(PictureTooLarge, match=r"the limit is 50 \(max_picture_bytes\)"):
        decode_once(RED, RULE, PictureLimits(bytes=50))
    with pytest.raises(BadPicture, match="is SVG"):
        decode_once(Picture(b"<svg/>"), RULE)


def test_idle_children_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that had nothing to do for a while ends; the next picture starts another."""
    monkeypatch.setattr(decoder, "IDLE_SECONDS", 0.0)
    asyncio.run(_idle_children())


async def _idle_children() -> None:
    pictures = PictureDecoder(PictureLimits(), 1)

    await pictures.decode(RED, RULE)
    (child,) = pictures._idle.queue
    await asyncio.to_thread(pictures._tidy)

    assert child._process is None
    assert (await pictures.decode(BLUE, RULE)).rgb[0, 0].tolist() == [0, 0, 255]
    pictures.close()


def test_a_child_imports_only_what_it_needs() -> None:
    """It starts quickly and is small: neither NumPy nor an HTTP client is in it."""
    code = "import sys, rerankd.pictures.child; print({'numpy', 'httpx'} & set(sys.modules))"

    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )

    assert found.stdout == b"set()\n"
