"""Every error rerankd raises on purpose.

RerankdError
├── RequestError                 the caller can mend it
│   ├── MalformedJson            the body is not JSON
│   ├── InvalidRequest           wrong type, value out of range, missing field
│   ├── NotFound                 no such path
│   ├── MethodNotAllowed         the path takes another method
│   ├── MissingDocuments         no documents to rank
│   ├── BodyTooLarge             more bytes than `max_body_bytes`
│   ├── TooManyDocuments         more than `max_documents`
│   ├── TooManyTokens            more than `max_request_tokens`
│   ├── PairTooLong              a pair over the model's context, with truncation off
│   ├── Unauthorized             missing or wrong API key
│   ├── ModelNotFound            no such model
│   └── RequestTimeout           the body did not arrive in time
├── Unavailable                  the same request may succeed later
│   ├── QueueFull
│   ├── ModelLoading
│   └── ShuttingDown
├── EngineFailure                llama.cpp failed on this request
├── ModelFileError               the model can't be served from this file
├── DownloadError                the Hub didn't hand over the file
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


class TooManyDocuments(RequestError):
    code = "too_many_documents"


class TooManyTokens(RequestError):
    code = "too_many_tokens"


class PairTooLong(RequestError):
    code = "pair_too_long"


class Unauthorized(RequestError):
    code = "invalid_api_key"


class NotFound(RequestError):
    code = "not_found"


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"


class ModelNotFound(RequestError):
    code = "model_not_found"


class RequestTimeout(RequestError):
    code = "request_timeout"


class Unavailable(RerankdError):
    code = "unavailable"


class QueueFull(Unavailable):
    code = "queue_full"


class ModelLoading(Unavailable):
    code = "model_loading"


class ShuttingDown(Unavailable):
    code = "shutting_down"


class EngineFailure(RerankdError):
    code = "engine_failure"


class ModelFileError(RerankdError):
    code = "model_file"


class DownloadError(RerankdError):
    code = "download_failed"


class SettingsError(RerankdError):
    code = "settings"
