"""What a provider's webhook tells, once it is verified: values, the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agentpay.providers.outcomes import Outcome
from agentpay_policies.money import Money


@dataclass(frozen=True)
class AttemptNews:
    """What became of one of our attempts. It is found by `key`, our own that the provider gives back, or else by
    `reference`, the provider's id. `parent` is the provider's id of an earlier step of the same charge, if any."""

    kind: Literal["charge", "refund"]
    outcome: Outcome
    key: str | None = None
    reference: str | None = None
    parent: str | None = None


@dataclass(frozen=True)
class RefundNews:
    """A refund as the provider's books have it, ours or made there by a person. `money` is what it gives back."""

    charge: str
    reference: str
    money: Money
    status: Literal["pending", "succeeded", "failed"]
    key: str | None = None


@dataclass(frozen=True)
class DisputeNews:
    """A charge that the customer's bank takes back, or wants to: money that is (or was) withdrawn from the account."""

    charge: str
    reference: str
    money: Money
    status: Literal["open", "won", "lost"]
    reason: str


@dataclass(frozen=True)
class ReversalNews:
    """Money of a charge that is gone without a refund or a dispute: a capture that was reversed, a block that is no
    longer on the chain. `restored` says that it came back after all."""

    charge: str
    reference: str
    money: Money
    status: Literal["reversed", "restored"]
    reason: str


@dataclass(frozen=True)
class MethodNews:
    """A customer saved a method, or lost one. `customer` is what the provider calls them; `setup` is our id of the
    page that they saved it on, where it began with one."""

    customer: str
    change: Literal["saved", "removed"]
    setup: str | None = None


@dataclass(frozen=True)
class StrayNews:
    """Money that came, and is no payment's: too much, too late, or for nothing that we know of. A person decides what
    becomes of it. `charge` is the provider's id of the charge that it came near to; `reason` is of a closed table of
    the provider's, and `fraction` is the part of an amount that only told a payment from others, which is ours to keep.
    `taken_back` says that it went again, or is explained by now: the same `reference`, once."""

    reference: str
    money: Money
    status: Literal["received", "taken_back"]
    reason: str
    charge: str | None = None


News = AttemptNews | RefundNews | DisputeNews | ReversalNews | MethodNews | StrayNews


@dataclass(frozen=True)
class WebhookEvent:
    """A verified event. `kind` is the provider's own word for it; what means nothing to us has no news, and is kept.

    An event may be about several things, and the same thing may be told by several events, in any order.
    """

    id: str
    account: str
    kind: str
    created_at: datetime
    news: tuple[News, ...] = ()
