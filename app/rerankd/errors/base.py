"""The error that all others are."""

from __future__ import annotations


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
