"""The settings: one frozen struct, filled from defaults < file < environment < flags.

Each setting is one field of `Settings` in schema.py. The command line's options, `rerankd config`,
the table in docs/settings.md and the lists of settings that belong together are read from there.
No other package reads the environment.
"""

from rerankd.settings.environment import (
    allows_colours,
    configures_allocator,
    state_folder,
    wants_traces,
)
from rerankd.settings.listing import (
    MODEL_SETTINGS,
    SCORE_SETTINGS,
    SECRET,
    Setting,
    names_marked,
    table,
)
from rerankd.settings.loading import CONFIG_VARIABLE, Effective, load_settings, override
from rerankd.settings.machine_bounds import require_fits_cores, require_fits_machine
from rerankd.settings.marks import Mark
from rerankd.settings.schema import Settings

__all__ = [
    "CONFIG_VARIABLE",
    "MODEL_SETTINGS",
    "SCORE_SETTINGS",
    "SECRET",
    "Effective",
    "Mark",
    "Setting",
    "Settings",
    "allows_colours",
    "configures_allocator",
    "load_settings",
    "names_marked",
    "override",
    "require_fits_cores",
    "require_fits_machine",
    "state_folder",
    "table",
    "wants_traces",
]
