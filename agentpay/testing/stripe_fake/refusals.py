"""How Stripe refuses: a status and an error object."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """A request is refused. `stored`: it had begun to run, so that its key has this answer for ever."""

    def __init__(self, status: int, kind: str, message: str, *, stored: bool = False, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.stored = stored
        self.body = {"error": {"type": kind, "message": message, **fields}}


def invalid(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Refused:
    """A request that cannot be: nothing was done, and its key is free."""
    fields: dict[str, Any] = {name: value for name, value in (("param", param), ("code", code)) if value is not None}
    return Refused(status, "invalid_request_error", message, **fields)


def missing(what: str, param: str, *, status: int = 400) -> Refused:
    """There is no such thing."""
    return invalid(f"No such {what}", param=param, code="resource_missing", status=status)
