"""What a setting's annotation says besides its type and bounds: its help and its marks."""

from __future__ import annotations

from enum import Flag, auto
from typing import Any

from msgspec import Struct


class Mark(Flag):
    """What else is true of a setting. Every list of settings collects those with a mark."""

    SECRET = auto()
    """Masked when shown, and never a flag, since flags show in `ps`."""
    PER_MODEL = auto()
    """A deployment may have its own value."""
    CHOOSES_MODEL = auto()
    """Says which model is used, so commands that need no server take it, too."""
    CHANGES_SCORES = auto()
    """Scores depend on it: it is part of a model's identity and of a bulk run's manifest."""
    WORD_OR_NUMBER = auto()
    """A string that may also be a number in TOML."""


class Help(Struct, frozen=True):
    """What a setting does, in one line: for `--help` and docs/settings.md."""

    text: str


class OptionName(Struct, frozen=True):
    """A setting's option on the command line, where it isn't the setting's name."""

    text: str


def flag_of(annotation: Any) -> str | None:
    """Return the option in an annotation, None if it has none of its own."""
    return next((one.text for one in annotation.__metadata__ if isinstance(one, OptionName)), None)


def help_of(annotation: Any) -> str:
    """Return the help in an annotation. Raises LookupError if it has none."""
    texts = [one.text for one in annotation.__metadata__ if isinstance(one, Help)]
    return texts[0]


def marks_of(annotation: Any) -> Mark:
    """Return the marks in an annotation."""
    return next((one for one in annotation.__metadata__ if isinstance(one, Mark)), Mark(0))
