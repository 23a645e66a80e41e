"""What the mock's books hold, as its callers see it, and what its server answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from agentpay_policies.money import Money

Row = sa.Row[Any]
Status = Literal["created", "confirmed", "requires_action", "approved", "pending", "succeeded", "declined"]
Completion = Literal["succeeded", "declined"]


@dataclass(frozen=True)
class MockCharge:
    """A charge or send as the provider's books have it."""

    id: str
    key: str
    payment_id: str
    customer: str
    payee: str
    direction: str
    method: str | None
    amount: Money
    captured: Money
    refunded: Money
    status: Status
    code: str | None
    scenario: str
    at: datetime


@dataclass(frozen=True)
class MockRefund:
    """A refund as the provider's books have it."""

    id: str
    key: str
    charge_id: str
    amount: Money
    status: Status
    code: str | None
    at: datetime


@dataclass(frozen=True)
class Movement:
    """Money that moved, once; `key` is that of the request that began it. What people did at the provider, or the
    customer's bank: `refund_back` (a refund failed after all), `dispute` and `reversal`, and `given_back` of either."""

    seq: int
    kind: Literal["charge", "send", "refund", "refund_back", "dispute", "reversal", "given_back"]
    charge_id: str
    refund_id: str | None
    key: str
    source: str
    target: str
    money: Money
    at: datetime


@dataclass(frozen=True)
class Answer:
    """What the server answers. `next` names the request that has to follow."""

    status: Status
    reference: str
    code: str | None = None
    next: str | None = None
    url: str | None = None
    instructions: str | None = None


@dataclass(frozen=True)
class Reply:
    """An answer, whether it is the stored one of an earlier delivery, and whether this delivery moved money."""

    answer: Answer
    replayed: bool = False
    moved: bool = False


def dump(answer: Answer) -> str:
    """The answer as it is stored."""
    return json.dumps({name: value for name, value in vars(answer).items() if value is not None})


def load(text: str) -> Answer:
    """A stored answer."""
    return Answer(**json.loads(text))


def as_charge(row: Row) -> MockCharge:
    """A row of `mock_charges`."""
    values = dict(row._mapping)
    currency = values.pop("currency")
    for name in ("amount", "captured", "refunded"):
        values[name] = Money.from_minor(values[name], currency)
    return MockCharge(**values)


def as_refund(row: Row) -> MockRefund:
    """A row of `mock_refunds`."""
    money = Money.from_minor(row.amount, row.currency)
    return MockRefund(row.id, row.key, row.charge_id, money, row.status, row.code, row.at)


def as_movement(row: Row) -> Movement:
    """A row of `mock_movements`."""
    values = dict(row._mapping)
    values["money"] = Money.from_minor(values.pop("amount"), values.pop("currency"))
    return Movement(**values)
