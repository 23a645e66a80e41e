"""What happens at the mock without us: a person refunds there, the customer's bank disputes, a capture is reversed.

Each moves the money of the mock's own books, and can be told by a webhook (`MockProvider.webhook`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.errors import NotFound
from agentpay.providers.mock_books import Books, charge_answer, move, receiver, required, update
from agentpay.providers.mock_records import Row
from agentpay.providers.mock_store import CHARGES, DISPUTES, REFUNDS
from agentpay_policies.money import Money

_PERSON: Final = "person:"


class Elsewhere:
    """Acts at the provider itself, on the books that every process shares."""

    def __init__(self, books: Books, clock: Clock) -> None:
        self._books = books
        self._clock = clock

    def refund(self, charge: str, money: Money, *, pending: bool = False) -> str:
        """A person refunds at the provider, by no request of ours; returns the provider's id of the refund.

        Raises:
            NotFound: no such charge.
            Conflict: it did not succeed.
        """
        with self._books.writing() as conn:
            row = required(conn, CHARGES, charge, {"succeeded"})
            reference = _next_id(conn, "mrp_", charge, REFUNDS)
            conn.execute(
                sa.insert(REFUNDS).values(
                    id=reference,
                    key=f"{_PERSON}{reference}",
                    charge_id=charge,
                    amount=money.minor,
                    currency=money.currency,
                    status="pending" if pending else "succeeded",
                    scenario="plain",
                    at=self._clock.now(),
                )
            )
            update(conn, CHARGES, CHARGES.c.id == charge, refunded=row.refunded + money.minor)
            if not pending:
                self._moved(conn, row, "refund", reference, money.minor, back=True)
        return reference

    def end_refund(self, reference: str, status: Literal["succeeded", "declined"]) -> None:
        """A refund comes to its end: a pending one either way; one that had succeeded fails after all."""
        with self._books.writing() as conn:
            refund = required(conn, REFUNDS, reference, {"pending", "succeeded"})
            charge = required(conn, CHARGES, refund.charge_id, {"succeeded"})
            update(conn, REFUNDS, REFUNDS.c.id == reference, status=status)
            if status == "succeeded" and refund.status == "pending":
                self._moved(conn, charge, "refund", reference, refund.amount, back=True, key=refund.key)
            if status == "declined":
                update(conn, CHARGES, CHARGES.c.id == charge.id, refunded=charge.refunded - refund.amount)
                if refund.status == "succeeded":
                    self._moved(conn, charge, "refund_back", reference, refund.amount, back=False, key=refund.key)

    def dispute(self, charge: str, money: Money, *, reason: str = "fraudulent") -> str:
        """The customer's bank takes money of a charge back, until it is decided; returns the provider's id of it."""
        return self._taken(charge, money, "dispute", "open", reason)

    def reverse(self, charge: str, money: Money, *, reason: str = "reversed_by_bank") -> str:
        """Money of a charge is gone without refund or dispute; returns the provider's id of that."""
        return self._taken(charge, money, "reversal", "reversed", reason)

    def decide(self, reference: str, status: Literal["won", "lost", "reversed", "restored"]) -> None:
        """A dispute is won or lost; a reversal is restored, or happens again."""
        with self._books.writing() as conn:
            row = required(conn, DISPUTES, reference, {"open", "won", "lost", "reversed", "restored"})
            charge = required(conn, CHARGES, row.charge_id, {"succeeded"})
            update(conn, DISPUTES, DISPUTES.c.id == reference, status=status)
            gone, now_gone = (one in ("open", "lost", "reversed") for one in (row.status, status))
            if gone and not now_gone:
                self._moved(conn, charge, "given_back", reference, row.amount, back=False)
            if now_gone and not gone:
                self._moved(conn, charge, row.kind, reference, row.amount, back=True)

    def event(self, reference: str, *, key: bool) -> dict[str, object]:
        """What the mock tells of an object at this moment, as the body of an event.

        Raises:
            NotFound: no such reference.
        """
        with self._books.reading() as conn:
            for kind, rows in (("charge", CHARGES), ("refund", REFUNDS), ("dispute", DISPUTES)):
                row = conn.execute(sa.select(rows).where(rows.c.id == reference)).first()
                if row is not None:
                    return _event(kind, row, self._clock.now(), key=key)
        raise NotFound(f"The mock has no {reference[:60]!r}.")

    def _taken(self, charge: str, money: Money, kind: str, status: str, reason: str) -> str:
        with self._books.writing() as conn:
            row = required(conn, CHARGES, charge, {"succeeded"})
            reference = _next_id(conn, "mdp_" if kind == "dispute" else "mrv_", charge, DISPUTES)
            values: dict[str, object] = {
                "id": reference,
                "charge_id": charge,
                "kind": kind,
                "status": status,
                "reason": reason,
            }
            values |= {"amount": money.minor, "currency": money.currency, "at": self._clock.now()}
            conn.execute(sa.insert(DISPUTES).values(values))
            self._moved(conn, row, kind, reference, money.minor, back=True)
        return reference

    def _moved(
        self, conn: sa.Connection, charge: Row, kind: str, by: str, amount: int, *, back: bool, key: str | None = None
    ) -> None:
        ends = (receiver(charge), f"customer:{charge.customer}")
        source, target = ends if back else (ends[1], ends[0])
        move(
            conn,
            kind=kind,
            charge_id=charge.id,
            refund_id=by if kind.startswith("refund") else None,
            key=key or f"{_PERSON}{by}",
            source=source,
            target=target,
            amount=amount,
            currency=charge.currency,
            at=self._clock.now(),
        )


def _next_id(conn: sa.Connection, prefix: str, charge: str, rows: sa.Table) -> str:
    """Made from the charge and how many of the kind it has, so that no randomness is needed."""
    of_charge = sa.select(sa.func.count()).select_from(rows).where(rows.c.charge_id == charge)
    return f"{prefix}{conn.execute(of_charge).scalar()}_{charge.partition('_')[2]}"


def _event(kind: str, row: Row, at: datetime, *, key: bool) -> dict[str, object]:
    told: dict[str, object] = {"reference": row.id, "status": row.status}
    if kind == "charge":
        answer = charge_answer(row)
        told |= {"code": answer.code, "url": answer.url, "instructions": answer.instructions}
    else:
        told |= {"charge": row.charge_id, "amount": str(Money.from_minor(row.amount, row.currency).amount)}
        told |= {"currency": row.currency}
    if kind == "dispute":
        told |= {"reason": row.reason, "kind": row.kind}
    elif key and not row.key.startswith(_PERSON):
        told |= {"key": row.key}
    return {"type": kind, "created": at.isoformat(), "object": told}
