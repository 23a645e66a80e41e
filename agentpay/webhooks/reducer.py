"""What a piece of news changes, given what is known: pure, and the same in whatever order and however often it comes.

Each object's state only ever rises in an order of its own, so that all its news, in any order, end at the highest:

| object | lowest … highest |
|---|---|
| attempt | open, then declined or never sent, then succeeded: never taken back, late after a proof of the contrary |
| refund made at the provider | nothing, pending, succeeded; and apart from that, whether it failed in the end |
| dispute | open, then the newest decision; at the same moment lost stands above won |
| reversal | the newest; at the same moment reversed stands above restored |

What an event alone does not prove is asked for: an attempt that is told to be declined, pending or waiting is looked up
at its provider first, since the event may be old. Only where nobody answers does the event's own word count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from agentpay.payments.models import DisputeStatus
from agentpay.providers.events import DisputeNews, ReversalNews
from agentpay.providers.outcomes import OutcomeName

AttemptEffect = Literal["settle", "ask", "wait", "nothing"]
"""Write the outcome down; look it up first; wait for our own call, which is under way; or there is nothing new."""

Asked = Literal["no", "answered", "unanswered"]
"""Whether the attempt was looked up since the news came, and whether its provider knew it."""

_RISING: Final = ("sent", "unknown", "requires_action", "pending")
_PROVED: Final = ("declined", "not_sent")


@dataclass(frozen=True)
class KnownAttempt:
    """An attempt as it stands. `newest`: no later step of its payment replaced it; `under_way`: the call that made it
    may still go on."""

    outcome: str
    newest: bool = True
    under_way: bool = False
    asked: Asked = "no"


def reduce_attempt(known: KnownAttempt, told: OutcomeName) -> AttemptEffect:
    """What the news that an attempt ended so, or stands so, leads to."""
    if known.outcome == "succeeded":
        return "nothing"
    if told == "succeeded":
        return "settle"
    if known.outcome in _PROVED or not known.newest:
        return "nothing"
    if known.under_way and (told != "declined" or known.asked == "answered"):
        return "wait"
    if known.asked == "no":
        return "ask"
    if known.asked == "answered":
        return "nothing"
    if told == "declined":
        return "settle"
    rises = told in _RISING and _RISING.index(told) > max(1, _RISING.index(known.outcome))
    return "settle" if rises else "nothing"


@dataclass(frozen=True)
class RefundState:
    """A refund that was made at the provider: the highest that it came to, and whether it failed in the end."""

    status: Literal["none", "pending", "succeeded", "declined"] = "none"
    failed: bool = False


def reduce_refund(known: RefundState, told: Literal["pending", "succeeded", "failed"]) -> RefundState:
    """The refund after the news. One that succeeded and failed afterwards keeps both: its money went and came back."""
    failed = known.failed or told == "failed"
    if told == "succeeded" or known.status == "succeeded":
        return RefundState("succeeded", failed)
    return RefundState("declined" if failed else "pending", failed)


@dataclass(frozen=True)
class ClaimState:
    """A dispute or reversal, and the provider's time of the news by which it stands so."""

    status: DisputeStatus
    minor: int
    at: datetime


def reduce_claim(known: ClaimState | None, news: DisputeNews | ReversalNews, at: datetime) -> ClaimState:
    """The dispute or reversal after the news of a moment: the higher of the two."""
    told = ClaimState(news.status, news.money.minor, at)
    return told if known is None else max(known, told, key=_height)


_RANK: Final[dict[DisputeStatus, int]] = {"open": 0, "won": 1, "lost": 2, "restored": 1, "reversed": 2}


def _height(state: ClaimState) -> tuple[bool, datetime, int, int]:
    return state.status != "open", state.at, _RANK[state.status], state.minor
