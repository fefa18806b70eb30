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
    except* RerankdError as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
