"""Every setting, stated once: name, type, bounds, help, marks and default.

To add one, add a field. Its flag, variable, key in the settings file and row in docs/settings.md
follow from it; see `Mark` for what else a field may say.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from rerankd.settings.field_types import Natural, Positive
from rerankd.settings.marks import Help, Mark
from rerankd.settings.model_settings import ModelSettings


class Settings(ModelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, in the order in which help and docs list them."""

    state_dir: Annotated[
        str,
        Help("folder for deployments, API keys and other state; default: XDG_STATE_HOME/rerankd"),
    ] = ""
    memory_budget: Annotated[
        Natural, Help("memory for all loaded models together, in bytes; 0: no limit")
    ] = 0
    idle_timeout: Annotated[
        float,
        Meta(ge=0),
        Help("seconds without a request after which a model is unloaded; 0: never"),
    ] = 0.0
    load_wait: Annotated[
        float,
        Meta(ge=0, le=3600),
        Help("seconds that a request waits for its model to load before it gets 503"),
    ] = 0.0
    load_timeout: Annotated[
        float, Meta(gt=0, le=86_400), Help("seconds that the load check of a new file may take")
    ] = 600.0
    max_body_bytes: Annotated[Positive, Help("largest request body, in bytes")] = 32 * 1024 * 1024
    max_documents: Annotated[Positive, Help("most documents in one request")] = 10_000
    max_request_tokens: Annotated[Positive, Help("most tokens in one request")] = 1_000_000
    max_queue_tokens: Annotated[
        Positive, Help("most tokens waiting or running in total; requests beyond it get 429")
    ] = 2_000_000
    max_requests: Annotated[
        Positive, Help("most requests waiting or running; requests beyond it get 429")
    ] = 512
    request_timeout: Annotated[
        float,
        Meta(ge=0, le=86_400),
        Help("seconds that a request may take before it gets 504; 0: no limit"),
    ] = 0.0
    on_timeout: Annotated[
        Literal["error", "partial"],
        Help(
            "what a deadline ends in: error (504), or partial (the documents scored so far); API "
            "keys and requests may say otherwise"
        ),
    ] = "error"
    cache_bytes: Annotated[Natural, Help("memory for the score cache, in bytes; 0: no cache")] = (
        16 * 1024 * 1024
    )
    cache_persist: Annotated[
        bool, Help("keep the score cache in the state folder, across restarts")
    ] = False
    cache_shared: Annotated[
        bool,
        Help(
            "let API keys find each other's scores in the score cache; `meta.cached` and the time "
            "then show one key what another asked"
        ),
    ] = False
    vector_cache_bytes: Annotated[
        Natural,
        Help("memory for document vectors of each model that compares them, in bytes; 0: no cache"),
    ] = 16 * 1024 * 1024
    picture_cache_bytes: Annotated[
        Natural, Help("memory for each model's encoded pictures, in bytes; 0: no cache")
    ] = 256 * 1024 * 1024
    max_inflight_bytes: Annotated[
        Positive,
        Help(
            "memory for all request bodies together in bytes; each counts three times, as it is "
            "held as sent, as texts and in the answer; beyond it requests get 503"
        ),
    ] = 256 * 1024 * 1024
    max_connections: Annotated[
        Positive, Help("most concurrent connections; beyond it only /health is answered")
    ] = 1000
    max_connections_per_address: Annotated[
        Natural, Help("most concurrent connections from one address; 0: no separate limit")
    ] = 0
    header_timeout: Annotated[
        float, Meta(gt=0, le=3600), Help("seconds within which a request's header must arrive")
    ] = 10.0
    keep_alive_timeout: Annotated[
        float,
        Meta(gt=0, le=86_400),
        Help(
            "seconds that a connection stays open for the next request; set it above a proxy's own"
        ),
    ] = 75.0
    write_timeout: Annotated[
        float,
        Meta(gt=0, le=86_400),
        Help("seconds within which a client must start to read its answer; slow readers get more"),
    ] = 60.0
    read_timeout: Annotated[
        float, Meta(gt=0, le=86_400), Help("seconds within which a request body must arrive")
    ] = 30.0
    drain_timeout: Annotated[
        float,
        Meta(ge=0, le=86_400),
        Help("seconds that running requests have to finish after SIGTERM"),
    ] = 30.0
    api_keys: Annotated[
        tuple[str, ...],
        Help("keys that allow everything, in addition to those of `rerankd keys`"),
        Mark.SECRET,
    ] = ()
    no_auth: Annotated[bool, Help("allow a non-loopback address without any API key")] = False
    allowed_hosts: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9._-]{1,253})$")], ...],
        Help(
            "names in the Host header that a server without keys answers, besides its own; *: any"
        ),
    ] = ()
    key_requests_per_minute: Annotated[
        Natural, Help("requests per minute for each API key without its own limit; 0: no limit")
    ] = 0
    key_tokens_per_minute: Annotated[
        Natural, Help("tokens per minute for each API key without its own limit; 0: no limit")
    ] = 0
    key_concurrent_requests: Annotated[
        Natural, Help("concurrent requests for each API key without its own limit; 0: no limit")
    ] = 0
    cors_origins: Annotated[
        tuple[str, ...],
        Help("sites whose pages may use the API, e.g. https://example.org; *: any site"),
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Help("log level: debug, info, warning or error"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "human", "json"],
        Help("format of the server's log: human, json, or auto (human only in a terminal)"),
    ] = "auto"
    metrics_public: Annotated[
        bool, Help("serve /metrics without an API key, even if the server has keys")
    ] = False
    otlp_endpoint: Annotated[
        str, Help("collector for traces, e.g. http://host:4318; needs the extra `otel`")
    ] = ""
    max_pictures: Annotated[Positive, Help("most pictures in one request")] = 64
    max_picture_bytes: Annotated[Positive, Help("largest file of a picture, in bytes")] = (
        20 * 1024 * 1024
    )
    max_picture_pixels: Annotated[
        Positive, Help("most pixels of a picture, before it is scaled: width times height")
    ] = 50_000_000
    picture_timeout: Annotated[
        float,
        Meta(gt=0, le=3600),
        Help("seconds of processor time to decode a picture, and seconds to fetch one"),
    ] = 10.0
    max_pixel_bytes: Annotated[
        Positive,
        Help(
            "memory for the scaled pixels of all requests' pictures together in bytes, three for a"
            " pixel; beyond it requests wait, then get 503"
        ),
    ] = 512 * 1024 * 1024
    picture_hosts: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=300)], ...],
        Help(
            "hosts whose https: pictures are fetched, e.g. example.org or *.example.org; "
            "example.org=10.0.0.5 for one that is not public; *: any public one; default: none"
        ),
    ] = ()
    ray_address: Annotated[
        str, Help("Ray cluster: its head's host:port, or auto for the one this machine belongs to")
    ] = "auto"
    min_replicas: Annotated[Positive, Help("on Ray: fewest replicas")] = 1
    max_replicas: Annotated[Positive, Help("on Ray: most replicas")] = 1
    replica_tokens: Annotated[
        Positive,
        Help("on Ray: tokens waiting or running per replica above which replicas are added"),
    ] = 20_000
    replica_gpus: Annotated[
        float,
        Meta(ge=0),
        Help("on Ray: GPUs per replica, or a fraction of one"),
        Mark.CHANGES_SCORES,
    ] = 0.0
