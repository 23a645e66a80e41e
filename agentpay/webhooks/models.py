"""What receiving a webhook answers, and what is known of the events that were received."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ReceiptStatus = Literal["stored", "repeated", "ignored"]
EventStatus = Literal["applied", "waiting", "ignored", "expired"]


@dataclass(frozen=True)
class Change:
    """What an event did to one thing: `payment.succeeded`, `refund.succeeded`, `dispute.open`, …"""

    object_id: str
    change: str


@dataclass(frozen=True)
class WebhookReceipt:
    """An event was taken, and its row is committed: answer the provider with 200.

    `id` is ours, `event_id` the provider's. `stored`: it was new; `repeated`: it was stored before, and nothing was
    done; `ignored`: it tells nothing that matters here. `waiting`: something of it waits for what it is about.
    """

    id: str
    event_id: str
    provider: str
    kind: str
    status: ReceiptStatus
    changed: tuple[Change, ...] = ()
    waiting: bool = False


@dataclass(frozen=True)
class ReceivedEvent:
    """An event as it stands, for people."""

    id: str
    provider: str
    event_id: str
    kind: str
    status: EventStatus
    changed: tuple[Change, ...]
    tries: int
    created_at: datetime
    received_at: datetime
    next_try_at: datetime | None


@dataclass(frozen=True)
class RetryReport:
    """What a pass over waiting events did."""

    tried: int
    applied: int
    still_waiting: int
    expired: int
