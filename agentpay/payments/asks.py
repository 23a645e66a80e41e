"""What the payments service takes, resolved and checked; and what opening one leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import RowMapping

from agentpay.canonical import digest
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError
from agentpay.payments.models import Payment, Refund
from agentpay.principal import Principal
from agentpay.providers.base import Order, PaymentProvider, RefundOrder, Request, ReturnUrls
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from agentpay_policies.terms import Period

Kind = Literal["charge", "refund", "resume"]


@dataclass(frozen=True)
class Made:
    """An attempt that must now be sent: its id, its provider key, when it was made, by a clock that never jumps, and
    until when it has its lease."""

    id: str
    key: str
    made_at: float
    lease_until: datetime


Begin = Callable[[Tx, Customer, str, datetime], str | None]
"""What opening a payment begins beside it, in its transaction: (tx, customer, payment id, now) -> what it is for."""

Meaning = Callable[[Tx, Row, datetime], None]


def _nothing(_tx: Tx, _row: Row, _now: datetime) -> None:
    """Nothing follows."""


@dataclass(frozen=True)
class Purpose:
    """What a payment means to what it is for, by two functions of (tx, payment's row, now).

    `settled` runs in settle's transaction at every change of status, with the new row. `again` runs before a payment
    that was not sent is tried again, and raises where that has no use any more.
    """

    settled: Meaning = _nothing
    again: Meaning = _nothing


@dataclass(frozen=True)
class ChargeAsk:
    """A charge: who asks, what for, and by which key; of a subscription, `term` periods of such a length. A repeat must
    equal its `body`: all of it, or `identity` where the rest is worked out anew each time (the price of a plan, the sum
    of what is unbilled)."""

    principal: Principal
    operation: Literal["charge", "subscribe", "renew", "bill_usage", "top_up", "checkout"]
    customer: str
    money: Money
    payee: Payee
    provider: str | None
    method: str | None
    description: str | None
    key: str
    distinct_from: str | None = None
    purpose: str = "sale"
    plan: str | None = None
    period: Period | None = None
    term: int = 1
    begin: Begin | None = None
    identity: Mapping[str, object] | None = None
    checkout: ReturnUrls | None = None

    @property
    def body(self) -> Mapping[str, object]:
        """What is the same in every repeat of this operation."""
        if self.identity:
            return self.identity
        urls = {} if self.checkout is None else {"urls": [self.checkout.success, self.checkout.cancel]}
        return {
            **urls,
            "customer": self.customer,
            "amount": str(self.money.minor),
            "currency": self.money.currency,
            "payee": str(self.payee),
            "provider": self.provider,
            "method": self.method,
            "plan": self.plan,
            "description": self.description,
        }


@dataclass(frozen=True)
class RefundAsk:
    """A refund: `money` None means all that is left."""

    principal: Principal
    payment_id: str
    amount: str | None
    reason: str | None
    key: str

    @property
    def body(self) -> dict[str, object]:
        """What is the same in every repeat of this operation."""
        return {"payment_id": self.payment_id, "amount": self.amount, "reason": self.reason}


@dataclass(frozen=True)
class Started:
    """An attempt is committed and must now be sent."""

    kind: Kind
    subject_id: str
    attempt: Made
    provider: PaymentProvider
    request: Request
    order: Order | RefundOrder | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Stands:
    """The answer is what stands in the database. `stale` says that its provider should be asked first."""

    view: Payment | Refund
    refusal: AgentPayError | None
    stale: bool = False


@dataclass(frozen=True)
class Refused:
    """No: the audit row is written, and this is to be raised after the commit."""

    error: AgentPayError


Opened = Started | Stands | Refused


def effect_digest(facts: Mapping[str, Any] | RowMapping, provider: PaymentProvider, memo: str | None = None) -> str:
    """The hash over the resolved effect of a payment or refund (its columns), to which an approval is bound."""
    return digest(
        "agentpay.effect.v1",
        {
            "principal": f"{facts['principal_kind']}:{facts['principal_id']}",
            "operation": facts.get("operation", "refund"),
            "direction": facts.get("direction", "collect"),
            "customer": facts.get("customer_id"),
            "payee": facts.get("payee"),
            "provider": provider.name,
            "account": provider.account,
            "mode": provider.mode,
            "method": facts.get("method"),
            "amount": str(facts["amount_minor"]),
            "currency": facts["currency"],
            "plan": facts.get("plan"),
            "payment": facts.get("payment_id"),
            "memo": memo,
        },
    )
