"""Whether a subscription gives access at a moment. Pure: computed from time, so that no job has to run for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpay.subscriptions.states import LIVE, Status


@dataclass(frozen=True)
class Terms:
    """What entitlement depends on. `paid_until` is None where the plan has no billing period; `ends` says that an
    agreed end comes with the period that runs."""

    status: Status
    free: bool
    ends: bool
    paid_until: datetime | None


def ending(agreed: bool, number: int, term: int) -> bool:
    """Whether an agreed end comes with the period of that number: not before the term is over.

    >>> ending(True, 1, 12), ending(True, 12, 12), ending(True, 13, 12), ending(False, 12, 12)
    (False, True, True, False)
    """
    return agreed and number >= term


def entitled(terms: Terms, now: datetime) -> bool:
    """Whether the subscription gives access now.

    It does in every period that is paid, also while a renewal has failed or the end is agreed. A plan of price 0 goes
    on by itself: its next period needs no payment.
    """
    if terms.status not in LIVE:
        return False
    if terms.paid_until is None or now < terms.paid_until:
        return True
    return terms.free and not terms.ends


def shown_status(terms: Terms, lapses_at: datetime | None, now: datetime) -> Status:
    """The status as it is at this moment, where the job that writes it down has not run yet."""
    if terms.status not in LIVE or entitled(terms, now):
        return terms.status
    if terms.ends:
        return "canceled"
    return "expired" if lapses_at is not None and lapses_at <= now else "past_due"
