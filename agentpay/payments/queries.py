"""All SQL of payments, refunds, disputes and attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agentpay.errors import NotFound
from agentpay.payments.tables import AttemptRow, DisputeRow, PaymentRow, RefundRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

PAYMENTS = table(PaymentRow)
REFUNDS = table(RefundRow)
DISPUTES = table(DisputeRow)
ATTEMPTS = table(AttemptRow)
_P, _R, _D, _A = PAYMENTS.c, REFUNDS.c, DISPUTES.c, ATTEMPTS.c

UNDER_WAY = ("approval_required", "pending", "requires_action", "unknown")
"""States of a refund in which its amount is set aside."""

OPEN_OUTCOMES = ("sent", "unknown", "pending", "requires_action")
"""Outcomes of an attempt after which money may still move."""


def payment(tx: Tx, payment_id: str, *, lock: bool = False) -> Row:
    """A payment's row.

    Raises:
        NotFound: there is none.
    """
    statement = sa.select(PAYMENTS).where(_P.id == payment_id)
    rows = tx.lock(statement) if lock else tx.all(statement)
    if not rows:
        raise NotFound(f"There is no payment {str(payment_id)[:60]!r}.")
    return rows[0]


def refund(tx: Tx, refund_id: str, *, lock: bool = False) -> Row:
    """A refund's row.

    Raises:
        NotFound: there is none.
    """
    statement = sa.select(REFUNDS).where(_R.id == refund_id)
    rows = tx.lock(statement) if lock else tx.all(statement)
    if not rows:
        raise NotFound(f"There is no refund {str(refund_id)[:60]!r}.")
    return rows[0]


def customer_of(tx: Tx, payment_id: str) -> str | None:
    """Our id of the customer of a payment; None where there is no such payment."""
    found: str | None = tx.scalar(sa.select(_P.customer_id).where(_P.id == payment_id))
    return found


def update_payment(tx: Tx, payment_id: str, **values: Any) -> None:
    """Change columns of a payment."""
    tx.execute(sa.update(PAYMENTS).where(_P.id == payment_id).values(**values))


def update_refund(tx: Tx, refund_id: str, **values: Any) -> None:
    """Change columns of a refund."""
    tx.execute(sa.update(REFUNDS).where(_R.id == refund_id).values(**values))


def update_dispute(tx: Tx, dispute_id: str, **values: Any) -> None:
    """Change columns of a dispute."""
    tx.execute(sa.update(DISPUTES).where(_D.id == dispute_id).values(**values))


def update_attempt(tx: Tx, attempt_id: str, **values: Any) -> None:
    """Change columns of an attempt."""
    tx.execute(sa.update(ATTEMPTS).where(_A.id == attempt_id).values(**values))


def attempt(tx: Tx, attempt_id: str, *, lock: bool = False) -> Row:
    """An attempt's row, which must be there."""
    statement = sa.select(ATTEMPTS).where(_A.id == attempt_id)
    return (tx.lock(statement) if lock else tx.all(statement))[0]


def attempts(tx: Tx, subject_id: str) -> Sequence[Row]:
    """The attempts of a payment or refund, the first first."""
    return tx.all(sa.select(ATTEMPTS).where(_A.subject_id == subject_id).order_by(_A.number))


def due(tx: Tx, now: datetime | None, limit: int, providers: Sequence[str]) -> Sequence[Row]:
    """The attempts at these providers to look up by now (None: every open one), the longest due first.

    One whose answer nobody wrote down is always due; one that a later step replaced never is.
    """
    is_due: sa.ColumnElement[bool] = _A.next_check_at.is_not(None)
    if now is not None:
        is_due = sa.or_(_A.next_check_at <= now, sa.and_(_A.outcome == "sent", is_due))
    return tx.all(
        sa.select(ATTEMPTS)
        .where(_A.outcome.in_(OPEN_OUTCOMES), is_due, _A.provider.in_(providers))
        .order_by(_A.next_check_at, _A.id)
        .limit(limit)
    )


def oldest_unknown(tx: Tx) -> datetime | None:
    """Since when the oldest payment or refund with an unknown outcome has been so."""
    found: datetime | None = tx.scalar(sa.select(sa.func.min(_A.sent_at)).where(_A.outcome == "unknown"))
    return found


def make_due(tx: Tx, now: datetime) -> None:
    """Have every open attempt looked up anew."""
    open_ones = sa.and_(_A.outcome.in_(OPEN_OUTCOMES), _A.next_check_at.is_not(None))
    tx.execute(sa.update(ATTEMPTS).where(open_ones).values(next_check_at=now))


def not_looked_up_since(tx: Tx, moment: datetime) -> int:
    """How many attempts that were open then, when all were made due, have not been looked up yet."""
    left = sa.select(sa.func.count()).where(_A.outcome.in_(OPEN_OUTCOMES), _A.next_check_at <= moment)
    return int(tx.scalar(left))


def late(tx: Tx) -> int:
    """How many payments are flagged: money of theirs moved after its hold was let go."""
    found: int = tx.scalar(sa.select(sa.func.count()).select_from(PAYMENTS).where(_P.late.is_(True)))
    return found


def look_alike(tx: Tx, row: Row, *, since: datetime) -> Row | None:
    """The newest other payment of the same agent that is alive or succeeded and the same but for its key."""
    alike = (_P.principal_id, _P.customer_id, _P.payee, _P.amount_minor, _P.currency)
    return tx.first(
        sa.select(_P.id, _P.status, _P.created_at)
        .where(
            _P.id != row.id,
            _P.principal_kind == "agent",
            _P.operation == "charge",
            *(column == getattr(row, column.key) for column in alike),
            _P.created_at >= since,
            _P.status.in_(("approval_required", "pending", "requires_action", "unknown", "succeeded")),
        )
        .order_by(_P.created_at.desc(), _P.id.desc())
        .limit(1)
    )


def of_customer(
    tx: Tx,
    customer_id: str,
    *,
    agent: str | None,
    limit: int | None,
    before: tuple[datetime, str] | None,
    no_agents: bool = False,
) -> Sequence[Row]:
    """A customer's payments, the newest first; an agent's own only, where one is named; or those of no agent."""
    statement = sa.select(PAYMENTS).where(_P.customer_id == customer_id).order_by(_P.created_at.desc(), _P.id.desc())
    if agent is not None:
        statement = statement.where(_P.principal_kind == "agent", _P.principal_id == agent)
    if no_agents:
        statement = statement.where(_P.principal_kind != "agent")
    if before is not None:
        at, last = before
        earlier = sa.and_(_P.created_at == at, _P.id < last)  # no tuple: its parts would lose the column's own type
        statement = statement.where(sa.or_(_P.created_at < at, earlier))
    return tx.all(statement if limit is None else statement.limit(limit))


def subjects_of(customer_id: str) -> sa.Select[tuple[str]]:
    """The query for the ids of a customer's payments and of their refunds."""
    of_customer = _P.customer_id == customer_id
    refunded = sa.select(_R.id).join(PAYMENTS, _P.id == _R.payment_id).where(of_customer)
    return sa.select(sa.union_all(sa.select(_P.id).where(of_customer), refunded).subquery().c.id)


def all_of(customer_id: str) -> sa.Select[tuple[str]]:
    """The query for the ids of a customer, and of their payments, refunds, disputes and attempts: of everything that a
    text or the news of a provider may be about."""
    subjects = subjects_of(customer_id).subquery().c.id
    known = (
        sa.select(sa.literal(customer_id).label("id")),
        sa.select(subjects),
        sa.select(_A.id).where(_A.subject_id.in_(sa.select(subjects))),
        sa.select(_D.id).where(_D.payment_id.in_(sa.select(subjects))),
    )
    return sa.select(sa.union_all(*known).subquery().c.id)


def open_subject_of(tx: Tx, customer_id: str) -> Row | None:
    """A payment or refund of a customer that may still move money: its id, its payment's id, its status, and where a
    refund was made."""
    open_statuses = ("approval_required", "pending", "requires_action", "unknown")
    made_here = sa.literal("agentpay").label("origin")
    paid = sa.select(_P.id, _P.id.label("payment_id"), _P.status, made_here).where(_P.status.in_(open_statuses))
    refunded = sa.select(_R.id, _R.payment_id, _R.status, _R.origin).join(PAYMENTS, _P.id == _R.payment_id)
    refunded = refunded.where(_R.status.in_(open_statuses))
    of_customer = _P.customer_id == customer_id
    return tx.first(paid.where(of_customer).limit(1)) or tx.first(refunded.where(of_customer).limit(1))


def unsent_of(tx: Tx, customer_id: str) -> list[str]:
    """The payments of a customer that were never sent."""
    query = sa.select(_P.id).where(_P.customer_id == customer_id, _P.status == "not_sent").order_by(_P.id)
    return [row.id for row in tx.all(query)]


def forget_requests(tx: Tx, customer_id: str) -> None:
    """Forget what was sent to providers for a customer, and where they were to pay. Nothing of it may be open."""
    subjects = subjects_of(customer_id)
    tx.execute(sa.update(ATTEMPTS).where(_A.subject_id.in_(subjects)).values(request="{}"))
    tx.execute(sa.update(PAYMENTS).where(_P.customer_id == customer_id).values(url=None))


def newest(tx: Tx, limit: int, status: str | None = None) -> Sequence[Row]:
    """The newest payments of all customers."""
    statement = sa.select(PAYMENTS).order_by(_P.created_at.desc(), _P.id.desc()).limit(limit)
    return tx.all(statement if status is None else statement.where(_P.status == status))


def approved(tx: Tx, limit: int, providers: Sequence[str]) -> Sequence[str]:
    """The payments whose newest attempt is pending at one of these providers: among them those to go on with."""
    of = (_A.outcome == "pending", _A.subject_kind == "charge", _A.provider.in_(providers))
    query = sa.select(_A.subject_id).where(*of, _A.next_check_at.is_not(None)).order_by(_A.next_check_at).limit(limit)
    return [row.subject_id for row in tx.all(query)]


def refunds_of(tx: Tx, payment_id: str) -> Sequence[Row]:
    """The refunds of a payment, the first first."""
    return tx.all(sa.select(REFUNDS).where(_R.payment_id == payment_id).order_by(_R.created_at, _R.id))


def refund_at(tx: Tx, payment_id: str, reference: str) -> Row | None:
    """The refund of a payment that was made at the provider, which calls it so."""
    return tx.first(sa.select(REFUNDS).where(_R.payment_id == payment_id, _R.reference == reference))


def dispute(tx: Tx, dispute_id: str) -> Row:
    """A dispute's row, which must be there."""
    return tx.all(sa.select(DISPUTES).where(_D.id == dispute_id))[0]


def dispute_at(tx: Tx, provider: str, kind: str, reference: str) -> Row | None:
    """The dispute or reversal that a provider calls so."""
    query = sa.select(DISPUTES).where(_D.provider == provider, _D.kind == kind, _D.reference == reference)
    return tx.first(query)


def disputes(tx: Tx, *, payment_id: str | None, status: str | None, limit: int) -> Sequence[Row]:
    """Disputes and reversals, of one payment or in one state where named, the newest first."""
    query = sa.select(DISPUTES).order_by(_D.created_at.desc(), _D.id.desc()).limit(limit)
    if payment_id is not None:
        query = query.where(_D.payment_id == payment_id)
    return tx.all(query if status is None else query.where(_D.status == status))


def attempt_of_key(tx: Tx, provider: str, key: str) -> Row | None:
    """The attempt that went to a provider by this key."""
    return tx.first(sa.select(ATTEMPTS).where(_A.provider_key == key, _A.provider == provider))


def attempts_called(tx: Tx, provider: str, kind: str, reference: str) -> Sequence[Row]:
    """The attempts of charges or refunds that a provider calls so, the last of each first."""
    query = sa.select(ATTEMPTS).where(_A.reference == reference, _A.provider == provider, _A.subject_kind == kind)
    return tx.all(query.order_by(_A.subject_id, _A.number.desc()))


@dataclass(frozen=True)
class Returns:
    """What of a payment went back, or is about to: by the rows of its refunds and disputes, in minor units."""

    captured: int
    refunded: int
    refunding: int
    withdrawn: int

    @property
    def back(self) -> int:
        """All of it together."""
        return self.refunded + self.refunding + self.withdrawn

    @property
    def excess(self) -> bool:
        """Whether it is more than was captured: something of it was done at the provider."""
        return self.back > self.captured

    @property
    def columns(self) -> dict[str, Any]:
        """What the payment says of it. Its own refunds never add up to more than was captured."""
        refunding = min(self.refunding, self.captured)
        refunded = min(self.refunded, self.captured - refunding)
        return {
            "refunded_minor": refunded,
            "refunding_minor": refunding,
            "disputed_minor": self.withdrawn,
            "excess": self.excess,
        }


def returns_of(tx: Tx, payment_id: str) -> Returns:
    """What of a payment went back; the payment is locked."""
    row = payment(tx, payment_id)
    amount = _R.amount_minor
    done = sa.func.sum(sa.case((_R.status == "succeeded", amount), else_=0)).label("done")
    under_way = sa.func.sum(sa.case((_R.status.in_(UNDER_WAY), amount), else_=0)).label("under_way")
    sums = tx.all(sa.select(done, under_way).where(_R.payment_id == payment_id, _R.returned.is_(False)))[0]
    withdrawn = tx.scalar(sa.select(sa.func.sum(_D.withdrawn_minor)).where(_D.payment_id == payment_id))
    return Returns(row.captured_minor, int(sums.done or 0), int(sums.under_way or 0), int(withdrawn or 0))


def left_to_refund(row: Row) -> int:
    """What of a payment may still be refunded: what is disputed may not."""
    left: int = row.captured_minor - row.refunded_minor - row.refunding_minor - row.disputed_minor
    return max(left, 0)


def unsent(tx: Tx, operation: str) -> Sequence[Row]:
    """The payments of an operation that were never sent: the one that was tried longest ago first, so that a provider
    that cannot be reached keeps those at another from no turn."""
    query = sa.select(_P.id, _P.purpose_id, _P.provider).where(_P.status == "not_sent", _P.operation == operation)
    return tx.all(query.order_by(_P.updated_at, _P.id))
