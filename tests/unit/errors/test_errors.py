"""The error tree: its codes are promises to clients, its drawing is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rerankd import errors
from rerankd.errors import RerankdError

CODES = {
    "RerankdError": "internal_error",
    "RequestError": "bad_request",
    "MalformedJson": "malformed_json",
    "InvalidRequest": "invalid_request",
    "UnsupportedOption": "unsupported_option",
    "NotFound": "not_found",
    "MethodNotAllowed": "method_not_allowed",
    "MissingDocuments": "missing_documents",
    "BodyTooLarge": "body_too_large",
    "UnsupportedMedia": "unsupported_media",
    "TooManyDocuments": "too_many_documents",
    "TooManyTokens": "too_many_tokens",
    "PairTooLong": "pair_too_long",
    "Unauthorized": "invalid_api_key",
    "ModelNotFound": "model_not_found",
    "RateLimited": "rate_limited",
    "CannotEmbed": "cannot_embed",
    "TextOnly": "text_only",
    "BadPicture": "bad_picture",
    "PictureTooLarge": "picture_too_large",
    "TooManyPictures": "too_many_pictures",
    "PictureNotFetched": "picture_not_fetched",
    "RequestTimeout": "request_timeout",
    "Forbidden": "forbidden",
    "Conflict": "conflict",
    "Unavailable": "unavailable",
    "QueueFull": "queue_full",
    "ModelLoading": "model_loading",
    "ModelFailed": "model_failed",
    "OutOfMemory": "out_of_memory",
    "Overloaded": "overloaded",
    "DeadlineExceeded": "deadline_exceeded",
    "ShuttingDown": "shutting_down",
    "EngineFailure": "engine_failure",
    "ModelFileError": "model_file",
    "LoadCheckFailed": "load_check_failed",
    "UnprovenModel": "unproven_model",
    "DownloadError": "download_failed",
    "ServerRefused": "server_refused",
    "ClosedReranker": "closed",
    "StateError": "state",
    "StateUnavailable": "state_unavailable",
    "SettingsError": "settings",
}
"""Clients match on these: a code may be added, never changed."""


def tree(root: type[RerankdError] = RerankdError) -> Iterator[type[RerankdError]]:
    """Yield an error class of the product and all below it."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("rerankd."):
            yield from tree(child)


def test_codes_are_stable() -> None:
    """Every error has the code that clients know, and none is missing from the table."""
    actual = {kind.__name__: kind.code for kind in tree()}
    assert actual == CODES


def test_every_class_has_a_code_of_its_own() -> None:
    """No class inherits its parent's code, and no two share one."""
    assert all("code" in vars(kind) for kind in tree())
    assert len(CODES) == len({kind.code for kind in tree()})


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The drawing names every class once and hangs it under its parent."""
    drawn = re.findall(r"^([│├└─ ]*)([A-Z]\w+)(?:  |$)", errors.__doc__ or "", re.MULTILINE)
    parents = {kind.__name__: kind.__base__.__name__ for kind in tree() if kind.__base__}
    branch = ["Exception"]
    hung: dict[str, str] = {}
    for line, name in drawn:
        del branch[1 + len(line) // 4 :]
        hung[name] = branch[-1]
        branch.append(name)
    assert parents == hung
    assert len(parents) == len(drawn)


def test_an_error_keeps_what_the_surface_needs() -> None:
    """Message, parameter and time to retry are attributes; str gives the message."""
    error = errors.QueueFull("full", param="documents", retry_after=3)
    expected = ("full", "full", "documents", 3)
    assert expected == (str(error), error.message, error.param, error.retry_after)
    bare = errors.QueueFull("full")
    assert bare.param is None
    assert bare.retry_after is None
