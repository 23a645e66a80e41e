"""Sending an unanswered request again: the same bytes under the same key, where nothing else tells what became of it.

It is the last means of a reconcile, at a provider that promises `Capabilities.replay` and whose look-ups prove nothing.
The request may arrive for the first time by it, so it must still be wanted: the attempt's lease is over, the key is
well within its life, the hold still stands, and the gate would allow the same again now. It is the same attempt: no new
row, no new key, no new hold; its lease is taken anew, so that no other reconcile does the same. Where it is not taken
this time, it stays unknown: what was sent before may have moved the money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay.errors import AgentPayError
from agentpay.payments import queries
from agentpay.payments.asks import Kind, Made, Started
from agentpay.payments.attempts import begun_before, lease, stored_request
from agentpay.payments.opening import Opening, order_of
from agentpay.payments.refunding import Refunding, refund_order_of
from agentpay.payments.sending import Sending
from agentpay.payments.settling import Settling
from agentpay.providers.base import Order, PaymentProvider, RefundOrder, Request
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx

UNANSWERED: Final = ("sent", "unknown")
_LIFE_KEPT_BACK: Final = 10
"""A tenth of a key's life is not used: our clock and the provider's may differ."""


@dataclass(frozen=True)
class _How:
    """By which method of the provider the stored request goes out again."""

    kind: Kind
    order: Order | RefundOrder | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Replaying:
    """Sends attempts again."""

    store: Store
    opening: Opening
    refunding: Refunding
    sending: Sending
    settling: Settling
    monotonic: Callable[[], float]

    def replay(self, attempt: Row, provider: PaymentProvider) -> bool:
        """Send an attempt again and settle what comes back. False where it may not be sent; then nothing was done.

        `attempt` is as a look-up that found nothing knew it: where its lease was taken anew since, it is left alone.
        """
        can = provider.capabilities()
        if not can.replay or can.consistent_lookup or attempt.outcome not in UNANSWERED:
            return False
        started = self.store.write(lambda tx: self._reopened(tx, attempt, provider))
        if started is None:
            return False
        self.sending.send(started, again=True)
        return True

    def wanted(self, attempt: Row, provider: PaymentProvider) -> bool:
        """Whether what is stored of an attempt may go out again: it may still run, and would be allowed now."""

        def decide(tx: Tx) -> bool:
            refund = attempt.subject_kind == "refund"
            parent = (
                queries.payment(tx, queries.refund(tx, attempt.subject_id).payment_id, lock=True) if refund else None
            )
            subject = (queries.refund if refund else queries.payment)(tx, attempt.subject_id, lock=True)
            may_run = subject.status in ("pending", "unknown")
            return may_run and self._still_allowed(tx, subject, parent, provider)

        return self.store.write(decide)

    def _reopened(self, tx: Tx, known: Row, provider: PaymentProvider) -> Started | None:
        refund = known.subject_kind == "refund"
        parent = queries.payment(tx, queries.refund(tx, known.subject_id).payment_id, lock=True) if refund else None
        subject = (queries.refund if refund else queries.payment)(tx, known.subject_id, lock=True)
        attempt = queries.attempt(tx, known.id, lock=True)
        now = tx.now()
        if (attempt.outcome, attempt.lease_until) != (known.outcome, known.lease_until):
            return None
        if now < attempt.lease_until or not key_lives(attempt.sent_at, now, provider):
            return None
        how = self._how(tx, attempt, subject, parent, provider)
        if how is None or not self._still_allowed(tx, subject, parent, provider):
            return None
        until = now + lease(provider)
        queries.update_attempt(tx, attempt.id, outcome="sent", lease_until=until, next_check_at=until)
        self.settling.sent_again(tx, subject, attempt, refund=refund)
        made, request = Made(attempt.id, attempt.provider_key, self.monotonic(), until), stored_request(attempt)
        return Started(how.kind, subject.id, made, provider, request, order=how.order, reference=how.reference)

    def _how(self, tx: Tx, attempt: Row, subject: Row, parent: Row | None, provider: PaymentProvider) -> _How | None:
        steps = queries.attempts(tx, subject.id)
        if attempt.number != steps[-1].number:
            return None
        if parent is not None:
            return _How("refund", order=refund_order_of(tx, subject, parent)) if attempt.step == "refund" else None
        begun = begun_before(attempt, steps)
        if begun is None:
            return _How("charge", order=order_of(tx, subject)) if attempt.step == "charge" else None
        again: Request | None = provider.prepare_resume(begun.reference)
        return _How("resume", reference=begun.reference) if again == stored_request(attempt) else None

    def _still_allowed(self, tx: Tx, subject: Row, parent: Row | None, provider: PaymentProvider) -> bool:
        try:
            if parent is not None:
                return self.refunding.still_allowed(tx, subject, parent, provider)
            return self.opening.still_allowed(tx, subject, provider)
        except AgentPayError:  # what it was for is not wanted any more
            return False


def key_lives(sent_at: datetime, now: datetime, provider: PaymentProvider) -> bool:
    """Whether the provider still knows the key of a request that was first sent at a moment, with a margin."""
    life = provider.capabilities().key_life
    return sent_at <= now and (life is None or now + lease(provider) < sent_at + life - life / _LIFE_KEPT_BACK)
