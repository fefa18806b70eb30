"""Every error rerankd raises on purpose.

RerankdError
├── RequestError                 the caller can mend it
│   ├── MalformedJson            the body is not JSON
│   ├── InvalidRequest           wrong type, value out of range, missing field
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
│   ├── TextOnly                 an image or other part that this model can't read
│   ├── RateLimited              the API key's own limit, not the server's
│   └── RequestTimeout           the body did not arrive in time
├── Unavailable                  the same request may succeed later
│   ├── QueueFull
│   ├── ModelLoading
│   ├── ModelFailed              it could not be loaded; its deployment says why
│   ├── OutOfMemory              the models in use leave no room within `memory_budget`
│   ├── DeadlineExceeded         not done, or not to be done, within the time allowed
│   └── ShuttingDown
├── EngineFailure                llama.cpp failed on this request
├── ModelFileError               the model can't be served from this file
│   └── LoadCheckFailed          it crashed, hung or scored nonsense in a child process
├── DownloadError                the Hub didn't hand over the file
├── ServerRefused                a server that a command asked said no, or nothing
├── StateError                   what should survive a restart can't be read or written
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
    code = "bad_request"


class MalformedJson(RequestError):
    code = "malformed_json"


class InvalidRequest(RequestError):
    code = "invalid_request"


class MissingDocuments(RequestError):
    code = "missing_documents"


class BodyTooLarge(RequestError):
    code = "body_too_large"


class UnsupportedMedia(RequestError):
    code = "unsupported_media"


class TooManyDocuments(RequestError):
    code = "too_many_documents"


class TooManyTokens(RequestError):
    code = "too_many_tokens"


class PairTooLong(RequestError):
    code = "pair_too_long"


class Unauthorized(RequestError):
    code = "invalid_api_key"


class Forbidden(RequestError):
    code = "forbidden"


class Conflict(RequestError):
    code = "conflict"


class NotFound(RequestError):
    code = "not_found"


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"


class ModelNotFound(RequestError):
    code = "model_not_found"


class TextOnly(RequestError):
    code = "text_only"


class RateLimited(RequestError):
    code = "rate_limited"


class RequestTimeout(RequestError):
    code = "request_timeout"


class Unavailable(RerankdError):
    code = "unavailable"


class QueueFull(Unavailable):
    code = "queue_full"


class ModelLoading(Unavailable):
    code = "model_loading"


class ModelFailed(Unavailable):
    code = "model_failed"


class OutOfMemory(Unavailable):
    code = "out_of_memory"


class DeadlineExceeded(Unavailable):
    code = "deadline_exceeded"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class EngineFailure(RerankdError):
    code = "engine_failure"


class ModelFileError(RerankdError):
    code = "model_file"


class LoadCheckFailed(ModelFileError):
    code = "load_check_failed"


class ServerRefused(RerankdError):
    code = "server_refused"


class StateError(RerankdError):
    code = "state"


class DownloadError(RerankdError):
    code = "download_failed"


class SettingsError(RerankdError):
    code = "settings"
