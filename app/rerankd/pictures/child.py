"""The child process that decodes pictures, one after the other, until its input ends.

Decoders are C code that reads whatever strangers send. Here a crash, a hang or a bomb costs one
child and one request: memory and time are limited, and files can't be written.
"""

from __future__ import annotations

import math
import resource
import sys
import time
import warnings
from contextlib import suppress
from io import BytesIO

from PIL import (
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from rerankd.errors import BadPicture, PictureTooLarge
from rerankd.pictures.formats import webp_size
from rerankd.pictures.frames import Decoded, DecodeJob, read_frame, write_frame
from rerankd.threads import step_back

REGISTERED = (GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Pillow's readers that are loaded, and no others: MPO is what some cameras make of JPEG."""
BYTES_PER_PIXEL = 16
"""Pillow holds 4 bytes of each pixel; a picture is held twice while it is turned, at most, and
twice again by libwebp."""
CHILD_SPARE_BYTES = 192 * 1024 * 1024
"""Beside a picture of the largest size: its file, and what is scaled."""
WIDE_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Modes of grey pictures with 16 bits, which Pillow would clip to 8 instead of scaling."""


def run_decoder() -> None:
    """Decode what comes on standard input until it ends."""
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # sizes are checked here, with a limit of ours
    step_back()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    limited = False
    while job := read_frame(source, DecodeJob):
        if not limited:
            limit_itself(job.most_pixels)
            limited = True
        data = source.read(job.size)
        limit_time(job.seconds)
        answer, pixels = decoded(job, data)
        write_frame(sink, answer)
        sink.write(pixels)
        sink.flush()
        del data, pixels


def limit_itself(most_pixels: int) -> None:
    """Take away what decoding never needs: more memory, files to write, a core dump."""
    pages = int(open("/proc/self/statm", "rb").read().split()[0])  # noqa: PTH123, SIM115
    most = pages * resource.getpagesize() + BYTES_PER_PIXEL * most_pixels + CHILD_SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limit_time(seconds: float) -> None:
    """End this process once it has computed for so many seconds more, to the next whole one."""
    most = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))


def decoded(job: DecodeJob, data: bytes) -> tuple[Decoded, bytes]:
    """Return what became of a file."""
    try:
        picture = rgb_of(data, job)
    except BadPicture as error:
        return Decoded(reason=error.message), b""
    except PictureTooLarge as error:
        return Decoded(reason=error.message, too_large=True), b""
    except MemoryError:
        return Decoded(reason="takes too much memory to decode", too_large=True), b""
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise many kinds
        return Decoded(reason=f"can't be decoded as {job.format}: {_reason(error)}"), b""
    return Decoded(*picture.size), picture.tobytes()


def rgb_of(data: bytes, job: DecodeJob) -> Image.Image:
    """Return a picture upright, on white where it is transparent, and scaled."""
    if job.format == "WEBP":
        _require_size(webp_size(data) or (1, 1), job.most_pixels)
    with Image.open(BytesIO(data), formats=(job.format,)) as opened:
        _require_size(opened.size, job.most_pixels)
        opened.load()
        picture = upright(opened)
        size = job.rule.size_of(*picture.size)
        return on_white(picture).resize(size, Image.Resampling.BICUBIC)


def upright(picture: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF data says; data that can't be read turns nothing."""
    with suppress(Exception):
        return ImageOps.exif_transpose(picture)
    return picture


def on_white(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB, with white behind what is transparent."""
    if picture.mode in WIDE_MODES:
        picture = picture.convert("I").point(lambda value: value / 256).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    with_alpha = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return white


def _require_size(size: tuple[int, int], most: int) -> None:
    width, height = size
    if width * height > most:
        raise PictureTooLarge(
            f"is {width} x {height} pixels; the limit is {most} in all (max_picture_pixels)"
        )


def _reason(error: Exception) -> str:
    """Return what a reader says, in one short line without the address of an object."""
    text = str(error).partition("<_io.")[0].strip()
    return text[:200].replace("\n", " ").rstrip(": ") or type(error).__name__
