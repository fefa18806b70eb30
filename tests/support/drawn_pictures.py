"""Pictures that tests draw: each as the bytes of a file, the same in every run."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112
"""EXIF's tag for how a camera was held."""
TURNED_LEFT = 6
"""To be shown upright, the picture is turned by 90 degrees clockwise."""


def scene(width: int, height: int, seed: int = 1) -> NDArray[np.uint8]:
    """Return a gradient with discs and bars on it, shape (height, width, 3)."""
    random = np.random.default_rng(seed)
    down, right = np.mgrid[0:height, 0:width] + 0.5
    across, along = right / width, down / height
    picture = np.stack([across, along, 1 - (across + along) / 2], axis=-1)
    for _ in range(5):
        at_x, at_y, radius = random.uniform(0.1, 0.9, 3) * (width, height, min(width, height) / 3)
        inside = (right - at_x) ** 2 + (down - at_y) ** 2 < radius**2
        picture[inside] = random.uniform(0, 1, 3)
    for _ in range(3):
        left, top = random.uniform(0, 0.8, 2)
        bar = (across > left) & (across < left + 0.15) & (along > top) & (along < top + 0.05)
        picture[bar] = random.uniform(0, 1, 3)
    return (picture * 255).round().astype(np.uint8)


def png(picture: NDArray[np.uint8], **options: Any) -> bytes:
    """Return a PNG file of an array."""
    return _file(Image.fromarray(picture), "PNG", **options)


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def _transparent() -> bytes:
    """Half of it fades out, and what is invisible is black."""
    colours = scene(160, 160, seed=5)
    opacity = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (160, 1))
    colours[opacity < 40] = 0
    return png(np.dstack([colours, opacity]))


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_LEFT
    return _file(Image.fromarray(scene(200, 120, seed=6)), "JPEG", quality=95, exif=exif)


def _few_colours() -> bytes:
    return _file(Image.fromarray(scene(96, 130, seed=7)).quantize(16), "PNG")


DRAWN: dict[str, Callable[[], bytes]] = {
    "small": lambda: png(scene(20, 14, seed=2)),
    "photo": lambda: png(scene(320, 240)),
    "twin": lambda: _file(Image.fromarray(scene(320, 240)), "WEBP", lossless=True),
    "large": lambda: png(scene(1800, 1300, seed=3)),
    "narrow": lambda: png(scene(24, 900, seed=4)),
    "transparent": _transparent,
    "rotated": _rotated,
    "grey": lambda: png(scene(90, 70, seed=8)[:, :, 0]),
    "few colours": _few_colours,
}
"""`twin` has the pixels of `photo` in another file; `large` has more than a model is shown."""


@cache
def drawn(name: str) -> bytes:
    """Return a picture's file."""
    return DRAWN[name]()
