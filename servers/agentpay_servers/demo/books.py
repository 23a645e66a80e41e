"""What the demo left in the database, read after the server has ended, and what should stand there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from agentpay.audit.verify import Verification
from agentpay.doctor.checks import Examination
from agentpay.ledger.queries import entry_sums
from agentpay.payments.models import Payment, Refund
from agentpay.spending.models import Approval
from agentpay.spending.tables import HoldRow
from agentpay.storage import Store, Tx
from agentpay.storage.types import table
from agentpay_policies.money import format_minor
from agentpay_servers.demo.stages import Moved
from agentpay_servers.demo.steps import differences
from agentpay_servers.output import Column, Listing, money

if TYPE_CHECKING:
    from agentpay_servers.demo.scene import Scene

_HOLDS: Final = table(HoldRow)

EXPECTED: Final[dict[str, object]] = {
    "payments": ["30.00 USD succeeded", "5.00 USD succeeded", "10.00 USD succeeded"],
    "refunds": ["2.00 USD succeeded"],
    "approvals": ["30.00 USD consumed"],
    "holds": [
        "charge: 35.00 USD captured",
        "charge: 30.00 USD void",
        "refund: 2.00 USD captured",
        "subscribe: 10.00 USD captured",
    ],
    "ledger": ["refunds 2.00 USD", "revenue -45.00 USD"],
    "provider": ["10.00 USD", "5.00 USD", "30.00 USD", "2.00 USD"],
    "audit verified": True,
    "doctor found nothing": True,
}
"""Three payments and one refund; the hold that the parked charge had was void when the approval was used, which took a
new one; the ledger adds up to nothing with the provider's clearing; and the provider's own books agree."""


def expected(account: str) -> dict[str, object]:
    """What should stand in the books of a provider's account."""
    ledger = EXPECTED["ledger"]
    assert isinstance(ledger, list), "the rest of the ledger"
    return {**EXPECTED, "ledger": [f"clearing:{account} 43.00 USD", *ledger]}


@dataclass(frozen=True)
class HoldSum:
    """The holds of one operation in one state."""

    operation: str
    state: str
    holds: int
    amount: str


@dataclass(frozen=True)
class Balance:
    """The sum of an account's entries."""

    account: str
    balance: str


@dataclass(frozen=True)
class Books:
    """Everything that is shown at the end."""

    payments: tuple[Payment, ...]
    refunds: tuple[Refund, ...]
    approvals: tuple[Approval, ...]
    holds: tuple[HoldSum, ...]
    ledger: tuple[Balance, ...]
    provider: tuple[Moved, ...] | None
    account: str
    audit: Verification
    doctor: Examination

    def found(self) -> dict[str, object]:
        """What is compared with `EXPECTED`."""
        return {
            "payments": [f"{money(one.amount, one.currency)} {one.status}" for one in self.payments],
            "refunds": [f"{money(one.amount, one.currency)} {one.status}" for one in self.refunds],
            "approvals": [f"{money(one.amount, one.currency)} {one.status}" for one in self.approvals],
            "holds": [f"{one.operation}: {one.amount} {one.state}" for one in self.holds],
            "ledger": [f"{one.account} {one.balance}" for one in self.ledger],
            "provider": None if self.provider is None else [str(one.money) for one in self.provider],
            "audit verified": self.audit.ok and self.audit.rows > 0 and self.audit.unsealed == 0,
            "doctor found nothing": self.doctor.ok,
        }

    @property
    def wrong(self) -> tuple[str, ...]:
        """What is not as expected."""
        unread = {"provider": None} if self.provider is None else {}
        return differences("the books", self.found(), {**expected(self.account), **unread})

    def listings(self) -> tuple[tuple[str, Listing[Any]], ...]:
        """The tables, each with its title."""
        return (
            ("Payments", Listing(PAYMENTS, self.payments)),
            ("Refunds", Listing(REFUNDS, self.refunds)),
            ("Approvals", Listing(APPROVALS, self.approvals)),
            ("Holds: money reserved before it is spent", Listing(HOLDS, self.holds)),
            ("Ledger: a debit is positive, and they add up to nothing", Listing(LEDGER, self.ledger)),
            *self._provider_listing(),
        )

    def _provider_listing(self) -> tuple[tuple[str, Listing[Any]], ...]:
        return () if self.provider is None else (("The provider's own books", Listing(MOVED, self.provider)),)

    def data(self) -> dict[str, object]:
        """The books as JSON can hold them."""
        tables: dict[str, object] = {
            "payments": Listing(PAYMENTS, self.payments).data(),
            "refunds": Listing(REFUNDS, self.refunds).data(),
            "approvals": Listing(APPROVALS, self.approvals).data(),
            "holds": Listing(HOLDS, self.holds).data(),
            "ledger": Listing(LEDGER, self.ledger).data(),
            "provider": None if self.provider is None else Listing(MOVED, self.provider).data(),
        }
        audit = self.audit
        return {
            **tables,
            "audit": {"ok": audit.ok, "rows": audit.rows, "sealed": audit.sealed, "head": audit.head},
            "doctor": {"ok": self.doctor.ok, "checked": len(self.doctor.checked), "warnings": self.doctor.warnings},
            "ok": not self.wrong,
        }


PAYMENTS: Final[Sequence[Column[Payment]]] = (
    Column("id", lambda one: one.id),
    Column("customer", lambda one: one.customer),
    Column("amount", lambda one: money(one.amount, one.currency)),
    Column("status", lambda one: one.status),
    Column("refunded", lambda one: one.refunded),
    Column("description", lambda one: one.description),
)
REFUNDS: Final[Sequence[Column[Refund]]] = (
    Column("id", lambda one: one.id),
    Column("payment_id", lambda one: one.payment_id),
    Column("amount", lambda one: money(one.amount, one.currency)),
    Column("status", lambda one: one.status),
    Column("reason", lambda one: one.reason),
)
APPROVALS: Final[Sequence[Column[Approval]]] = (
    Column("id", lambda one: one.id),
    Column("payment_id", lambda one: one.payment_id),
    Column("amount", lambda one: money(one.amount, one.currency)),
    Column("status", lambda one: one.status),
    Column("asked_by", lambda one: one.agent),
)
HOLDS: Final[Sequence[Column[HoldSum]]] = (
    Column("operation", lambda one: one.operation),
    Column("state", lambda one: one.state),
    Column("holds", lambda one: one.holds),
    Column("amount", lambda one: one.amount),
)
LEDGER: Final[Sequence[Column[Balance]]] = (
    Column("account", lambda one: one.account),
    Column("balance", lambda one: one.balance),
)
MOVED: Final[Sequence[Column[Moved]]] = (
    Column("from", lambda one: one.source),
    Column("to", lambda one: one.target),
    Column("amount", lambda one: str(one.money)),
)


def look(scene: Scene) -> Books:
    """Read everything, and verify what can be verified."""
    manager = scene.manager
    payments = manager.recent_payments()
    store = Store(scene.url)
    try:
        holds, ledger = store.read(_holds), store.read(_ledger)
    finally:
        store.close()
    return Books(
        payments=payments,
        refunds=tuple(refund for payment in payments for refund in manager.refunds_of(payment.id)),
        approvals=manager.list_approvals(None),
        holds=holds,
        ledger=ledger,
        provider=scene.stage.moved(scene.url),
        account=f"{scene.stage.name}:{scene.stage.account}",
        audit=manager.verify_audit(),
        doctor=manager.doctor(),
    )


def _holds(tx: Tx) -> tuple[HoldSum, ...]:
    group = (_HOLDS.c.operation, _HOLDS.c.state, _HOLDS.c.currency)
    query = sa.select(*group, sa.func.count().label("holds"), sa.func.sum(_HOLDS.c.amount_minor).label("minor"))
    rows = tx.all(query.where(_HOLDS.c.operation != "record_usage").group_by(*group).order_by(*group))
    return tuple(HoldSum(row.operation, row.state, row.holds, _signed(int(row.minor), row.currency)) for row in rows)


def _ledger(tx: Tx) -> tuple[Balance, ...]:
    return tuple(Balance(row.account, _signed(int(row.minor), row.currency)) for row in entry_sums(tx))


def _signed(minor: int, currency: str) -> str:
    return f"{format_minor(minor, currency)} {currency}"
