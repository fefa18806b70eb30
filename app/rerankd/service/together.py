"""Work that belongs together: what fails of it ends the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from rerankd.errors import RerankdError

Item = TypeVar("Item")


async def all_of(work: Iterable[Coroutine[Any, Any, Item]]) -> list[Item]:
    """Return what each coroutine returns, in order; the first error of ours ends them all."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failed:
        # Not `except*`: in Python 3.11.2, Debian 12's, what it raises comes out as a group again.
        ours = next((one for one in failed.exceptions if isinstance(one, RerankdError)), None)
        if ours is None:
            raise
        try:
            raise ours from None
        finally:
            del ours  # its traceback holds this frame
    return [task.result() for task in tasks]
