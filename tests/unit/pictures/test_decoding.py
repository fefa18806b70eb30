"""Pictures from files: what comes out of good ones, and what each kind of bad one is told."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from PIL import Image

from rerankd.domain import Picture
from rerankd.errors import BadPicture
from rerankd.pictures import decode_once
from rerankd.pictures.child import decoded, rgb_of
from rerankd.pictures.formats import format_of, media_type_of
from rerankd.pictures.frames import DecodeJob
from rerankd.pictures.scaling import ScaleRule

from support.pictures import file_of, plain, png_claiming, webp_claiming

RULE = ScaleRule(32, 4 * 32 * 32, 1280 * 32 * 32)
MOST = 4_000_000


@pytest.fixture(autouse=True)
def _as_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    warnings.simplefilter("ignore")


def job(data: bytes, rule: ScaleRule = RULE) -> DecodeJob:
    return DecodeJob(len(data), format_of(data), rule, MOST, 10.0)


def pixels(data: bytes, rule: ScaleRule = RULE) -> np.ndarray:
    """Return a file's pixels as the child gives them."""
    answer, raw = decoded(job(data, rule), data)
    assert not answer.reason, answer.reason
    return np.frombuffer(raw, np.uint8).reshape(answer.height, answer.width, 3)


def refusal(data: bytes) -> str:
    """Return what is said of a file that is refused."""
    try:
        answer, raw = decoded(job(data), data)
    except BadPicture as error:
        return error.message
    assert raw == b"" or not answer.reason
    return answer.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_the_four_formats_are_read(kind: str) -> None:
    """Each format gives its pixels, whatever it is called."""
    found = pixels(plain(kind=kind))

    assert found.shape == (64, 64, 3)
    assert np.abs(found.astype(int) - (10, 200, 30)).max() <= 6


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (64, 64)),
        ((1, 1), (64, 64)),
        ((640, 480), (640, 480)),
        ((650, 500), (640, 512)),
        ((48, 80), (64, 64)),  # halves are rounded to even
        ((4000, 3000), (1312, 960)),
        ((10, 1500), (32, 1504)),
        ((30, 6000), (32, 6016)),
        ((8000, 45), (8000, 32)),
        ((3000, 15), (3008, 32)),
    ],
)
def test_sizes_are_those_of_the_models_own_script(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """Sides become multiples of a token's side, the area is kept within its bounds."""
    assert RULE.size_of(*size) == expected


def test_a_picture_scaled_down_stays_within_its_area_and_keeps_its_shape() -> None:
    """Every size ends within the bounds, both sides multiples of the factor."""
    for width in range(40, 9000, 487):
        for height in range(max(40, width // 30), min(9000, 30 * width), 391):
            scaled = RULE.size_of(width, height)
            assert scaled[0] % 32 == scaled[1] % 32 == 0
            assert 4 * 1024 <= scaled[0] * scaled[1] <= 1280 * 1024


@pytest.mark.parametrize(("most", "size"), [(64, (2048, 32)), (100, (3200, 32)), (200, (6400, 32))])
def test_a_low_limit_holds_for_very_narrow_pictures(most: int, size: tuple[int, int]) -> None:
    """A side never vanishes, so the other one gives way."""
    rule = ScaleRule(32, 4 * 1024, most * 1024)

    assert rule.size_of(20_000, 100) == size
    assert rule.size_of(100, 20_000) == size[::-1]


@pytest.mark.parametrize("most", [64, 65, 199, 256, 1800])
def test_no_picture_has_more_than_the_limit(most: int) -> None:
    """Whatever its size and shape."""
    rule = ScaleRule(32, 4 * 1024, most * 1024)
    for short in (1, 15, 32, 33, 700, 9000):
        for ratio in (1, 1.3, 9, 77, 150, 200):
            width, height = rule.size_of(short, int(short * ratio))
            assert 4 <= width * height / 1024 <= most
            assert width % 32 == height % 32 == 0


def test_a_lower_limit_makes_another_picture_of_the_same_file() -> None:
    """By its pixels' digest, which encodings and scores are kept under."""
    data = file_of(Image.new("RGB", (640, 480), "red"))

    usual, low = (decode_once(Picture(data), ScaleRule(32, 4096, n * 1024)) for n in (1800, 64))

    assert (usual.width, usual.height) == (640, 480)
    assert low.width * low.height <= 64 * 1024
    assert usual.digest != low.digest


def test_pixels_are_scaled_as_pillow_scales_bicubically() -> None:
    """Scaling is Pillow's bicubic one of the whole picture, as in the model's own script."""
    noise = np.random.default_rng(3).integers(0, 255, (70, 90, 3), np.uint8)
    picture = Image.fromarray(noise)

    expected = np.asarray(picture.resize((96, 64), Image.Resampling.BICUBIC))

    assert np.array_equal(pixels(file_of(picture)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_data_says(orientation: int) -> None:
    """All eight orientations end upright: the red corner is at the top left."""
    upright = Image.new("RGB", (64, 96), "white")
    upright.paste((255, 0, 0), (0, 0, 32, 32))
    stored = upright.transpose(BACK[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation

    found = pixels(file_of(stored, exif=exif))

    assert np.array_equal(found, np.asarray(upright))


BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores what stands upright."""


def test_damaged_exif_data_turns_nothing() -> None:
    """What can't be read of EXIF data leaves the picture as it is."""
    data = file_of(Image.new("RGB", (64, 96)), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")

    assert pixels(data).shape == (96, 64, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode: str) -> None:
    """Transparent pixels become white, half transparent ones lighter."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 32, 64))

    found = pixels(file_of(picture.convert(mode)))

    assert found[:, 40:].min() == 255
    assert found[:, :24].max() == 0


def test_sixteen_bits_of_grey_become_eight() -> None:
    """A grey picture of 16 bits keeps its shades."""
    grey = np.full((64, 64), 0x8000, np.uint16)

    assert abs(int(pixels(file_of(Image.fromarray(grey)))[5, 5, 0]) - 0x80) <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    """An animation is its first frame, and the others are not even read."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "lime", "blue")]
    data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)

    assert pixels(data)[9, 9].tolist() == [255, 0, 0]


def test_what_follows_a_picture_in_its_file_is_ignored() -> None:
    """A file that is a picture and an archive at once is a picture."""
    assert pixels(plain() + b"PK\x03\x04" + bytes(99)).shape == (64, 64, 3)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
REFUSED = {
    "zero bytes": (b"", "is empty"),
    "text": (b"panda", "is not a picture of a known format"),
    "svg": (SVG, "is SVG, which is not read; PNG, JPEG, WebP and GIF are"),
    "svg behind xml": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- x -->' + SVG, "is SVG"),
    "tiff": (b"II*\x00" + bytes(99), "is TIFF"),
    "pdf": (b"%PDF-1.7\n", "is PDF"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF", "is PostScript"),
    "psd": (b"8BPS\x00\x01" + bytes(99), "is PSD"),
    "bmp": (file_of(Image.new("RGB", (9, 9)), "BMP"), "is BMP"),
    "avif": (bytes(3) + b"\x1cftypavif" + bytes(99), "is AVIF or HEIC"),
    "video": (bytes(3) + b"\x1cftypmp42" + bytes(99), "is a video"),
    "archive": (b"PK\x03\x04" + bytes(99), "is a ZIP archive"),
    "web page": (b"<!DOCTYPE html><html>", "is a web page"),
    "100 MP png": (png_claiming(10_000, 10_000), "is 10000 x 10000 pixels; the limit is 4000000"),
    "huge claim": (png_claiming(2**31 - 1, 2**31 - 1), "2147483647 x 2147483647 pixels"),
    "no width": (png_claiming(0, 9), "decoded as PNG"),
    "100 MP webp": (webp_claiming(16_000, 16_000), "is 16000 x 16000 pixels"),
    "empty webp": (webp_claiming(9, 9), "decoded as WEBP"),
    "webp head": (b"RIFF\x04\x00\x00\x00WEBP", "decoded as WEBP"),
    "truncated png": (plain(300, 300)[:200], "decoded as PNG"),
    "truncated jpeg": (plain(300, 300, kind="JPEG")[:900], "decoded as JPEG: image file is trunc"),
    "truncated gif": (plain(300, 300, kind="GIF")[:300], "decoded as GIF"),
    "truncated webp": (plain(300, 300, kind="WEBP")[:60], "decoded as WEBP"),
    "short png": (png_claiming(300, 300, bytes(99)), "decoded as PNG: image file is truncated"),
    "png head": (b"\x89PNG\r\n\x1a\n", "decoded as PNG"),
    "gif and script": (b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//", "decoded as GIF|pixels"),
    "jpeg head": (b"\xff\xd8\xff\xe0", "decoded as JPEG"),
    "too narrow": (plain(2010, 10), "is 2010 x 10 pixels; one side may be at most 200 times"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_each_bad_file_is_told_what_is_wrong(data: tuple[bytes, str]) -> None:
    """Every kind of file that is no readable picture has words of its own, on one line."""
    content, expected = data

    said = refusal(content)

    assert re.search(expected, said), said
    assert "0x" not in said
    assert "\n" not in said


def test_no_prefix_of_a_file_and_no_flipped_byte_gets_through_unnoticed_or_raises() -> None:
    """Damage anywhere ends in pixels or in a reason, never in an error of another kind."""
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        whole = plain(40, 40, kind=kind)
        for end in range(16, len(whole), 23):
            assert refusal(whole[:end]) or end > len(whole) - 24
        for place in range(0, len(whole), 29):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            refusal(bytes(damaged))


def test_media_types_come_from_the_content() -> None:
    """The type of a file is what it is, not what somebody says."""
    assert media_type_of(plain(kind="WEBP")) == "image/webp"
    assert media_type_of(b"") == "application/octet-stream"
    assert rgb_of(plain(), job(plain())).mode == "RGB"
