"""One frozen struct of settings, from defaults < file < environment < flags.

The struct is the only list of settings there is: the command line's options, `rerankd config`
and the table in docs/settings.md are made from it. Nothing else reads the environment.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from rerankd.errors import SettingsError

PREFIX = "RERANKD_"
CONFIG_VARIABLE = "RERANKD_CONFIG"
TRACES_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own; its library reads the rest of them."""

Auto = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting with its default. A docstring-like text stands in `HELP`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8100
    model: str = "rerank-mini-en"
    model_id: str = ""
    any_model: bool = False
    context: Auto = 0
    workers: Auto = 0
    threads: Auto = 0
    cores: Auto = 0
    step_tokens: Auto = 0
    gpu_layers: Annotated[str, Meta(pattern=r"^(auto|all|[0-9]{1,6})$")] = "auto"
    main_gpu: Auto = 0
    split_mode: Literal["none", "layer", "row"] = "layer"
    tensor_split: tuple[Annotated[float, Meta(ge=0)], ...] = ()
    flash_attn: Literal["auto", "on", "off"] = "on"
    weights: Literal["auto", "file", "f32", "f16", "bf16"] = "auto"
    kv_type: Literal["f32", "f16", "bf16", "q8_0"] = "f16"
    mmap: bool = False
    mlock: bool = False
    accept_degraded: bool = False
    accept_license: bool = False
    catalog_dir: str = ""
    state_dir: str = ""
    memory_budget: Auto = 0
    idle_timeout: Annotated[float, Meta(ge=0)] = 0.0
    load_wait: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    load_timeout: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    max_body_bytes: Count = 32 * 1024 * 1024
    max_documents: Count = 10_000
    max_request_tokens: Count = 1_000_000
    max_queue_tokens: Count = 2_000_000
    max_requests: Count = 512
    request_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    cache_bytes: Auto = 16 * 1024 * 1024
    cache_persist: bool = False
    vector_cache_bytes: Auto = 16 * 1024 * 1024
    read_timeout: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    drain_timeout: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    api_keys: tuple[str, ...] = ()
    no_auth: bool = False
    key_requests_per_minute: Auto = 0
    key_tokens_per_minute: Auto = 0
    key_concurrent_requests: Auto = 0
    cors_origins: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "human", "json"] = "auto"
    metrics_public: bool = False
    otlp_endpoint: str = ""
    ray_address: str = "auto"
    min_replicas: Count = 1
    max_replicas: Count = 1
    replica_tokens: Count = 20_000
    replica_gpus: Annotated[float, Meta(ge=0)] = 0.0

    def __repr__(self) -> str:
        """Show every setting, the secret ones masked."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        masked = (
            f"{name}={'***' if name in SECRET and value else repr(value)}"
            for name, value in values.items()
        )
        return f"Settings({', '.join(masked)})"


HELP: dict[str, str] = {
    "host": "address to listen on; anything but loopback needs API keys or no_auth",
    "port": "port to listen on; 0 takes a free one",
    "model": "model to serve: a catalog id, a path to a GGUF file, or hf:owner/repo:file.gguf",
    "model_id": "name clients use for the model; default: the catalog id or the file's name",
    "any_model": "serve the default model to requests that name a model that isn't here",
    "context": "most tokens of a query and document together; 0: what the model allows",
    "workers": "engine threads, each with its own llama context; 0: chosen from the cores",
    "threads": "cores each worker computes on; 0: chosen from the cores",
    "cores": "cores that workers share; 0: all this process may use; on Ray: of each replica, "
    "0: all of the smallest node",
    "step_tokens": "tokens packed into one decode; 0: chosen for the device",
    "gpu_layers": "layers on the GPU: auto, all, or a number",
    "main_gpu": "GPU that holds the model when split_mode is none",
    "split_mode": "how several GPUs share the model: none, layer or row",
    "tensor_split": "share of the model on each GPU, e.g. 3,1",
    "flash_attn": "flash attention: auto, on or off",
    "weights": "type that weights are re-encoded to: file (as they are), f32 (exact), f16 or bf16 "
    "(rounded); auto: what `rerankd tune` found, else file",
    "kv_type": "type of the KV cache: f32, f16, bf16 or q8_0",
    "mmap": "map the model file instead of reading it: processes share it, but it stays in memory "
    "beside weights that llama.cpp repacks",
    "mlock": "keep the model's pages from being swapped out",
    "accept_degraded": "serve a file whose scores are known to be only approximate",
    "accept_license": "serve models whose licence forbids commercial use",
    "catalog_dir": "folder of your own manifests, which add to the catalog or override it",
    "state_dir": "folder that keeps deployments over a restart; default: XDG_STATE_HOME/rerankd",
    "memory_budget": "bytes that all loaded models may take together; 0: no limit",
    "idle_timeout": "seconds without a request after which a model is unloaded; 0: never",
    "load_wait": "seconds a request waits for its model to load before it gets 503",
    "load_timeout": "seconds that the load check of a new file may take",
    "max_body_bytes": "largest request body, in bytes",
    "max_documents": "most documents in one request",
    "max_request_tokens": "most tokens in one request",
    "max_queue_tokens": "most tokens waiting or running in all; beyond it requests get 429",
    "max_requests": "most requests waiting or running; beyond it requests get 429",
    "request_timeout": "seconds a request may take in all before it gets 504; 0: no limit",
    "cache_bytes": "bytes of memory for scores that are known already; 0: none are kept",
    "cache_persist": "keep known scores in the state folder, so that a restart stays warm",
    "vector_cache_bytes": "bytes of memory for documents' vectors, for each model that compares "
    "vectors; 0: none are kept",
    "read_timeout": "seconds for a request body to arrive",
    "drain_timeout": "seconds that running requests get to finish after SIGTERM",
    "api_keys": "keys that may do everything, beside those of `rerankd keys`",
    "no_auth": "allow a non-loopback address without any API key",
    "key_requests_per_minute": "requests a minute of each API key that has no limit of its own; "
    "0: no limit",
    "key_tokens_per_minute": "tokens a minute of each API key, likewise",
    "key_concurrent_requests": "requests at once of each API key, likewise",
    "cors_origins": "sites whose pages may use the API, e.g. https://example.org; * is any",
    "log_level": "debug, info, warning or error",
    "log_format": "lines of a server's log: human, json, or auto: human on a terminal only",
    "metrics_public": "give /metrics without an API key, where keys are asked for",
    "otlp_endpoint": "where traces go, e.g. http://host:4318; the extra `otel` has to be installed",
    "ray_address": "Ray cluster: its head's host:port, or auto: the one this machine belongs to",
    "min_replicas": "on Ray: replicas that there are at least",
    "max_replicas": "on Ray: replicas that there are at most",
    "replica_tokens": "on Ray: tokens that wait or run for each replica; more add replicas",
    "replica_gpus": "on Ray: GPUs of each replica, or a share of one",
}

MODEL_SETTINGS = frozenset(
    {
        *("context", "workers", "threads", "cores", "step_tokens", "gpu_layers", "main_gpu"),
        *("split_mode", "tensor_split", "flash_attn", "kv_type", "mmap", "mlock"),
        *("accept_degraded", "weights"),
    }
)
"""Settings that a deployment may have of its own."""

SECRET = frozenset({"api_keys"})
"""Settings that are masked when shown and that no flag carries, since flags show in `ps`."""


class Setting(Struct, frozen=True):
    """One setting's name, type, default and help, for the command line and the docs."""

    name: str
    kind: type
    choices: tuple[str, ...]
    many: bool
    default: Any
    help: str

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


class Effective(Struct, frozen=True):
    """The settings in force and where each came from: default, a file, a variable or a flag."""

    settings: Settings
    sources: dict[str, str] = field(default_factory=dict)


def table() -> tuple[Setting, ...]:
    """Return every setting in the order of the struct."""
    hints = get_type_hints(Settings)
    defaults = Settings()
    return tuple(_setting(name, hints[name], getattr(defaults, name)) for name in hints)


def _setting(name: str, hint: Any, default: Any) -> Setting:
    choices = tuple(get_args(hint)) if get_origin(hint) is Literal else ()
    return Setting(name, type(default), choices, isinstance(default, tuple), default, HELP[name])


def load(
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
    return Effective(Settings(**values), sources)


def override(settings: Settings, options: Mapping[str, Any]) -> Settings:
    """Return settings with a deployment's own values for some of MODEL_SETTINGS.

    Raises SettingsError for any other name and for values out of range.
    """
    checked: dict[str, Any] = {}
    known = {setting.name: setting for setting in table()}
    for name, value in options.items():
        if name not in MODEL_SETTINGS:
            raise SettingsError(f"{name!r} is not a setting of a deployment", param=name)
        checked[name] = _checked(name, _parted(known[name], value), "the deployment")
    return msgspec.structs.replace(settings, **checked)


def state_folder(settings: Settings, environment: Mapping[str, str] | None = None) -> Path:
    """Return the folder for what survives a restart."""
    environment = os.environ if environment is None else environment
    if settings.state_dir:
        return Path(settings.state_dir).expanduser()
    home = environment.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return Path(home).expanduser() / "rerankd"
    except RuntimeError:  # a user without a home, as in a bare container
        return Path("/var/lib/rerankd")


def wants_traces(settings: Settings, environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether a collector of traces is named, by our setting or OpenTelemetry's."""
    environment = os.environ if environment is None else environment
    return bool(settings.otlp_endpoint or any(map(environment.get, TRACES_VARIABLES)))


def allows_colours(environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether what is written to a terminal may have colours (https://no-color.org)."""
    environment = os.environ if environment is None else environment
    return not environment.get("NO_COLOR")


def _configured_path(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(CONFIG_VARIABLE)
    return Path(named) if named else None


def _from_file(path: Path | None) -> list[tuple[str, Any, str]]:
    if path is None:
        return []
    try:
        with path.open("rb") as file:
            loaded = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"can't read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    return [(name, value, str(path)) for name, value in loaded.items()]


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, Any, str]]:
    return [
        (setting.name, _parted(setting, environment[setting.variable]), setting.variable)
        for setting in table()
        if environment.get(setting.variable) and not _is_service_link(environment, setting)
    ]


def _is_service_link(environment: Mapping[str, str], setting: Setting) -> bool:
    """Tell Kubernetes' own RERANKD_PORT=tcp://…, set for a service named rerankd, from ours."""
    return setting.name == "port" and environment[setting.variable].startswith("tcp://")


def _from_flags(flags: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    known = {setting.name: setting for setting in table()}
    return [
        (name, _parted(known[name], value), known[name].flag)
        for name, value in flags.items()
        if value is not None
    ]


def _parted(setting: Setting, value: Any) -> Any:
    if setting.many and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _plain(name: str, value: Any) -> Any:
    """Let TOML write a number where the setting also takes words, as gpu_layers = 12."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number and name == "gpu_layers" else value


def _checked(name: str, value: Any, source: str) -> Any:
    hint = get_type_hints(Settings, include_extras=True).get(name)
    if hint is None:
        raise SettingsError(f"unknown setting {name!r} in {source}", param=name)
    try:
        return msgspec.convert(_plain(name, value), hint, strict=False)
    except msgspec.ValidationError as error:
        shown = "" if name in SECRET else f" = {value!r}"
        raise SettingsError(f"{name}{shown} from {source}: {error}", param=name) from error
