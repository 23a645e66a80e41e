"""Settling: one transaction that writes down what became of an attempt, and all that follows from it.

    outcome → attempt → payment or refund → hold captured, released, voided or kept → ledger → purpose → audit → outbox

It may be told the same outcome any number of times, by the call itself, by a repeat, by a reconcile: the first counts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from agentpay.audit import log
from agentpay.errors import StorageError
from agentpay.ids import Ids
from agentpay.ledger import postings
from agentpay.ledger import service as ledger
from agentpay.payments import queries, states
from agentpay.payments.asks import Purpose
from agentpay.payments.attempts import begun_before
from agentpay.payments.returning import give_back
from agentpay.principal import SYSTEM, Principal
from agentpay.providers.outcomes import (
    Declined,
    NotSent,
    Outcome,
    RequiresAction,
    Succeeded,
    Unknown,
    checked,
    name_of,
)
from agentpay.spending import approvals, holds
from agentpay.storage import outbox, texts
from agentpay.storage.transaction import Row, Tx

logger = logging.getLogger(__name__)

BACK_OFF: Final = (timedelta(minutes=5), timedelta(hours=1), timedelta(days=1))
"""How long to wait before an open attempt is looked up again: the last one for ever."""


@dataclass(frozen=True)
class Settling:
    """Writes outcomes down. `purposes` says what a payment means to what it is for."""

    ids: Ids
    purposes: Mapping[str, Purpose]

    def settle(
        self, tx: Tx, attempt_id: str, answer: object, *, by: Principal = SYSTEM, lease: datetime | None = None
    ) -> None:
        """Write down what became of an attempt; what is no outcome is Unknown.

        `lease` is the end of the attempt's lease as a look-up knew it: where the sender has taken it anew since, that
        look-up proves nothing. Of a step that a later one replaced, only a success still counts.
        """
        outcome = checked(answer)
        subject_id = queries.attempt(tx, attempt_id).subject_id
        refund = subject_id.startswith("ref_")
        parent = queries.payment(tx, queries.refund(tx, subject_id).payment_id, lock=True) if refund else None
        subject = (queries.refund if refund else queries.payment)(tx, subject_id, lock=True)
        attempt = queries.attempt(tx, attempt_id, lock=True)
        if isinstance(outcome, NotSent) and lease not in (None, attempt.lease_until):
            return
        steps = queries.attempts(tx, subject_id)
        if attempt.number < steps[-1].number and not isinstance(outcome, Succeeded):
            return
        if isinstance(outcome, NotSent) and begun_before(attempt, steps) is not None:
            outcome = Unknown(evidence="a later step was not sent; what was begun before it stands")
        name = name_of(outcome)
        if not states.says_more(attempt.outcome, name):
            return
        now = tx.now(subject.updated_at, attempt.sent_at)
        self._keep_attempt(tx, attempt, outcome, now)
        step = states.after(subject.status, name)
        if name == "succeeded" and subject.status == "succeeded" and not _counted(steps, attempt, outcome):
            self._moved_twice(tx, subject, parent, attempt, by, now)
        if isinstance(outcome, RequiresAction) and step.status == subject.status and parent is None:
            self._asked_again(tx, subject, outcome, now)
        if step.effect == "none" or (step.status == subject.status and step.effect == "keep"):
            return
        stand_in = self._stand_in(tx, parent, outcome, now)
        if parent is not None:
            self._refund_moved(tx, subject, parent, step, now)
        else:
            self._payment_moved(tx, subject, outcome, step, now)
        self._apply_hold(tx, subject_id, step.effect, now, None if parent is None else parent.id)
        if stand_in is not None:
            give_back(tx, stand_in, now, ids=self.ids, same_as=subject_id)
        if step.status == "succeeded":
            self.post(tx, subject, parent, now)
        if step.effect == "late":
            self._moved_late(tx, subject, attempt, by, now)
        self._tell(tx, subject, "refund" if refund else "payment", step, name, by, now)
        if refund:
            give_back(tx, subject_id, now, ids=self.ids)  # where its failure was heard before its success

    def _keep_attempt(self, tx: Tx, attempt: Row, outcome: Outcome, now: datetime) -> None:
        name = name_of(outcome)
        settled = name in ("succeeded", "declined", "not_sent")
        values: dict[str, Any] = {
            "outcome": name,
            "settled_at": now if settled else None,
            "next_check_at": None if settled else now + BACK_OFF[min(attempt.checks, len(BACK_OFF) - 1)],
            "checks": attempt.checks + 1,
        }
        reference = getattr(outcome, "reference", None)
        if reference is not None:
            values["reference"] = reference
        evidence = getattr(outcome, "evidence", None)
        if evidence is not None:
            values["evidence"] = evidence[:500]
        queries.update_attempt(tx, attempt.id, **values)

    def postpone(self, tx: Tx, attempt_id: str) -> None:
        """Look an attempt up later, because what was found could not be written down."""
        attempt = queries.attempt(tx, attempt_id, lock=True)
        if attempt.next_check_at is not None:
            later = tx.now(attempt.sent_at) + BACK_OFF[min(attempt.checks, len(BACK_OFF) - 1)]
            queries.update_attempt(tx, attempt_id, next_check_at=later, checks=attempt.checks + 1)

    def sent_again(self, tx: Tx, subject: Row, attempt: Row, *, refund: bool) -> None:
        """The request of an attempt goes out once more under its key: what was unknown is under way again."""
        now = tx.now(subject.updated_at, attempt.sent_at)
        data = {"subject": subject.id, "outcome": attempt.outcome}
        log.record(tx, principal=SYSTEM, action="attempt.sent_again", object_id=attempt.id, data=data, at=now)
        if subject.status != "pending":
            (queries.update_refund if refund else queries.update_payment)(
                tx, subject.id, status="pending", updated_at=now
            )
            step = states.Step("pending", "keep")
            self._tell(tx, subject, "refund" if refund else "payment", step, "sent_again", SYSTEM, now)

    def _apply_hold(self, tx: Tx, owner_id: str, effect: states.Effect, now: datetime, refunded: str | None) -> None:
        match effect:
            case "capture":
                holds.capture(tx, owner_id, now, refunded=refunded)
            case "release":
                holds.release(tx, owner_id, now)
            case "void":
                holds.void(tx, owner_id, now)
                approvals.give_back(tx, owner_id, now)
            case "late":
                holds.recapture(tx, owner_id, now, refunded=refunded)
                approvals.supersede_open(tx, owner_id, now)

    def _payment_moved(self, tx: Tx, row: Row, outcome: Outcome, step: states.Step, now: datetime) -> None:
        values: dict[str, Any] = {"status": step.status, "updated_at": now}
        match outcome:
            case Succeeded():
                values["captured_minor"] = row.amount_minor
                values["late"] = row.late or step.effect == "late"
            case RequiresAction(url=url, instructions=instructions):
                values["url"] = url
                texts.replace(tx, row.id, "instructions", instructions)
            case Declined(code=code, message=message):
                values["decline_code"] = code[:80]
                texts.keep(tx, row.id, "decline", message[:500])
        queries.update_payment(tx, row.id, **values)
        self._purpose(tx, row, now)

    def _asked_again(self, tx: Tx, row: Row, outcome: RequiresAction, now: datetime) -> None:
        """The provider asks the customer for something else now: what it asked first is of no use any more."""
        if outcome.url is not None:
            queries.update_payment(tx, row.id, url=outcome.url, updated_at=now)
        if outcome.instructions is not None:
            texts.replace(tx, row.id, "instructions", outcome.instructions)

    def _moved_twice(self, tx: Tx, row: Row, parent: Row | None, attempt: Row, by: Principal, now: datetime) -> None:
        """Two attempts of one payment succeeded, against every proof: it is flagged, and the money is nobody's yet."""
        queries.update_payment(tx, (parent or row).id, late=True, updated_at=now)
        entries = postings.unallocated(self._entries(tx, row, parent))
        ledger.post(tx, event="attempt.moved_twice", object_id=attempt.id, entries=entries, at=now, ids=self.ids)
        data = {"attempt": attempt.id, "amount": str(row.amount_minor), "currency": row.currency}
        log.record(tx, principal=by, action="payment.moved_twice", object_id=attempt.id, data=data, at=now)
        self._alarm(tx, "moved_twice", row, data, now)
        logger.critical("payment %s moved money twice: attempt %s", row.id, attempt.id)

    def _moved_late(self, tx: Tx, row: Row, attempt: Row, by: Principal, now: datetime) -> None:
        """The money moved after its hold was let go, perhaps above a cap: it stands, and somebody must look at it."""
        data = {"attempt": attempt.id, "from": row.status, "amount": str(row.amount_minor), "currency": row.currency}
        log.record(tx, principal=by, action="payment.moved_late", object_id=row.id, data=data, at=now)
        self._alarm(tx, "moved_late", row, data, now)
        logger.error("payment %s moved money late: it was %s before; attempt %s", row.id, row.status, attempt.id)

    def _alarm(self, tx: Tx, what: str, row: Row, data: Mapping[str, object], now: datetime) -> None:
        outbox.tell(tx, f"alarm.{what}", row.id, data, now)

    def _purpose(self, tx: Tx, row: Row, now: datetime) -> None:
        meaning = self.purposes.get(row.purpose)
        if meaning is not None:
            meaning.settled(tx, queries.payment(tx, row.id), now)

    def _refund_moved(self, tx: Tx, row: Row, payment: Row, step: states.Step, now: datetime) -> None:
        """Write down the refund's state, and let the payment say what its refunds add up to."""
        queries.update_refund(tx, row.id, status=step.status, updated_at=now)
        sums = queries.returns_of(tx, payment.id).columns
        late = payment.late or step.effect == "late"
        queries.update_payment(tx, payment.id, **sums, late=late, updated_at=now)

    def _stand_in(self, tx: Tx, payment: Row | None, outcome: Outcome, now: datetime) -> str | None:
        """The refund that was written down as made at the provider, and is the one that succeeds now: a restored copy
        heard of it before it was asked for again by its key. It counts no more; its money moved once."""
        if payment is None or not isinstance(outcome, Succeeded):
            return None
        row = queries.refund_at(tx, payment.id, outcome.reference)
        if row is None or row.returned:
            return None
        queries.update_refund(tx, row.id, returned=True, updated_at=now)
        if row.status == "pending":
            queries.update_refund(tx, row.id, status="declined")
            self._tell(tx, row, "refund", states.Step("declined", "none"), "declined", SYSTEM, now)
        return str(row.id)

    def abandon(self, tx: Tx, payment_id: str, by: Principal = SYSTEM) -> None:
        """A payment that was never sent is not to be tried again: it is canceled."""
        row = queries.payment(tx, payment_id, lock=True)
        if row.status != "not_sent":
            return
        now = tx.now(row.updated_at)
        queries.update_payment(tx, payment_id, status="canceled", updated_at=now)
        self._purpose(tx, row, now)
        self._tell(tx, row, "payment", states.Step("canceled", "none"), "canceled", by, now)

    def close_unpaid(self, tx: Tx, owner_id: str, by: Principal) -> None:
        """An approval was denied or has expired: what it was about is refused, and nothing of it was ever sent."""
        refund = owner_id.startswith("ref_")
        parent = queries.payment(tx, queries.refund(tx, owner_id).payment_id, lock=True) if refund else None
        row = (queries.refund if refund else queries.payment)(tx, owner_id, lock=True)
        if row.status not in ("approval_required", "not_sent"):
            return
        now = tx.now(row.updated_at)
        step = states.Step("refused", "void")
        if parent is not None:
            if row.status == "approval_required":
                self._refund_moved(tx, row, parent, step, now)
            queries.update_refund(tx, owner_id, status="refused", updated_at=now)
        else:
            queries.update_payment(tx, owner_id, status="refused", updated_at=now)
            self._purpose(tx, row, now)
        self._tell(tx, row, "refund" if refund else "payment", step, "refused", by, now)

    def post(self, tx: Tx, row: Row, parent: Row | None, now: datetime) -> None:
        """Post the movement: `row` is the payment, or the refund of `parent`."""
        event, entries = "payment.succeeded" if parent is None else "refund.succeeded", self._entries(tx, row, parent)
        if not ledger.post(tx, event=event, object_id=row.id, entries=entries, at=now, ids=self.ids):
            raise StorageError(f"{event} of {row.id} was posted before.")

    def _entries(self, tx: Tx, row: Row, parent: Row | None) -> tuple[postings.Entry, ...]:
        charged = parent or row
        account = f"{charged.provider}:{charged.provider_account}"
        if parent is None:
            return postings.charge_captured(
                direction=row.direction,
                payee=row.payee,
                provider_account=account,
                money_minor=row.amount_minor,
                currency=row.currency,
                purpose="credits" if row.purpose == "credits" else "sale",
                customer_id=row.customer_id,
            )
        credits = parent.purpose == "credits"
        left = ledger.lock_credit(tx, parent.customer_id, parent.currency) if credits else 0
        return postings.refunded(
            payee=parent.payee,
            provider_account=account,
            money_minor=row.amount_minor,
            currency=row.currency,
            purpose="credits" if credits else "sale",
            customer_id=parent.customer_id,
            credits_left_minor=left,
        )

    def _tell(self, tx: Tx, row: Row, kind: str, step: states.Step, outcome: str, by: Principal, now: datetime) -> None:
        """The audit row and the outbox row of a transition."""
        topic = f"{kind}.{step.status}"
        data: dict[str, object] = {
            "outcome": outcome,
            "from": row.status,
            "amount": str(row.amount_minor),
            "currency": row.currency,
            "late": "yes" if step.effect == "late" else "no",
        }
        log.record(tx, principal=by, action=topic, object_id=row.id, data=data, at=now)
        outbox.tell(tx, topic, row.id, data, now)


def _counted(steps: Sequence[Row], attempt: Row, outcome: Outcome) -> bool:
    """Whether another request of the same payment has the same thing of the provider's as its success: one movement,
    told twice, such as an order and its capture."""
    reference = getattr(outcome, "reference", None)
    others = (step for step in steps if step.id != attempt.id and step.outcome == "succeeded")
    return any(step.reference == reference for step in others)
