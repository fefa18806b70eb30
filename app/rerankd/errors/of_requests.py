"""Errors that the caller can correct."""

from __future__ import annotations

from rerankd.errors.base import RerankdError


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
    """A query or document has a picture that the model can't read, or audio or video."""

    code = "text_only"


class BadPicture(RequestError):
    """A picture is damaged, or is no picture that can be read."""

    code = "bad_picture"


class PictureTooLarge(RequestError):
    """A picture has too many bytes or pixels, or takes too long to decode."""

    code = "picture_too_large"


class TooManyPictures(RequestError):
    """There are more than `max_pictures` pictures in a request."""

    code = "too_many_pictures"


class PictureNotFetched(RequestError):
    """A picture's address is not one of `picture_hosts`, or gave no picture."""

    code = "picture_not_fetched"


class RateLimited(RequestError):
    """The API key's own limit is reached; `Retry-After` says when to retry."""

    code = "rate_limited"


class RequestTimeout(RequestError):
    """The body did not arrive within `read_timeout`."""

    code = "request_timeout"
