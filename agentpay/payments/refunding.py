"""Opening a refund: one transaction that reserves what is refunded: parallel refunds never exceed the charge."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.errors import AgentPayError, RefundRefused
from agentpay.ids import Ids
from agentpay.payments import queries
from agentpay.payments.asks import Opened, RefundAsk, Stands, Started, effect_digest
from agentpay.payments.attempts import Attempts, newest
from agentpay.payments.claiming import Claimed, claim
from agentpay.payments.describing import refund_request
from agentpay.payments.refusing import Refusals, denial
from agentpay.payments.tables import RefundRow
from agentpay.payments.views import refund_view, refusal_of
from agentpay.principal import Principal
from agentpay.providers.base import PaymentProvider, RefundOrder
from agentpay.providers.limits import check_refund
from agentpay.providers.registry import Providers
from agentpay.spending.gate import Gate
from agentpay.spending.models import Allowed, Ask, Denied, Parked, Verdict
from agentpay.spending.throttle import Throttle
from agentpay.storage import keys, texts
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


@dataclass(frozen=True)
class Refunding:
    """Opens refunds, and runs those again that were approved or never sent."""

    ids: Ids
    gate: Gate
    throttle: Throttle
    attempts: Attempts
    providers: Providers

    def refund(self, tx: Tx, ask: RefundAsk) -> Opened:
        """Open a refund, or answer a repeat of it."""
        hashed = keys.body_hash("refund", ask.body)
        try:
            known = keys.find(tx, ask.principal, "refund", ask.key, hashed)
            with tx.conn.begin_nested():
                return self._new(tx, ask, hashed) if known is None else self.again(tx, known)
        except Claimed as faster:
            return self._repeat(tx, ask, faster.subject_id)
        except AgentPayError as error:
            return Refusals(self.throttle).record(tx, ask.principal, "refund", error)

    def _repeat(self, tx: Tx, ask: RefundAsk, refund_id: str) -> Opened:
        """Answer a repeat by its refund. One that is refused keeps nothing but its audit row: no amount reserved."""
        try:
            with tx.conn.begin_nested():
                return self.again(tx, refund_id)
        except AgentPayError as error:
            return Refusals(self.throttle).record(tx, ask.principal, "refund", error)

    def _new(self, tx: Tx, ask: RefundAsk, hashed: str) -> Opened:
        refund_id, now = self.ids.new("ref"), tx.now()
        claim(tx, self.throttle, ask, "refund", hashed, refund_id, now)
        payment = queries.payment(tx, ask.payment_id, lock=True)
        self._refuse_stranger(tx, ask, payment)
        row = self._reserve(tx, ask, payment, refund_id)
        provider = self.providers.get(payment.provider)
        if ask.principal.kind != "agent":
            return self._start(tx, row, payment, provider)
        return self._decided(tx, row, payment, provider, self._authorize(tx, row, payment, provider))

    def _refuse_stranger(self, tx: Tx, ask: RefundAsk, payment: Row) -> None:
        """Refuse an agent another's payment before anything about it is said: neither its state nor what is left."""
        if ask.principal.kind != "agent" or _own(payment, ask.principal):
            return
        least = Money.from_minor(1, payment.currency)
        denied = self.gate.permit_of_some_size(tx, refund_request(tx, payment, ask.principal.id, least))
        if denied is not None:
            raise denial(_said_of_anothers(denied))

    def _reserve(self, tx: Tx, ask: RefundAsk, payment: Row, refund_id: str) -> Row:
        """Check that so much is left, and take it out of what others may refund."""
        left = queries.left_to_refund(payment)
        if payment.direction == "send":
            raise RefundRefused("Money that was sent cannot be refunded.", payment_id=payment.id)
        if payment.status != "succeeded":
            raise RefundRefused(f"The payment is {payment.status}, not paid.", payment_id=payment.id)
        if left == 0:
            raise RefundRefused(f"Nothing is left to refund{_disputed(payment)}.", payment_id=payment.id)
        money = Money.from_minor(left, payment.currency) if ask.amount is None else Money(ask.amount, payment.currency)
        if money.minor > left:
            rest = Money.from_minor(left, payment.currency)
            much = f"{money} is more than the {rest} that are left to refund{_disputed(payment)}."
            raise RefundRefused(much, payment_id=payment.id)
        if money.minor == 0:
            raise RefundRefused("A refund is more than nothing.", payment_id=payment.id)
        check_refund(self.providers.get(payment.provider), partial=money.minor < payment.captured_minor)
        now = tx.now(payment.updated_at)
        facts = {
            "id": refund_id,
            "payment_id": payment.id,
            "principal_kind": ask.principal.kind,
            "principal_id": ask.principal.id,
            "amount_minor": money.minor,
            "currency": payment.currency,
            "status": "pending",
            "idempotency_key": ask.key,
            "created_at": now,
            "updated_at": now,
        }
        digest = effect_digest(facts, self.providers.get(payment.provider))
        tx.insert(RefundRow, **facts, digest=digest)
        queries.update_payment(tx, payment.id, refunding_minor=payment.refunding_minor + money.minor, updated_at=now)
        texts.keep(tx, refund_id, "description", ask.reason)
        return queries.refund(tx, refund_id)

    def again(self, tx: Tx, refund_id: str) -> Opened:
        """Answer a repeat by what stands; run it where it was approved meanwhile, or proved never to have been sent."""
        payment = queries.payment(tx, queries.refund(tx, refund_id).payment_id, lock=True)
        row = queries.refund(tx, refund_id, lock=True)
        if row.status == "not_sent" or (row.status == "approval_required" and self.gate.has_approval(tx, row.id)):
            provider = self.providers.get(payment.provider)
            if row.status == "not_sent":
                self._reserve_again(tx, row, payment)
            elif queries.returns_of(tx, payment.id).excess:  # its money goes back by other ways since it was asked for
                raise _not_left(payment)
            if row.principal_kind != "agent":
                return self._start(tx, row, payment, provider)
            return self._decided(tx, row, payment, provider, self._authorize(tx, row, payment, provider))
        return refund_stands(tx, row, replayed=True)

    def _reserve_again(self, tx: Tx, row: Row, payment: Row) -> None:
        left = queries.left_to_refund(payment)
        if row.amount_minor > left:
            raise _not_left(payment)
        queries.update_payment(tx, payment.id, refunding_minor=payment.refunding_minor + row.amount_minor)

    def still_allowed(self, tx: Tx, row: Row, payment: Row, provider: PaymentProvider) -> bool:
        """Whether a refund that was opened may still be sent: its money is still there, and the gate would let it."""
        if queries.returns_of(tx, payment.id).excess:
            return False
        if row.principal_kind != "agent":
            return not self.gate.all_halted(tx)
        return self.gate.still_allows(tx, self._ask(tx, row, payment, provider))

    def _authorize(self, tx: Tx, row: Row, payment: Row, provider: PaymentProvider) -> Verdict:
        return self.gate.authorize(tx, self._ask(tx, row, payment, provider))

    def _ask(self, tx: Tx, row: Row, payment: Row, provider: PaymentProvider) -> Ask:
        principal = Principal(row.principal_kind, row.principal_id)
        request = refund_request(tx, payment, principal.id, Money.from_minor(row.amount_minor, row.currency))
        return Ask(
            request=request,
            owner_id=row.id,
            operation="refund",
            key=row.idempotency_key,
            digest=effect_digest(row._mapping, provider),
            customer_id=payment.customer_id,
            provider=payment.provider,
        )

    def _decided(self, tx: Tx, row: Row, payment: Row, provider: PaymentProvider, verdict: Verdict) -> Opened:
        match verdict:
            case Denied():
                exists = row.status in ("approval_required", "not_sent")
                raise denial(verdict, owner_id=row.id if exists else None)
            case Parked():
                now = tx.now(row.updated_at)
                queries.update_refund(tx, row.id, status="approval_required", updated_at=now)
                self._audit(tx, row, "refund.approval_required")
                return refund_stands(tx, queries.refund(tx, row.id), replayed=False)
            case Allowed():
                return self._start(tx, row, payment, provider)

    def _start(self, tx: Tx, row: Row, payment: Row, provider: PaymentProvider) -> Started:
        order = refund_order_of(tx, row, payment)
        request = provider.prepare_refund(order)
        made = self.attempts.open(tx, row, "refund", "refund", "refund", provider, request)
        queries.update_refund(tx, row.id, status="pending", updated_at=tx.now(row.updated_at))
        self._audit(tx, row, "refund.opened")
        return Started("refund", row.id, made, provider, request, order=order)

    def _audit(self, tx: Tx, row: Row, action: str) -> None:
        principal = Principal(row.principal_kind, row.principal_id)
        data = {"amount": str(row.amount_minor), "currency": row.currency, "payment": row.payment_id}
        log.record(tx, principal=principal, action=action, object_id=row.id, data=data, at=tx.now(row.updated_at))


def _not_left(payment: Row) -> RefundRefused:
    return RefundRefused(f"So much is not left to refund any more{_disputed(payment)}.", payment_id=payment.id)


def _disputed(payment: Row) -> str:
    if payment.disputed_minor == 0:
        return ""
    return f"; {Money.from_minor(payment.disputed_minor, payment.currency)} are disputed"


def _own(payment: Row, principal: Principal) -> bool:
    return (payment.principal_kind, payment.principal_id) == (principal.kind, principal.id)


def refund_order_of(tx: Tx, row: Row, payment: Row) -> RefundOrder:
    """The order that a refund's row stands for."""
    charged = [attempt for attempt in queries.attempts(tx, payment.id) if attempt.outcome == "succeeded"]
    return RefundOrder(
        refund_id=row.id,
        payment_id=payment.id,
        charge_reference=charged[-1].reference,
        money=Money.from_minor(row.amount_minor, row.currency),
        payee=Payee.parse(payment.payee),
        customer=customers.reference_of(tx, payment.customer_id, payment.provider),
    )


def _said_of_anothers(denied: Denied) -> Denied:
    """That a payment is another's is all that is said of it: not in which currency it was, nor for whom."""
    only = tuple(found for found in denied.violations if found.code == "NOT_OWN_PAYMENT")
    return replace(denied, decision=replace(denied.decision, violations=only)) if only else denied


def refund_stands(tx: Tx, row: Row, *, replayed: bool) -> Stands:
    """The answer that a refund's row is."""
    last = newest(queries.attempts(tx, row.id))
    stale = last is not None and last.next_check_at is not None and last.next_check_at <= tx.now()
    return Stands(refund_view(tx, row, replayed=replayed), refusal_of(tx, row), stale)
