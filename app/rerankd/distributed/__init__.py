"""Beyond one machine, on Ray: replicas behind one address, and pairs ranked in bulk.

Ray is the extra `ray`. Only the modules that say so in their first line import it, and nothing
imports those before `require` said that it is there.
"""

from __future__ import annotations

import importlib.util

from rerankd.errors import SettingsError


def require() -> None:
    """Raise SettingsError that names the extra where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise SettingsError("this needs the extra `ray`: pip install 'rerankd[ray]'")
