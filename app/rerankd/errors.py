"""Every error rerankd raises on purpose.

RerankdError
├── RequestError                 the caller can mend it
│   ├── MalformedJson            the body is not JSON
│   ├── InvalidRequest           wrong type, value out of range, missing field
│   ├── UnsupportedOption        an option that this API has no form of answer for
│   ├── NotFound                 no such path
│   ├── MethodNotAllowed         the path takes another method
│   ├── MissingDocuments         no documents to rank
│   ├── BodyTooLarge             more bytes than `max_body_bytes`
│   ├── UnsupportedMedia         a body compressed in a way that is not read
│   ├── TooManyDocuments         more than `max_documents`
│   ├── TooManyTokens            more than `max_request_tokens`
│   ├── PairTooLong              a pair over the model's context, with truncation off
│   ├── Unauthorized             missing or wrong API key
│   ├── Forbidden                a known caller, but not for this
│   ├── Conflict                 the deployment exists, or is not in a state for this
│   ├── ModelNotFound            no such model
│   ├── CannotEmbed              the model gives no vectors, or none of this kind
│   ├── TextOnly                 an image or other part that this model can't read
│   ├── RateLimited              the API key's own limit, not the server's
│   └── RequestTimeout           the body did not arrive in time
├── Unavailable                  the same request may succeed later
│   ├── QueueFull
│   ├── ModelLoading
│   ├── ModelFailed              it could not be loaded; its deployment says why
│   ├── OutOfMemory              the models in use leave no room within `memory_budget`
│   ├── Overloaded               too many connections, or bytes of other requests
│   ├── DeadlineExceeded         not done, or not to be done, within the time allowed
│   └── ShuttingDown
├── EngineFailure                llama.cpp failed on this request
├── ModelFileError               the model can't be served from this file
│   └── LoadCheckFailed          it crashed, hung or scored nonsense in a child process
│       └── UnprovenModel        it doesn't put relevant texts first
├── DownloadError                the Hub didn't hand over the file
├── ServerRefused                a server that a command asked said no, or nothing
├── ClosedReranker               closed, or made before the process forked
├── StateError                   what should survive a restart can't be read or written
│   └── StateUnavailable         it is locked, or its API keys can't be looked up for now
└── SettingsError                a setting is wrong

Codes are stable: clients may match on them. Messages are for people and may change.
"""


class RerankdError(Exception):
    """An error with a stable `code`, the `param` it concerns, and seconds until a retry helps."""

    code: str = "internal_error"

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class RequestError(RerankdError):
    """A request that the caller can correct."""

    code = "bad_request"


class MalformedJson(RequestError):
    """The body is not JSON in UTF-8."""

    code = "malformed_json"


class InvalidRequest(RequestError):
    """A field is missing, has the wrong type or is out of range."""

    code = "invalid_request"


class UnsupportedOption(RequestError):
    """The request's dialect cannot express what an option asks for."""

    code = "unsupported_option"


class MissingDocuments(RequestError):
    """`documents` is missing or empty."""

    code = "missing_documents"


class BodyTooLarge(RequestError):
    """The body exceeds `max_body_bytes`."""

    code = "body_too_large"


class UnsupportedMedia(RequestError):
    """The body's compression is not supported; `Accept-Encoding` lists what is."""

    code = "unsupported_media"


class TooManyDocuments(RequestError):
    """There are more than `max_documents` documents."""

    code = "too_many_documents"


class TooManyTokens(RequestError):
    """The request exceeds `max_request_tokens`, or the capacity of the queue."""

    code = "too_many_tokens"


class PairTooLong(RequestError):
    """A document is too long, with `overflow: "error"` or `truncate` off."""

    code = "pair_too_long"


class Unauthorized(RequestError):
    """The key is missing or wrong."""

    code = "invalid_api_key"


class Forbidden(RequestError):
    """The server can be managed only from its own machine, or with an API key."""

    code = "forbidden"


class Conflict(RequestError):
    """The deployment's id is taken, or its state does not allow this."""

    code = "conflict"


class NotFound(RequestError):
    """The path does not exist."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path does not support the method."""

    code = "method_not_allowed"


class ModelNotFound(RequestError):
    """The model is not served here."""

    code = "model_not_found"


class CannotEmbed(RequestError):
    """The model gives no vectors, or none such as were asked for."""

    code = "cannot_embed"


class TextOnly(RequestError):
    """A query or document has a part that is not text, such as an image."""

    code = "text_only"


class RateLimited(RequestError):
    """The API key's own limit is reached; `Retry-After` says when to retry."""

    code = "rate_limited"


class RequestTimeout(RequestError):
    """The body did not arrive within `read_timeout`."""

    code = "request_timeout"


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
