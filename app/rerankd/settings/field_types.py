"""What the settings are made of: bounded integers, and a struct that hides its secrets."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from rerankd.settings.marks import Mark, marks_of

LARGEST = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly."""
Natural = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]


class Masked(Struct, frozen=True):
    """A struct whose fields marked as secret are not shown."""

    def __repr__(self) -> str:
        """Show every field, the secret ones masked."""
        shown = []
        for one in msgspec.structs.fields(self):
            value = getattr(self, one.name)
            hidden = bool(value) and Mark.SECRET in marks_of(one.type)
            shown.append(f"{one.name}={'***' if hidden else repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"
