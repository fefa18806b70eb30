"""Read the settings from every source, check each value, and say where it came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from rerankd.errors import SettingsError
from rerankd.settings.listing import MODEL_SETTINGS, Setting, settings_by_name, table
from rerankd.settings.marks import Mark
from rerankd.settings.schema import Settings
from rerankd.utf8 import is_utf16, without_bom, without_surrogates

CONFIG_VARIABLE = "RERANKD_CONFIG"
PATHS = frozenset({"model", "catalog_dir", "state_dir"})
"""Settings that may name files, whose names may have any bytes."""


class Effective(Struct, frozen=True):
    """The settings in force and where each came from: default, a file, a variable or a flag."""

    settings: Settings
    sources: dict[str, str] = field(default_factory=dict)


def load_settings(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Effective:
    """Merge all sources into the settings in force.

    `flags` are by setting name, None meaning not given. Raises SettingsError that names the
    setting and its source.
    """
    environment = os.environ if environment is None else environment
    config = config or _configured_path(environment)
    values: dict[str, Any] = {}
    sources = {setting.name: "default" for setting in table()}
    for name, value, source in (
        *_from_file(config),
        *_from_environment(environment),
        *_from_flags(flags or {}),
    ):
        values[name] = _checked(name, value, source)
        sources[name] = source
    if "model" in values and "match_language" not in values:  # the model was chosen by a person
        values["match_language"], sources["match_language"] = False, sources["model"]
    return Effective(Settings(**values), sources)


def override(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return settings with a deployment's own values for some of MODEL_SETTINGS.

    Raises SettingsError for any other name and for values out of range.
    """
    checked: dict[str, Any] = {}
    known = settings_by_name()
    for name, value in options.items():
        if name not in MODEL_SETTINGS:
            raise SettingsError(f"{name!r} is not a setting that a deployment can have", param=name)
        checked[name] = _checked(name, _split_list(known[name], value), "the deployment")
    return msgspec.structs.replace(settings, **checked)


def _configured_path(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _from_file(path: Path | None) -> list[tuple[str, Any, str]]:
    if path is None:
        return []
    try:
        content = path.read_bytes()
        if is_utf16(content):
            raise SettingsError(f"{path} is encoded in UTF-16; save it as UTF-8")
        loaded = tomllib.loads(without_bom(content).decode())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return [(name, value, str(path)) for name, value in loaded.items()]


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    return [
        (setting.name, _split_list(setting, environment[setting.variable]), setting.variable)
        for setting in table()
        if environment.get(setting.variable) and not _is_service_link(environment, setting)
    ]


def _is_service_link(environment: Mapping[str, str], setting: Setting) -> bool:
    """Return whether Kubernetes set RERANKD_PORT=tcp://… itself, for a service named rerankd."""
    return setting.name == "port" and environment[setting.variable].startswith("tcp://")


def _from_flags(flags: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    known = settings_by_name()
    return [
        (name, _split_list(known[name], value), known[name].flag)
        for name, value in flags.items()
        if value is not None
    ]


def _split_list(setting: Setting, value: Any) -> Any:
    if setting.many and isinstance(value, str) and not _is_quoted(value):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _checked(name: str, value: Any, source: str) -> Any:
    setting = settings_by_name().get(name)
    if source.startswith("RERANKD_") and isinstance(value, str) and _is_quoted(value):
        raise SettingsError(
            f"{source} has quotes or a carriage return around its value; files for "
            "`docker --env-file` are read as they are, so remove them",
            param=name,
        )
    if setting is None:
        raise SettingsError(f"unknown setting {name!r} in {source}", param=name)
    if name not in PATHS and _has_odd_bytes(value):
        raise SettingsError(f"{name} from {source} is not UTF-8", param=name)
    try:
        return msgspec.convert(_numbers_as_words(setting, value), setting.annotation, strict=False)
    except msgspec.ValidationError as error:
        shown = "" if Mark.SECRET in setting.marks else f" = {value!r}"
        raise SettingsError(f"{name}{shown} from {source}: {error}", param=name) from error


def _has_odd_bytes(value: Any) -> bool:
    """Return whether words from a command line or the environment aren't UTF-8."""
    words = value if isinstance(value, list) else [value]
    return any(isinstance(word, str) and without_surrogates(word) != word for word in words)


def _is_quoted(value: str) -> bool:
    """Return whether a value still has what a shell would have removed."""
    pair = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return pair or value.endswith("\r")


def _numbers_as_words(setting: Setting, value: Any) -> Any:
    """Let a number stand where the setting also takes words, as in TOML's gpu_layers = 12."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number and Mark.WORD_OR_NUMBER in setting.marks else value
