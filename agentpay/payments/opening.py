"""Opening a charge: one transaction from the key to the committed attempt.

    key → gate (policy, holds; or a refusal, or an approval row) → payment → attempt with its request → audit

A refusal before a payment exists keeps nothing but its audit row: the key stays free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.errors import AgentPayError, Conflict, DuplicateSuspected
from agentpay.ids import Ids
from agentpay.payments import queries
from agentpay.payments.asks import ChargeAsk, Opened, Purpose, Stands, Started, effect_digest
from agentpay.payments.attempts import Attempts, newest
from agentpay.payments.claiming import Claimed, claim
from agentpay.payments.describing import charge_request
from agentpay.payments.refusing import Refusals, denial
from agentpay.payments.tables import PaymentRow
from agentpay.payments.views import payment_view, refusal_of
from agentpay.principal import Principal
from agentpay.providers import limits
from agentpay.providers.base import Order, PaymentProvider, ReturnUrls
from agentpay.providers.registry import Providers
from agentpay.spending import approvals, requests
from agentpay.spending.gate import Gate
from agentpay.spending.models import Allowed, Ask, Denied, Parked, Rules, Verdict
from agentpay.spending.throttle import Throttle
from agentpay.storage import keys, texts
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.memo import MemoRule, render_memo
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


@dataclass(frozen=True)
class Opening:
    """Opens charges, and runs those again that were approved or never sent."""

    ids: Ids
    gate: Gate
    throttle: Throttle
    attempts: Attempts
    providers: Providers
    purposes: Mapping[str, Purpose]

    def charge(self, tx: Tx, ask: ChargeAsk) -> Opened:
        """Open a charge, or answer a repeat of it."""
        hashed = keys.body_hash(ask.operation, ask.body)
        try:
            known = keys.find(tx, ask.principal, ask.operation, ask.key, hashed)
            with tx.conn.begin_nested():
                return self._new(tx, ask, hashed) if known is None else self._known(tx, known)
        except Claimed as faster:
            return self.repeat(tx, faster.subject_id, ask.principal)
        except AgentPayError as error:
            return Refusals(self.throttle).record(tx, ask.principal, ask.operation, error)

    def repeat(self, tx: Tx, payment_id: str, principal: Principal) -> Opened:
        """Answer a repeat by its payment. One that is refused keeps nothing but its audit row."""
        try:
            with tx.conn.begin_nested():
                return self._known(tx, payment_id)
        except AgentPayError as error:
            operation = queries.payment(tx, payment_id).operation
            return Refusals(self.throttle).record(tx, principal, operation, error)

    def _known(self, tx: Tx, payment_id: str) -> Opened:
        return self.again(tx, queries.payment(tx, payment_id, lock=True))

    def _new(self, tx: Tx, ask: ChargeAsk, hashed: str) -> Opened:
        payment_id = self.ids.new("pay")
        now = tx.now()
        claim(tx, self.throttle, ask, ask.operation, hashed, payment_id, now)
        provider = self.providers.get(ask.provider)
        limits.check(provider, ask.money, ask.payee, ask.method)
        if ask.checkout is not None:
            limits.check_checkout(provider)
        customer = customers.ensure(tx, ask.customer, ids=self.ids, now=now)
        purpose_id = ask.begin(tx, customer, payment_id, now) if ask.begin is not None else None
        rules = self.gate.enter(tx, ask.principal.id) if ask.principal.kind == "agent" else Rules()
        row = self._insert(tx, ask, provider, payment_id, customer.id, purpose_id)
        row = self._with_memo(tx, row, provider, rules.memo)
        if ask.principal.kind != "agent":
            return self._start(tx, row, provider)
        look_alike = self._look_alike(tx, ask, row, rules)
        return self._decided(tx, row, provider, self._authorize(tx, row, provider, look_alike))

    def _look_alike(self, tx: Tx, ask: ChargeAsk, row: Row, rules: Rules) -> str | None:
        """The newest payment of the window that is the same but for its key, unless the caller named it as distinct.

        Raises:
            DuplicateSuspected: there is one, and the policy wants it refused.
        """
        if ask.operation != "charge" or not rules.duplicate_window:
            return None
        now = tx.now()
        twin = queries.look_alike(tx, row, since=now - rules.duplicate_window)
        if twin is None or ask.distinct_from == twin.id:
            return None
        if rules.duplicates != "deny":
            return str(twin.id)
        age = int((now - twin.created_at).total_seconds())
        raise DuplicateSuspected(
            f"Payment {twin.id}, {twin.status}, {age} s ago, is the same but for its key.", look_alike=twin.id
        )

    def _with_memo(self, tx: Tx, row: Row, provider: PaymentProvider, rule: MemoRule | None) -> Row:
        """The payment with its memo as the policy makes it now. An approval is bound to the memo that people saw: where
        it became another one, they are asked again."""
        if row.operation != "charge":
            return row
        facts = {
            "agent": row.principal_id,
            "amount": str(Money.from_minor(row.amount_minor, row.currency).amount),
            "currency": row.currency,
            "customer": customers.by_id(tx, row.customer_id).external_id,
            "payment": row.id,
        }
        said = texts.text_of(tx, row.id, "description") or ""
        memo = limits.fitting(provider, render_memo(rule, description=said, facts=facts))
        if memo == texts.text_of(tx, row.id, "memo"):
            return row
        if row.status != "pending":
            approvals.supersede(tx, row.id, tx.now())
        texts.put(tx, row.id, "memo", memo)
        queries.update_payment(tx, row.id, digest=effect_digest(row._mapping, provider, memo))
        return queries.payment(tx, row.id)

    def _insert(
        self,
        tx: Tx,
        ask: ChargeAsk,
        provider: PaymentProvider,
        payment_id: str,
        customer_id: str,
        purpose_id: str | None,
    ) -> Row:
        now = tx.now()
        facts: dict[str, Any] = {
            "id": payment_id,
            "principal_kind": ask.principal.kind,
            "principal_id": ask.principal.id,
            "operation": ask.operation,
            "purpose": ask.purpose,
            "purpose_id": purpose_id,
            "plan": ask.plan,
            "plan_period": ask.period,
            "plan_term": ask.term,
            "customer_id": customer_id,
            "payee": str(ask.payee),
            "direction": ask.payee.direction,
            "provider": provider.name,
            "provider_account": provider.account,
            "mode": provider.mode,
            "method": ask.method,
            "amount_minor": ask.money.minor,
            "currency": ask.money.currency,
            "status": "pending",
            "idempotency_key": ask.key,
            "created_at": now,
            "updated_at": now,
        }
        tx.insert(PaymentRow, **facts, digest=effect_digest(facts, provider))
        texts.keep(tx, payment_id, "description", ask.description)
        if ask.checkout is not None:
            texts.keep(tx, payment_id, "success_url", ask.checkout.success)
            texts.keep(tx, payment_id, "cancel_url", ask.checkout.cancel)
        return queries.payment(tx, payment_id)

    def again(self, tx: Tx, row: Row) -> Opened:
        """Answer a repeat by what stands; run it where it was approved meanwhile, or proved never to have been sent."""
        if row.status in ("approval_required", "not_sent"):
            if row.status == "not_sent" and row.purpose in self.purposes:
                self.purposes[row.purpose].again(tx, row, tx.now())
            provider = self.providers.get(row.provider)
            if row.principal_kind != "agent":
                return self._start(tx, row, provider)
            if row.status == "not_sent" or self.gate.has_approval(tx, row.id):
                rules = self.gate.enter(tx, row.principal_id)
                row = self._with_memo(tx, row, provider, rules.memo)
                alike = _known_alike(tx, row, rules)
                return self._decided(tx, row, provider, self._authorize(tx, row, provider, alike))
        return stands(tx, row, replayed=True)

    def still_allowed(self, tx: Tx, row: Row, provider: PaymentProvider) -> bool:
        """Whether a payment that was opened may still be sent: its purpose wants it, and the gate would let it."""
        if row.purpose in self.purposes:
            self.purposes[row.purpose].again(tx, row, tx.now())
        if row.principal_kind != "agent":
            return not self.gate.all_halted(tx)
        return self.gate.still_allows(tx, self._ask(tx, row, provider))

    def _authorize(self, tx: Tx, row: Row, provider: PaymentProvider, look_alike: str | None) -> Verdict:
        return self.gate.authorize(tx, self._ask(tx, row, provider, look_alike))

    def _ask(self, tx: Tx, row: Row, provider: PaymentProvider, look_alike: str | None = None) -> Ask:
        request = charge_request(tx, row)
        return Ask(
            request=request,
            owner_id=row.id,
            operation="subscribe" if row.operation == "subscribe" else "charge",
            key=row.idempotency_key,
            digest=effect_digest(row._mapping, provider, texts.text_of(tx, row.id, "memo")),
            customer_id=row.customer_id,
            provider=row.provider,
            look_alike=look_alike,
        )

    def _decided(self, tx: Tx, row: Row, provider: PaymentProvider, verdict: Verdict) -> Opened:
        match verdict:
            case Denied():
                exists = row.status in ("approval_required", "not_sent")
                raise denial(verdict, row.id if exists else None)
            case Parked():
                now = tx.now(row.updated_at)
                queries.update_payment(tx, row.id, status="approval_required", updated_at=now)
                self._audit(tx, row, "payment.approval_required", now)
                return stands(tx, queries.payment(tx, row.id), replayed=False)
            case Allowed():
                return self._start(tx, row, provider)

    def _start(self, tx: Tx, row: Row, provider: PaymentProvider) -> Started:
        order = order_of(tx, row)
        request = provider.prepare(order)
        made = self.attempts.open(tx, row, "charge", row.operation, "charge", provider, request)
        now = tx.now(row.updated_at)
        queries.update_payment(tx, row.id, status="pending", updated_at=now)
        self._audit(tx, row, "payment.opened", now)
        return Started("charge", row.id, made, provider, request, order=order)

    def _audit(self, tx: Tx, row: Row, action: str, now: datetime) -> None:
        log.record(
            tx,
            principal=Principal(row.principal_kind, row.principal_id),
            action=action,
            object_id=row.id,
            data={
                "amount": str(row.amount_minor),
                "currency": row.currency,
                "provider": row.provider,
                "customer": row.customer_id,
                "digest": row.digest,
            },
            at=now,
        )


def _known_alike(tx: Tx, row: Row, rules: Rules) -> str | None:
    """The look-alike that a payment was suspected for when it was opened: an approval may not answer for it any more.
    None where it had none, was told from it then, or the policy does not look for one any more."""
    if row.operation != "charge" or not rules.duplicate_window:
        return None
    return requests.look_alike_of(tx, row.id, opened_at=row.created_at)


def order_of(tx: Tx, row: Row) -> Order:
    """The order that a payment's row stands for. What reaches the payee is the memo that the policy makes, if any. Only
    a checkout, which the operator alone makes, shows its description to the customer.

    Raises:
        Conflict: the addresses of a checkout were erased since.
    """
    reference = customers.reference_of(tx, row.customer_id, row.provider)
    checkout = _return_urls(tx, row)
    return Order(
        payment_id=row.id,
        customer=reference or row.customer_id,
        money=Money.from_minor(row.amount_minor, row.currency),
        payee=Payee.parse(row.payee),
        method=row.method,
        memo=texts.text_of(tx, row.id, "memo"),
        checkout=checkout,
        title=None if checkout is None else texts.text_of(tx, row.id, "description"),
        linked=reference is not None,
        recurring=row.plan is not None,
    )


def _return_urls(tx: Tx, row: Row) -> ReturnUrls | None:
    """Where the customer of a checkout comes back to. Without them it must not become a charge of a saved method."""
    if row.operation != "checkout":
        return None
    success, cancel = (texts.text_of(tx, row.id, kind) for kind in ("success_url", "cancel_url"))
    if success is None or cancel is None:
        raise Conflict(f"The addresses of checkout {row.id} were erased.", next_step="Make a new checkout.")
    return ReturnUrls(success, cancel)


def stands(tx: Tx, row: Row, *, replayed: bool) -> Stands:
    """The answer that a payment's row is."""
    last = newest(queries.attempts(tx, row.id))
    stale = last is not None and last.next_check_at is not None and last.next_check_at <= tx.now()
    return Stands(payment_view(tx, row, replayed=replayed), refusal_of(tx, row), stale)
