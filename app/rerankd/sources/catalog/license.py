"""Licences that a person has to accept before a model is fetched or served."""

from __future__ import annotations

from rerankd.errors import SettingsError
from rerankd.sources.catalog.manifest import Manifest


def needs_acceptance(manifest: Manifest) -> bool:
    """Return whether a person must accept the licence: non-commercial, or not known for sure."""
    return manifest.non_commercial or not manifest.license_verified


def require_license(manifest: Manifest, accepted: bool) -> None:
    """Raise SettingsError, one line with the licence's name, unless it is accepted or free."""
    if accepted or not needs_acceptance(manifest):
        return
    reason = (
        f"its licence {manifest.license} forbids commercial use"
        if manifest.non_commercial
        else f"its licence could not be confirmed ({manifest.license})"
    )
    raise SettingsError(
        f"{manifest.id}: {reason}; pass --accept-license if you may use it", param="accept_license"
    )
