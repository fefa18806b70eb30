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
│   ├── BadPicture               no picture that can be read: damaged, or another kind of file
│   ├── PictureTooLarge          more bytes, pixels or seconds than a picture may take
│   ├── TooManyPictures          more than `max_pictures`
│   ├── PictureNotFetched        an address that may not be fetched, or has no picture
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

from rerankd.errors.base import (
    RerankdError,
)
from rerankd.errors.of_requests import (
    BadPicture,
    BodyTooLarge,
    CannotEmbed,
    Conflict,
    Forbidden,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    MissingDocuments,
    ModelNotFound,
    NotFound,
    PairTooLong,
    PictureNotFetched,
    PictureTooLarge,
    RateLimited,
    RequestError,
    RequestTimeout,
    TextOnly,
    TooManyDocuments,
    TooManyPictures,
    TooManyTokens,
    Unauthorized,
    UnsupportedMedia,
    UnsupportedOption,
)
from rerankd.errors.of_service import (
    ClosedReranker,
    DeadlineExceeded,
    DownloadError,
    EngineFailure,
    LoadCheckFailed,
    ModelFailed,
    ModelFileError,
    ModelLoading,
    OutOfMemory,
    Overloaded,
    QueueFull,
    ServerRefused,
    SettingsError,
    ShuttingDown,
    StateError,
    StateUnavailable,
    Unavailable,
    UnprovenModel,
)

__all__ = [
    "BadPicture",
    "BodyTooLarge",
    "CannotEmbed",
    "ClosedReranker",
    "Conflict",
    "DeadlineExceeded",
    "DownloadError",
    "EngineFailure",
    "Forbidden",
    "InvalidRequest",
    "LoadCheckFailed",
    "MalformedJson",
    "MethodNotAllowed",
    "MissingDocuments",
    "ModelFailed",
    "ModelFileError",
    "ModelLoading",
    "ModelNotFound",
    "NotFound",
    "OutOfMemory",
    "Overloaded",
    "PairTooLong",
    "PictureNotFetched",
    "PictureTooLarge",
    "QueueFull",
    "RateLimited",
    "RequestError",
    "RequestTimeout",
    "RerankdError",
    "ServerRefused",
    "SettingsError",
    "ShuttingDown",
    "StateError",
    "StateUnavailable",
    "TextOnly",
    "TooManyDocuments",
    "TooManyPictures",
    "TooManyTokens",
    "Unauthorized",
    "Unavailable",
    "UnprovenModel",
    "UnsupportedMedia",
    "UnsupportedOption",
]
