"""Text from outside, made harmless for a terminal, and standard streams that are always there.

Names of keys, models and files, and a server's messages, are others' words: an escape sequence in
them would set colours or the window's title, forge lines, or turn what follows around.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

STAND_IN = "\ufffd"
PICTURES = 0x2400
"""Where Unicode's pictures of the control characters begin: U+241B shows ESC."""
DELETE, PICTURE_OF_DELETE = 0x7F, "\u2421"

_STEERING = (
    "\x00-\x08\x0a-\x1f\x7f-\x9f"  # control characters but the tab, C1's as well
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks that change the direction of text
    "\u2028\u2029\ud800-\udfff"  # line ends, and halves of characters, which no stream takes
)
_ALL = re.compile(f"[{_STEERING}]")
_ALL_BUT_LINE_ENDS = re.compile(f"(?!\n)[{_STEERING}]")


def visible(text: str, *, lines: bool = False) -> str:
    """Return text with a visible character for each that would steer a terminal.

    `lines` keeps line feeds.
    """
    return (_ALL_BUT_LINE_ENDS if lines else _ALL).sub(_picture_of, text)


def escaped_json(text: str) -> str:
    """Return JSON with every such character as an escape, which means the same."""
    return _ALL_BUT_LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _picture_of(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code == DELETE:
        return PICTURE_OF_DELETE
    return chr(PICTURES + code) if code < ord(" ") else STAND_IN


def open_closed_streams() -> None:
    """Give standard streams that were closed at start to the null device.

    Otherwise the next file or connection takes their number, and what C code writes to standard
    error goes there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is the closed one's.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
