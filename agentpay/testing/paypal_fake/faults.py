"""What the network, or PayPal's front end, does to a request or to its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

How = Literal[
    "error_before",
    "error_after",
    "drop_before",
    "drop_after",
    "hang_before",
    "hang_after",
    "drip",
    "huge",
    "malformed",
    "nonsense",
    "redirect",
    "unauthorized",
    "rate_limited",
    "conflict",
    "refused",
]
"""Before: nothing is done by the request. After, and by `drip`, `huge`, `malformed`, `nonsense`: it is done, and its
answer is lost."""

BEFORE: Final = frozenset({
    "error_before", "drop_before", "hang_before", "redirect", "unauthorized", "rate_limited", "conflict", "refused",
})  # fmt: skip

_STATUS: Final = {
    "error_before": (500, "INTERNAL_SERVER_ERROR"),
    "error_after": (503, "SERVICE_UNAVAILABLE"),
    "unauthorized": (401, "AUTHENTICATION_FAILURE"),
    "rate_limited": (429, "RATE_LIMIT_REACHED"),
    "conflict": (409, "RESOURCE_CONFLICT"),
    "refused": (422, "UNPROCESSABLE_ENTITY"),
}


@dataclass
class Fault:
    """What the next requests of a step meet: all of them, or those of one PayPal-Request-Id."""

    step: str
    how: How
    times: int = 1
    request_id: str | None = None
    issue: str | None = None

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise ValueError(f"there is no fault {self.how!r}")

    def meets(self, step: str, request_id: str | None) -> bool:
        """Whether a request meets it."""
        return self.times > 0 and self.step in (step, "*") and self.request_id in (None, request_id)

    @property
    def answer(self) -> tuple[int, dict[str, object]] | None:
        """The status and the body that it answers with; None where it answers in no such way."""
        if self.how not in _STATUS:
            return None
        status, name = _STATUS[self.how]
        details = [{"issue": self.issue}] if self.issue else []
        return status, {"name": name, "debug_id": "fake", "details": details}
