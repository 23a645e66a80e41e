"""Opening a charge: one transaction from the key to the committed attempt.

    key → gate (policy, holds; or a refusal, or an approval row) → payment → attempt with its request → audit

A refusal before a payment exists keeps nothing but its audit row: the key stays free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import AgentPayError, Conflict, DuplicateSuspected, IdempotencyConflict, PolicyDenied, Throttled
from agentpay.ids import Ids
from agentpay.payments import queries
from agentpay.payments.asks import ChargeAsk, Opened, Purpose, Refused, Stands, Started, effect_digest
from agentpay.payments.attempts import Attempts, newest
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
from agentpay_policies.decisions import Request as PolicyRequest
from agentpay_policies.memo import MemoRule, render_memo
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee


class Denial(PolicyDenied):
    """A denial on its way to be written down. It knows the decision, so it never leaves the engine: see `plain`."""

    def __init__(self, denied: Denied, payment_id: str | None, owner_id: str | None) -> None:
        first = denied.violations[0]
        more = f" (and {len(denied.violations) - 1} more)" if len(denied.violations) > 1 else ""
        super().__init__(
            f"{first.message}{more}",
            violations=denied.violations,
            payment_id=payment_id,
            next_step=first.next_step,
            retry_at=first.retry_at,
        )
        self.denied = denied
        self.owner_id = owner_id

    def plain(self) -> PolicyDenied:
        """The same for the agent, with nothing but what the agent may know."""
        return PolicyDenied(
            self.message,
            violations=self.violations,
            payment_id=self.payment_id,
            next_step=self.next_step,
            retry_at=self.retry_at,
        )


def denial(denied: Denied, payment_id: str | None = None, *, owner_id: str | None = None) -> Denial:
    """The error for a decision against, with every reason. `Refusals.record` writes it down, as another decision about
    `owner_id`, the payment or refund that there is already."""
    return Denial(denied, payment_id, owner_id or payment_id)


@dataclass(frozen=True)
class Refusals:
    """Writes refusals down: the throttle's count and the audit row, after everything else was undone."""

    throttle: Throttle

    def record(self, tx: Tx, principal: Principal, operation: str, error: AgentPayError) -> Refused:
        """Keep that something was refused. An agent beyond its bound is turned away instead, and only counted."""
        now = tx.now()
        if principal.kind == "agent":
            throttled = error if isinstance(error, Throttled) else self.throttle.check(tx, principal.id, now)
            if throttled is not None:
                self.throttle.count_turned_away(tx, principal.id, now)
                return Refused(throttled)
            self.throttle.count_refusal(tx, principal.id, now)
        codes = [violation.code for violation in error.violations] if isinstance(error, PolicyDenied) else []
        data = {"code": error.code, "violations": codes}
        action = f"{operation}.call_refused"  # not "refund.refused", which is what becomes of a refund
        log.record(tx, principal=principal, action=action, object_id=str(principal), data=data, at=now)
        if not isinstance(error, Denial):
            return Refused(error)
        self._keep(tx, error.denied, error.owner_id, now)
        return Refused(error.plain())

    def _keep(self, tx: Tx, denied: Denied, owner_id: str | None, now: datetime) -> None:
        """Keep what was asked for, where it is an operation that the policy has a section for."""
        if denied.request.operation is None:
            return
        named = denied.request.customer
        customer = None if named is None else customers.known(tx, named)  # one that came with it is gone with it
        request = replace(denied.request, customer_ref=customer.id if customer else None)
        requests.keep(tx, request, denied.decision, denied.policy_hash, now, owner_id=owner_id)


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
        except _Known as faster:
            return self.repeat(tx, faster.payment_id, ask.principal)
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
        if not keys.claim(tx, ask.principal, ask.operation, ask.key, hashed, payment_id, now):
            known = keys.find(tx, ask.principal, ask.operation, ask.key, hashed)
            if known is None:
                raise IdempotencyConflict(f"The key {ask.key[:60]!r} is in use.")
            raise _Known(known)
        self._admit(tx, ask, now)
        provider = self.providers.get(ask.provider)
        limits.check(provider, ask.money, ask.payee, ask.method)
        if ask.checkout is not None:
            limits.check_checkout(provider)
        customer = customers.ensure(tx, ask.customer, ids=self.ids, now=now)
        purpose_id = self._begun(tx, ask, customer, payment_id, now)
        rules = self.gate.enter(tx, ask.principal.id) if ask.principal.kind == "agent" else Rules()
        row = self._insert(tx, ask, provider, payment_id, customer.id, purpose_id)
        row = self._with_memo(tx, row, provider, rules.memo)
        if ask.principal.kind != "agent":
            return self._start(tx, row, provider)
        look_alike = self._look_alike(tx, ask, row, rules)
        return self._decided(tx, row, provider, self._authorize(tx, row, provider, ask.customer, look_alike))

    def _begun(self, tx: Tx, ask: ChargeAsk, customer: Customer, payment_id: str, now: datetime) -> str | None:
        """Begin what the payment is for. Why that cannot be is no business of an agent that the customer is denied."""
        if ask.begin is None:
            return None
        try:
            return ask.begin(tx, customer, payment_id, now)
        except Conflict:
            if ask.principal.kind == "agent":
                request = PolicyRequest(
                    tool="subscribe", agent=ask.principal.id, operation="subscribe", customer=ask.customer,
                    plan=None if ask.plan is None else ask.plan.rpartition("@")[0], money=ask.money, payee=ask.payee,
                    direction=ask.payee.direction, provider=self.providers.get(ask.provider).name, period=ask.period,
                    term=ask.term,
                )  # fmt: skip
                denied = self.gate.permit_customer(tx, request)
                if denied is not None:
                    raise denial(denied) from None
            raise

    def _admit(self, tx: Tx, ask: ChargeAsk, now: datetime) -> None:
        """Throttle an agent, and lock what its decision will read."""
        if ask.principal.kind != "agent":
            return
        throttled = self.throttle.check(tx, ask.principal.id, now)
        if throttled is not None:
            raise throttled
        self.throttle.count_new_key(tx, ask.principal.id, now)

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
                customer = customers.by_id(tx, row.customer_id).external_id
                rules = self.gate.enter(tx, row.principal_id)
                row = self._with_memo(tx, row, provider, rules.memo)
                return self._decided(
                    tx, row, provider, self._authorize(tx, row, provider, customer, _known_alike(tx, row, rules))
                )
        return stands(tx, row, replayed=True)

    def still_allowed(self, tx: Tx, row: Row, provider: PaymentProvider) -> bool:
        """Whether a payment that was opened may still be sent: its purpose wants it, and the gate would let it."""
        if row.purpose in self.purposes:
            self.purposes[row.purpose].again(tx, row, tx.now())
        if row.principal_kind != "agent":
            return not self.gate.all_halted(tx)
        customer = customers.by_id(tx, row.customer_id).external_id
        return self.gate.still_allows(tx, self._ask(tx, row, provider, customer))

    def _authorize(
        self, tx: Tx, row: Row, provider: PaymentProvider, customer: str, look_alike: str | None = None
    ) -> Verdict:
        """Ask the gate."""
        return self.gate.authorize(tx, self._ask(tx, row, provider, customer, look_alike))

    def _ask(self, tx: Tx, row: Row, provider: PaymentProvider, customer: str, look_alike: str | None = None) -> Ask:
        operation: Literal["subscribe", "charge"] = "subscribe" if row.operation == "subscribe" else "charge"
        request = PolicyRequest(
            tool=operation,
            agent=row.principal_id,
            operation=operation,
            customer=customer,
            payee=Payee.parse(row.payee),
            direction=row.direction,
            provider=row.provider,
            method=row.method,
            money=Money.from_minor(row.amount_minor, row.currency),
            plan=None if row.plan is None else row.plan.rpartition("@")[0],
            customer_ref=row.customer_id,
            period=row.plan_period,
            term=row.plan_term,
        )
        return Ask(
            request=request,
            owner_id=row.id,
            operation=operation,
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


class _Known(AgentPayError):
    """Another transaction claimed the same key a moment earlier."""

    def __init__(self, payment_id: str) -> None:
        super().__init__("The key is known.")
        self.payment_id = payment_id


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
