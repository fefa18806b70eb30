"""The settings as rows, read from the struct: for the command line, the docs and lists."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from rerankd.settings.marks import Mark, flag_of, help_of, marks_of
from rerankd.settings.schema import Settings

VARIABLE_PREFIX = "RERANKD_"


class Setting(Struct, frozen=True):
    """One setting: its name, its type with all that the annotation says, and its default."""

    name: str
    annotation: Any
    default: Any

    @property
    def kind(self) -> type:
        return type(self.default)

    @property
    def choices(self) -> tuple[str, ...]:
        plain = self.annotation.__origin__
        return get_args(plain) if get_origin(plain) is Literal else ()

    @property
    def many(self) -> bool:
        return self.kind is tuple

    @property
    def help(self) -> str:
        return help_of(self.annotation)

    @property
    def marks(self) -> Mark:
        return marks_of(self.annotation)

    @property
    def variable(self) -> str:
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return flag_of(self.annotation) or "--" + self.name.replace("_", "-")


@cache
def table() -> tuple[Setting, ...]:
    """Return every setting in the order of the struct."""
    return tuple(
        Setting(one.name, one.type, one.default) for one in msgspec.structs.fields(Settings)
    )


@cache
def settings_by_name() -> dict[str, Setting]:
    """Return every setting by its name."""
    return {setting.name: setting for setting in table()}


def names_marked(marks: Mark) -> frozenset[str]:
    """Return the names of the settings that have at least one of these marks."""
    return frozenset(setting.name for setting in table() if setting.marks & marks)


SECRET = names_marked(Mark.SECRET)
MODEL_SETTINGS = names_marked(Mark.PER_MODEL)
SCORE_SETTINGS = names_marked(Mark.CHANGES_SCORES)
