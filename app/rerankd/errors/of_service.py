"""Errors of the server, its models and its files."""

from __future__ import annotations

from rerankd.errors.base import RerankdError


class Unavailable(RerankdError):
    """A request that may succeed later."""

    code = "unavailable"


class QueueFull(Unavailable):
    """`max_queue_tokens` or `max_requests` is reached; `Retry-After` says when to retry."""

    code = "queue_full"


class ModelLoading(Unavailable):
    """The model is still loading; see `Retry-After`."""

    code = "model_loading"


class ModelFailed(Unavailable):
    """The model failed to load; its deployment has the reason."""

    code = "model_failed"


class OutOfMemory(Unavailable):
    """Free memory, or models in use within `memory_budget`, leave no room."""

    code = "out_of_memory"


class Overloaded(Unavailable):
    """The server exceeds `max_connections` or `max_inflight_bytes`; see `Retry-After`."""

    code = "overloaded"


class DeadlineExceeded(Unavailable):
    """The request did not finish within `timeout_ms` or `request_timeout`."""

    code = "deadline_exceeded"


class ShuttingDown(Unavailable):
    """The server is stopping."""

    code = "shutting_down"


class EngineFailure(RerankdError):
    """Llama.cpp failed on this request; others are not affected."""

    code = "engine_failure"


class ModelFileError(RerankdError):
    """The file cannot be served."""

    code = "model_file"


class LoadCheckFailed(ModelFileError):
    """The file crashed, hung or scored nonsense in the load check."""

    code = "load_check_failed"


class UnprovenModel(LoadCheckFailed):
    """The file doesn't put clearly relevant texts first, and `accept_unproven` is off."""

    code = "unproven_model"


class ServerRefused(RerankdError):
    """The server that a command called refused, or did not respond."""

    code = "server_refused"


class ClosedReranker(RerankdError):
    """A Python program's Reranker was closed, or made before the process forked."""

    code = "closed"


class StateError(RerankdError):
    """The state folder cannot be read or written."""

    code = "state"


class StateUnavailable(StateError):
    """The state file is locked or unreadable for now; see `Retry-After`."""

    code = "state_unavailable"


class DownloadError(RerankdError):
    """The file could not be downloaded from the Hub."""

    code = "download_failed"


class SettingsError(RerankdError):
    """A deployment's option is invalid."""

    code = "settings"
