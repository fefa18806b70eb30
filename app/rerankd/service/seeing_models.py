"""Which models read pictures: those that are deployed, and those of the catalog."""

from __future__ import annotations

from rerankd.deployments import Deployments, Status
from rerankd.errors import TextOnly
from rerankd.families.registry import family_named
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.threads import run_apart


class SeeingModels:
    """Knows the models that read pictures."""

    def __init__(self, deployments: Deployments, settings: Settings) -> None:
        self._deployments = deployments
        self._own = catalog.own_folder(settings.catalog_dir)

    @property
    def deployed(self) -> list[str]:
        """The ids of loaded models that read pictures, the default one first."""
        return [one.id for one in self._deployments.statuses if _sees(one)]

    async def text_only(self, model: str, where: str) -> TextOnly:
        """Return the error for a picture that a model can't read, with models that can."""
        others = self.deployed
        if others:
            hint = f"deployed here and reading pictures: {', '.join(others)}"
        else:
            known = await run_apart("seeing-models", self._known)
            hint = f"models of the catalog that read pictures: {', '.join(known) or 'none'}"
        return TextOnly(f"{model} takes text only: {where} has a picture; {hint}", param=where)

    def _known(self) -> list[str]:
        return [
            one.id
            for one in catalog.manifests(self._own)
            if (family := family_named(one.family)) and family.pictures
        ]


def _sees(status: Status) -> bool:
    return status.facts is not None and "image" in status.facts.input_modalities
