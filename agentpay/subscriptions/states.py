"""The states of a subscription and every way between them. Pure, and closed: what is not in the table cannot happen."""

from __future__ import annotations

from typing import Final, Literal, cast, get_args

Status = Literal["incomplete", "active", "past_due", "canceled", "expired"]
Event = Literal["activate", "fail", "reopen", "renew", "renewal_failed", "cancel", "expire"]

LIVE: Final[frozenset[Status]] = frozenset({"active", "past_due"})
"""A subscription that holds its group; whether it gives access is a question of time: see `entitlement`."""

TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    ("incomplete", "activate"): "active",
    ("incomplete", "fail"): "expired",
    # Only one that never began: its payment was not sent after all and is tried again, or it succeeded late.
    ("expired", "reopen"): "incomplete",
    ("expired", "activate"): "active",
    ("active", "renew"): "active",
    ("active", "renewal_failed"): "past_due",
    ("active", "cancel"): "canceled",
    ("active", "expire"): "expired",
    ("past_due", "renew"): "active",
    ("past_due", "renewal_failed"): "past_due",
    ("past_due", "cancel"): "canceled",
    ("past_due", "expire"): "expired",
}


def after(status: Status, event: Event) -> Status | None:
    """The state after an event; None where the event cannot happen in this state."""
    return TRANSITIONS.get((status, event))


def known(status: str) -> Status:
    """The state that a stored word names.

    Raises:
        ValueError: none of ours; the database refuses such a row, so this is a fault of the program.
    """
    if status not in get_args(Status):
        raise ValueError(f"{status!r} is no state of a subscription")
    return cast(Status, status)
