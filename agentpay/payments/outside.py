"""What happens to a payment at its provider without us: refunds that people make there, disputes, reversals.

    news → the payment, locked → its own row → the payment's sums → ledger → audit → outbox

Each is written down whatever our books would have allowed: the money has moved. What goes beyond what was captured is
flagged (`excess`), never lost. The reducers of `webhooks` decide what is new; here it is only carried out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay.audit import log
from agentpay.canonical import digest
from agentpay.ids import Ids
from agentpay.ledger import postings
from agentpay.ledger import service as ledger
from agentpay.payments import queries
from agentpay.payments.models import DisputeKind, DisputeStatus
from agentpay.payments.returning import give_back
from agentpay.payments.settling import Settling
from agentpay.payments.tables import DisputeRow, RefundRow
from agentpay.principal import SYSTEM
from agentpay.storage import outbox
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.money import Money

logger = logging.getLogger(__name__)

PROVIDER: Final = "provider"
"""The origin of a refund that was made at the provider."""

GONE: Final = ("open", "lost", "reversed")
"""The states in which the money of a dispute or reversal is gone."""


@dataclass(frozen=True)
class Claim:
    """A dispute or reversal as it is now, and the provider's time of the news by which it is so."""

    kind: DisputeKind
    reference: str
    status: DisputeStatus
    money: Money
    reason: str
    told_at: datetime

    @property
    def withdrawn_minor(self) -> int:
        """What of the money is gone."""
        return self.money.minor if self.status in GONE else 0


@dataclass(frozen=True)
class Outside:
    """Writes down what was done elsewhere. Every verb runs in a transaction, with the payment locked."""

    ids: Ids
    settling: Settling

    def refund(
        self, tx: Tx, payment: Row, *, reference: str, money: Money, status: str, returned: bool
    ) -> tuple[str, str]:
        """Write down how a refund stands that was made at the provider; returns its id, and what it is now."""
        row = queries.refund_at(tx, payment.id, reference)
        if row is None:
            row = self._made(tx, payment, reference, money)
        now = tx.now(row.updated_at, payment.updated_at)
        queries.update_refund(tx, row.id, status=status, returned=returned, updated_at=now)
        self._recounted(tx, payment.id, row.id, now)
        if status == "succeeded" and row.status != "succeeded":
            self.settling.post(tx, row, payment, now)
        if status != row.status:
            self._tell(tx, f"refund.{status}", row.id, _facts(row, payment), now)
        give_back(tx, row.id, now, ids=self.ids)
        return row.id, f"refund.{'returned' if returned and status == 'succeeded' else status}"

    def _made(self, tx: Tx, payment: Row, reference: str, money: Money) -> Row:
        now, refund_id = tx.now(payment.updated_at), self.ids.new("ref")
        facts = {"payment": payment.id, "reference": reference, "amount": str(money.minor), "currency": money.currency}
        tx.insert(
            RefundRow,
            id=refund_id,
            payment_id=payment.id,
            principal_kind=SYSTEM.kind,
            principal_id=SYSTEM.id,
            amount_minor=money.minor,
            currency=money.currency,
            status="pending",
            idempotency_key=f"{PROVIDER}:{reference}",
            digest=digest("agentpay.effect.provider.v1", facts),
            origin=PROVIDER,
            reference=reference,
            created_at=now,
            updated_at=now,
        )
        row = queries.refund(tx, refund_id)
        self._tell(tx, "refund.pending", refund_id, {**_facts(row, payment), "origin": PROVIDER}, now)
        logger.warning("refund %s of payment %s was made at the provider", refund_id, payment.id)
        return row

    def refund_failed(self, tx: Tx, refund_id: str) -> None:
        """A refund of ours failed at the provider in the end. Where it had succeeded before, its money is back."""
        row = queries.refund(tx, refund_id, lock=True)
        if not row.returned:
            now = tx.now(row.updated_at)
            queries.update_refund(tx, refund_id, returned=True, updated_at=now)
            self._recounted(tx, row.payment_id, refund_id, now)
            give_back(tx, refund_id, now, ids=self.ids)

    def claim(self, tx: Tx, payment: Row, claim: Claim) -> tuple[str, str]:
        """Write down how a dispute or reversal stands; returns its id, and what it is now."""
        row = queries.dispute_at(tx, payment.provider, claim.kind, claim.reference)
        now = tx.now(payment.updated_at, None if row is None else row.updated_at)
        dispute_id = self.ids.new("dsp") if row is None else row.id
        values = {
            "status": claim.status,
            "amount_minor": claim.money.minor,
            "withdrawn_minor": claim.withdrawn_minor,
            "reason": claim.reason[:80],
            "told_at": claim.told_at,
            "updated_at": now,
        }
        if row is None:
            facts = {"provider": payment.provider, "kind": claim.kind, "reference": claim.reference}
            facts |= {"id": dispute_id, "payment_id": payment.id, "currency": claim.money.currency}
            tx.insert(DisputeRow, **facts, **values, created_at=now)
        else:
            queries.update_dispute(tx, dispute_id, **values)
        before = 0 if row is None else row.withdrawn_minor
        excess = self._recounted(tx, payment.id, dispute_id, now)
        self._post_claim(tx, payment, dispute_id, claim.withdrawn_minor - before, now)
        topic = f"{claim.kind}.{claim.status}"
        if row is None or (row.status, row.amount_minor) != (claim.status, claim.money.minor):
            data = {"payment": payment.id, "amount": str(claim.money.minor), "currency": claim.money.currency}
            data |= {"withdrawn": str(claim.withdrawn_minor), "excess": "yes" if excess else "no"}
            self._tell(tx, topic, dispute_id, data, now)
            if claim.withdrawn_minor:
                logger.error("payment %s: %s %s", payment.id, topic, dispute_id)
        return dispute_id, topic

    def _post_claim(self, tx: Tx, payment: Row, dispute_id: str, change: int, now: datetime) -> None:
        if change == 0:
            return
        entries = postings.taken_back(
            direction=payment.direction,
            payee=payment.payee,
            provider_account=f"{payment.provider}:{payment.provider_account}",
            money_minor=abs(change),
            currency=payment.currency,
        )
        number = queries.dispute(tx, dispute_id).postings + 1
        queries.update_dispute(tx, dispute_id, postings=number)
        event = "dispute.withdrawn" if change > 0 else "dispute.given_back"
        entries = entries if change > 0 else postings.reversal(entries)
        ledger.post(tx, event=event, object_id=f"{dispute_id}/{number}", entries=entries, at=now, ids=self.ids)

    def _recounted(self, tx: Tx, payment_id: str, object_id: str, now: datetime) -> bool:
        """Let the payment say what its refunds and disputes add up to; True where that is more than was captured."""
        sums = queries.returns_of(tx, payment_id)
        row = queries.payment(tx, payment_id)
        if sums.excess and not row.excess:
            logger.critical("payment %s: more is going back than was captured, by %s", payment_id, object_id)
            data = {"by": object_id, "captured": str(sums.captured), "back": str(sums.back)}
            outbox.tell(tx, "alarm.excess", payment_id, data, now)
        queries.update_payment(tx, payment_id, **sums.columns, updated_at=now)
        return sums.excess

    def _tell(self, tx: Tx, topic: str, object_id: str, data: dict[str, str], now: datetime) -> None:
        log.record(tx, principal=SYSTEM, action=topic, object_id=object_id, data=data, at=now)
        outbox.tell(tx, topic, object_id, data, now)


def _facts(row: Row, payment: Row) -> dict[str, str]:
    return {"amount": str(row.amount_minor), "currency": row.currency, "payment": payment.id, "from": row.status}
