"""The payments service: charge, refund, continue, verify, reconcile; and what people answer to approvals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agentpay.customers import service as customers
from agentpay.errors import NotFound, PaymentFailed, PolicyDenied, ProviderError, StorageError
from agentpay.payments import queries
from agentpay.payments.asks import ChargeAsk, Opened, RefundAsk, Refused, Stands, Started
from agentpay.payments.attempts import newest
from agentpay.payments.models import Payment, Refund
from agentpay.payments.opening import Opening, stands
from agentpay.payments.recovery import ReconcileReport, Recovery
from agentpay.payments.refunding import Refunding, refund_stands
from agentpay.payments.resolving import Resolving, Word
from agentpay.payments.sending import Sending
from agentpay.payments.settling import Settling
from agentpay.payments.speeding import Speeding
from agentpay.payments.views import payment_view, refund_view
from agentpay.principal import SYSTEM, Principal
from agentpay.providers.base import PaymentProvider, Request
from agentpay.providers.registry import Providers
from agentpay.spending import approvals
from agentpay.spending.models import Approval
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.text import identifier

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PaymentPage:
    """Some of a customer's payments, the newest first; `next_cursor` names where the rest begins."""

    items: tuple[Payment, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class Payments:
    """Charges and refunds. Every verb is idempotent by its key; see the module `opening` for how one runs.

    `waits` is told the id of each approval that a call has just asked for, after the commit.
    """

    store: Store
    providers: Providers
    opening: Opening
    refunding: Refunding
    sending: Sending
    settling: Settling
    recovery: Recovery
    speeding: Speeding
    resolving: Resolving
    waits: Callable[[str], None]

    def charge(self, ask: ChargeAsk) -> Payment:
        """Charge a customer, or send money; or answer a repeat of it.

        Raises:
            PaymentDeclined, NotSent: the call ended so, and no money moved.
            PolicyDenied, Throttled, DuplicateSuspected: an agent may not; no provider was called.
            IdempotencyConflict: the key names another charge.
            ProviderUnknown, ProviderUnsupported: the provider is not enabled, or cannot do this.
        """
        keys.checked_key(ask.key)
        self.expire_approvals()
        return self._payment(self.store.write(lambda tx: self.opening.charge(tx, ask)))

    def repeat(self, principal: Principal, operation: str, key: str, body: Mapping[str, object]) -> Payment | None:
        """The answer to a repeat of a charge whose amount need not be worked out again; None where the key is new.

        Raises:
            IdempotencyConflict: the key names an operation with another body.
            PaymentDeclined, NotSent, PolicyDenied: the payment ended so.
        """
        keys.checked_key(key)
        hashed = keys.body_hash(operation, body)
        known = self.store.read(lambda tx: keys.find(tx, principal, operation, key, hashed))
        if known is None:
            return None
        self.expire_approvals()
        return self._payment(self.store.write(lambda tx: self.opening.repeat(tx, known, principal)))

    def abandon(self, payment_id: str) -> None:
        """Give up a payment that was never sent and has no use any more. Nothing of it can move."""
        self.store.write(lambda tx: self.settling.abandon(tx, payment_id))

    def purpose_of(self, tx: Tx, payment_id: str) -> str:
        """What a payment is for."""
        purpose_id: str = queries.payment(tx, payment_id).purpose_id
        return purpose_id

    def unsent(self, tx: Tx, operation: str) -> Sequence[Row]:
        """The payments of an operation that were never sent, the one that was tried longest ago first."""
        return queries.unsent(tx, operation)

    def refund(self, ask: RefundAsk) -> Refund:
        """Refund a payment, all that is left or a part; or answer a repeat of it.

        Raises:
            NotFound: there is no such payment.
            RefundRefused: more than is left, not paid, or money that was sent.
            PaymentDeclined, NotSent, PolicyDenied, Throttled, IdempotencyConflict: as for `charge`.
        """
        keys.checked_key(ask.key)
        self.expire_approvals()
        stood = self._finish(self.store.write(lambda tx: self.refunding.refund(tx, ask)), self._refund_stands)
        assert isinstance(stood, Refund)
        return stood

    def continue_payment(self, payment_id: str, principal: Principal) -> Payment:
        """Go on with a payment after its customer acted, or after it was approved. Safe to repeat.

        Raises:
            NotFound: there is no such payment.
            PaymentDeclined, NotSent, PolicyDenied: the payment ended so.
        """
        self.recovery.recover(payment_id)
        return self._payment(self.store.write(lambda tx: self._resumed(tx, payment_id, principal)))

    def _resumed(self, tx: Tx, payment_id: str, principal: Principal) -> Opened:
        row = queries.payment(tx, payment_id, lock=True)
        if row.status in ("approval_required", "not_sent"):
            return self.opening.repeat(tx, payment_id, principal)
        last = newest(queries.attempts(tx, payment_id))  # none where it was refused before anything was sent
        if last is None or not {row.status, last.outcome} <= {"requires_action", "pending"}:
            return stands(tx, row, replayed=True)
        provider = self.providers.get(row.provider)
        request = _request_to_go_on(provider, row, last)
        if request is None:
            return stands(tx, row, replayed=True)
        made = self.opening.attempts.open(tx, row, "resume", row.operation, "resume", provider, request)
        return Started("resume", row.id, made, provider, request, reference=last.reference)

    def verify_payment(self, payment_id: str) -> Payment:
        """A payment as it stands, after its provider was asked where it is not final. Never starts anything.

        Raises:
            NotFound: there is no such payment.
        """
        self.recovery.recover(payment_id)
        return self.get_payment(payment_id)

    def speed_up(self, subject_id: str, principal: Principal) -> Payment | Refund:
        """Have the provider replace what waits of a payment or refund by the same with a better chance: see `speeding`.

        Raises:
            NotFound, Conflict, ProviderUnsupported, ProviderError: nothing was replaced.
        """
        self.speeding.speed_up(subject_id, principal)
        if subject_id.startswith("ref_"):
            return self.store.read(lambda tx: refund_view(tx, queries.refund(tx, subject_id)))
        return self.get_payment(subject_id)

    def get_payment(self, payment_id: str, *, agent: str | None = None) -> Payment:
        """A payment as it stands; an agent's own only, where one is named.

        Raises:
            NotFound: there is none, or it is another's.
        """
        return self.store.read(lambda tx: payment_view(tx, self._visible(tx, payment_id, agent)))

    def by_key(self, principal: Principal, operation: str, key: str) -> Payment | Refund:
        """What an idempotency key of one's own names, as it stands.

        Raises:
            NotFound: the key names nothing, or nothing that was paid for.
        """

        def read(tx: Tx) -> Payment | Refund:
            target = keys.target_of(tx, principal, operation, key)
            if target is not None and target.startswith("ref_"):
                return refund_view(tx, queries.refund(tx, target), replayed=True)
            if target is not None and target.startswith("pay_"):
                return payment_view(tx, queries.payment(tx, target), replayed=True)
            raise NotFound(
                f"The key {key[:60]!r} names no {operation} of yours.",
                next_step="No payment exists under this key: the call can be made.",
            )

        return self.store.read(read)

    def list_payments(
        self,
        customer: str,
        *,
        agent: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        no_agents: bool = False,
    ) -> PaymentPage:
        """A customer's payments, the newest first: all of them, or a page of at most `limit`.

        With `agent` only that agent's; with `no_agents` only those that no agent made.
        """

        def read(tx: Tx) -> PaymentPage:
            before = self._position(tx, cursor, agent)
            known = customers.known(tx, customer)
            if known is None:
                return PaymentPage((), None)
            wanted = None if limit is None else limit + 1
            rows = queries.of_customer(tx, known.id, agent=agent, limit=wanted, before=before, no_agents=no_agents)
            shown = rows if limit is None else rows[:limit]
            more = shown[-1].id if len(rows) > len(shown) else None
            return PaymentPage(tuple(payment_view(tx, row) for row in shown), more)

        return self.store.read(read)

    def newest(self, limit: int, status: str | None = None) -> tuple[Payment, ...]:
        """The newest payments of all customers."""
        return self.store.read(lambda tx: tuple(payment_view(tx, row) for row in queries.newest(tx, limit, status)))

    def refunds_of(self, payment_id: str) -> tuple[Refund, ...]:
        """The refunds of a payment."""
        return self.store.read(lambda tx: tuple(refund_view(tx, row) for row in queries.refunds_of(tx, payment_id)))

    def reconcile(self, *, limit: int = 20, seconds: float = 2.0, every: bool = False) -> ReconcileReport:
        """Look up what is not final, see `recovery`; and go on with payments whose customers approved meanwhile."""
        self.expire_approvals()
        end = self.recovery.monotonic() + seconds
        report = self.recovery.reconcile(limit=limit, seconds=seconds, every=every)
        names = self.providers.names
        for payment_id in self.store.read(lambda tx: queries.approved(tx, limit, names)):
            if self.recovery.monotonic() > end:
                break
            self.go_on(payment_id)
        return report

    def go_on(self, payment_id: str) -> bool:
        """Continue a payment whose customer approved it at a provider that gives the money only when it is asked for
        then. False where there is nothing to go on with, or its agent is halted. Safe to repeat, from anywhere.

        Raises:
            NotFound: there is no such payment.
        """
        if not self.store.read(lambda tx: self._may_go_on(tx, payment_id)):
            return False
        try:
            self.continue_payment(payment_id, SYSTEM)
        except (PaymentFailed, ProviderError, PolicyDenied) as ended:  # how it ended is written down
            logger.info("payment %s was continued: %s", payment_id, ended.code)
        return True

    def _may_go_on(self, tx: Tx, payment_id: str) -> bool:
        row = queries.payment(tx, payment_id)
        last = newest(queries.attempts(tx, payment_id))
        if last is None or (row.status, last.outcome) != ("pending", "pending") or last.reference is None:
            return False
        if row.principal_kind == "agent" and self.opening.gate.is_halted(tx, row.principal_id):
            return False
        return _request_to_go_on(self.providers.get(row.provider), row, last) is not None

    def resolve(self, subject_id: str, word: Word) -> Payment | Refund:
        """Settle a payment or refund whose outcome is unknown by what people say; see `resolving`.

        Raises:
            NotFound: there is no such payment or refund.
            Conflict: its outcome is not unknown, or its call may still be under way.
        """
        self.resolving.resolve(subject_id, word)
        read = self._refund_stands if subject_id.startswith("ref_") else self._payment_stands
        return self.store.read(lambda tx: read(tx, subject_id)).view

    def answer(self, approval_id: str, approver: str, verdict: str) -> Approval:
        """Enter an approver's word, whose secret was checked. A denial refuses the payment at once."""
        self.expire_approvals()

        def write(tx: Tx) -> Approval:
            owner_id = approvals.owner_of(tx, approval_id)
            self._lock_owner(tx, owner_id)
            answer = approvals.vote(tx, approval_id, approver, verdict)
            if answer.status == "denied":
                self.settling.close_unpaid(tx, owner_id, Principal("operator", approver))
            return approvals.get(tx, approval_id, agent_id=None)

        return self.store.write(write)

    def expire_approvals(self, limit: int = 50) -> int:
        """End the approvals whose time has run out, so that what they hold is free. Returns how many."""
        due = self.store.read(lambda tx: approvals.due(tx, tx.now(), limit))
        return sum(self._expired(row) for row in due)

    def end_overdue(self, tx: Tx) -> None:
        """The same within a transaction, for whoever asks what would be."""
        for row in approvals.due(tx, tx.now(), 50):
            self._expire(tx, row)

    def _expired(self, row: Row) -> bool:
        """End one of many: what keeps it from ending keeps no other from it, nor a charge from being made."""
        try:
            return self.store.write(lambda tx: self._expire(tx, row))
        except StorageError as exc:
            logger.error("approval %s cannot be ended: %s", row.id, exc.code)
            return False

    def _expire(self, tx: Tx, row: Row) -> bool:
        self._lock_owner(tx, row.owner_id)
        ended = approvals.expire(tx, row.id, SYSTEM)
        if ended is not None:
            self.settling.close_unpaid(tx, row.owner_id, SYSTEM)
        return ended is not None

    def _lock_owner(self, tx: Tx, owner_id: str) -> None:
        if owner_id.startswith("ref_"):
            queries.payment(tx, queries.refund(tx, owner_id).payment_id, lock=True)
            queries.refund(tx, owner_id, lock=True)
        else:
            queries.payment(tx, owner_id, lock=True)

    def _payment(self, opened: Opened) -> Payment:
        stood = self._finish(opened, self._payment_stands)
        assert isinstance(stood, Payment)
        return stood

    def _finish(self, opened: Opened, read: Callable[[Tx, str], Stands]) -> Payment | Refund:
        """Send what was started; ask the provider about what is stale; answer or raise as it stands then."""
        match opened:
            case Refused(error):
                raise error
            case Started():
                self.sending.send(opened)
                stood = self.store.read(lambda tx: read(tx, opened.subject_id))
            case Stands(view=view, stale=True):
                self.recovery.recover(view.id)
                stood = self.store.read(lambda tx: read(tx, view.id))
                stood = replace(stood, view=replace(stood.view, replayed=True))
            case Stands(view=view):
                stood = opened
                if view.status == "approval_required" and view.approval_id is not None and not view.replayed:
                    self.waits(view.approval_id)
        if stood.refusal is not None:
            raise stood.refusal
        return stood.view

    def _payment_stands(self, tx: Tx, payment_id: str) -> Stands:
        return stands(tx, queries.payment(tx, payment_id), replayed=False)

    def _refund_stands(self, tx: Tx, refund_id: str) -> Stands:
        return refund_stands(tx, queries.refund(tx, refund_id), replayed=False)

    def _visible(self, tx: Tx, payment_id: str, agent: str | None) -> Row:
        row = queries.payment(tx, identifier(payment_id, "payment_id"))  # no database takes every text
        if agent is not None and (row.principal_kind, row.principal_id) != ("agent", agent):
            raise NotFound(f"There is no payment {payment_id[:60]!r}.")
        return row

    def _position(self, tx: Tx, cursor: str | None, agent: str | None) -> tuple[datetime, str] | None:
        if cursor is None:
            return None
        row = self._visible(tx, cursor, agent)
        return row.created_at, row.id


def _request_to_go_on(provider: PaymentProvider, row: Row, last: Row) -> Request | None:
    """The request by which a payment goes on now; None where there is none, or where it only takes its time."""
    if (row.status, last.outcome) == ("pending", "pending") and not provider.capabilities().pending_goes_on:
        return None
    return provider.prepare_resume(last.reference)
