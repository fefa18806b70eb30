"""What a service loads when it starts, and what it offers to load later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from rerankd.deployments import Deployments
from rerankd.errors import ModelFailed
from rerankd.service.model_choice import ModelChooser, default_id
from rerankd.settings import Settings
from rerankd.store import Spec

OnBytes = Callable[[int, int], None]


async def start_models(
    deployments: Deployments,
    settings: Settings,
    chooser: ModelChooser,
    on_download: OnBytes | None = None,
) -> None:
    """Deploy the default model and what was deployed before, and wait for the default one.

    `on_download` gets the bytes of its file that have arrived, and all there are. Raises
    ModelFailed with the reason when the model can't be served.
    """
    # What says something of this one file: other models don't get it from the server's settings.
    own = {"as_family": settings.as_family, "mmproj": settings.mmproj}
    options: dict[str, str | int | bool] = {name: value for name, value in own.items() if value}
    spec = Spec(id=default_id(settings), source=settings.model, pinned=True, options=options)
    default = await deployments.deploy(spec, default=True)
    await deployments.restore()
    chooser.offer()
    following = asyncio.create_task(_follow_download(deployments, spec.id, on_download))
    try:
        if default.task:
            await default.task
    finally:
        following.cancel()
        await asyncio.wait({following})
    if default.state == "failed":
        raise ModelFailed(default.message)


async def _follow_download(
    deployments: Deployments, default: str, on_download: OnBytes | None
) -> None:
    """Report a deployment's download for as long as this runs."""
    if on_download is None:
        return
    async with aclosing(deployments.events()) as events:
        async for status in events:
            if status.id == default and status.progress:
                on_download(status.progress.done, status.progress.total)
