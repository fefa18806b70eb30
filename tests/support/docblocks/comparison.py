"""What a page shows that something prints, beside what it prints."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

ANYTHING = "…"
ROUNDED = 0.6
"""How far a number with a point may be off, in units of its last digit: it is shown rounded."""
KERNELS = 0.004
"""How far it may be off in any case, also by its share: kernels and builds differ."""

NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def text_faults(shown: str, printed: str) -> Iterator[str]:
    """Yield how a text differs from what a page shows of it.

    Blanks don't count, … is anything, and numbers with a point are near.
    """
    numbers = NUMBER.findall(shown)
    parts = re.split(rf"({NUMBER.pattern}|{ANYTHING})", shown)
    pattern = "".join(map(_pattern_of, parts))
    found = re.search(pattern, re.sub(r"\s+", "", printed), re.DOTALL)
    if found is None:
        yield f"it prints something else:\n{printed}"
        return
    for wanted, text in zip(numbers, found.groups(), strict=True):
        if not _is_near(wanted, float(text)):
            yield f"{text} instead of {wanted}"


def _is_near(shown: str, number: float) -> bool:
    """Return whether a number is what a page shows, but for rounding."""
    mantissa, _, exponent = shown.partition("e")
    decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
    return math.isclose(
        float(shown), number, rel_tol=KERNELS, abs_tol=max(ROUNDED * 10.0**-decimals, KERNELS)
    )


def _pattern_of(part: str) -> str:
    if part == ANYTHING:
        return ".*?"
    if NUMBER.fullmatch(part):
        return f"({NUMBER.pattern})"
    return re.escape(re.sub(r"\s+", "", part))


def json_faults(shown: Any, answered: Any, path: str = "") -> Iterator[str]:
    """Yield how an answer differs from what a page shows of it, which may be a part."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        for name, value in shown.items():
            yield from json_faults(value, answered.get(name), f"{path}.{name}")
    elif isinstance(shown, list) and isinstance(answered, list) and len(shown) == len(answered):
        for at, (one, other) in enumerate(zip(shown, answered, strict=True)):
            yield from json_faults(one, other, f"{path}[{at}]")
    elif not _is_like(shown, answered):
        yield f"{path} is {json.dumps(answered)} instead of {json.dumps(shown)}"


def _is_like(shown: Any, answered: Any) -> bool:
    if isinstance(shown, float) and isinstance(answered, (int, float)):
        return _is_near(repr(shown), answered)
    if isinstance(shown, str) and isinstance(answered, str) and ANYTHING in shown:
        return not list(text_faults(shown, answered))
    return bool(shown == answered)
