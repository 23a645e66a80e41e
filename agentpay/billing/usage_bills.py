"""Usage becomes money: one payment for everything that is unbilled of a customer, rounded once, the rest carried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from agentpay.billing.purposes import BILL
from agentpay.billing.tables import BillRow
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import Conflict, ValidationError
from agentpay.ids import Ids
from agentpay.payments.asks import ChargeAsk
from agentpay.payments.models import Payment
from agentpay.payments.service import Payments
from agentpay.principal import Principal
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.usage.bills import billable, claim_unbilled, unbilled
from agentpay_policies.money import Money, Price, nanos_per_minor, whole_minor
from agentpay_policies.payees import SELF

_TRIES: Final = 10


@dataclass(frozen=True)
class Bill:
    """What became of unbilled usage. `left` is what is unbilled now: what is below the smallest unit is carried
    to the next bill.

    With `nothing_due` there is no payment, and the idempotency key was not used.
    """

    customer: str
    status: Literal["billed", "nothing_due"]
    currency: str
    amount: Decimal
    left: Decimal
    payment: Payment | None


@dataclass(frozen=True)
class UsageBills:
    """Bills usage."""

    store: Store
    ids: Ids
    payments: Payments

    def bill(
        self, customer: str, *, key: str, currency: str | None, provider: str | None, principal: Principal
    ) -> Bill:
        """Charge what is unbilled, once; a repeat answers with the same bill as it stands.

        Raises:
            ValidationError: several currencies are unbilled and none is named.
            PaymentDeclined, NotSent: as for a charge; what was declined is unbilled again.
        """
        body = {"customer": customer, "currency": currency, "provider": provider}
        known = self.payments.repeat(principal, "bill_usage", key, body)
        if known is not None:
            return self._bill_of(known)
        for _ in range(_TRIES):
            due = self.store.read(lambda tx: self._due(tx, customer, currency))
            if due is None or due.minor == 0:
                code = currency or (due.currency if due else "USD")
                return Bill(customer, "nothing_due", code, Money(0, code).amount, self._left(customer, code), None)
            try:
                return self._bill_of(self.payments.charge(self._ask(due, customer, key, provider, principal, body)))
            except _Grew:
                continue
        raise Conflict("Usage is recorded faster than it can be billed.", next_step="Repeat with the same key.")

    def _ask(
        self,
        due: Money,
        customer: str,
        key: str,
        provider: str | None,
        principal: Principal,
        body: dict[str, str | None],
    ) -> ChargeAsk:
        def begin(tx: Tx, found: Customer, payment_id: str, now: datetime) -> str:
            return self._claim(tx, found, payment_id, due, now)

        return ChargeAsk(
            principal=principal,
            operation="bill_usage",
            customer=customer,
            money=due,
            payee=SELF,
            provider=provider,
            method=None,
            description="Usage",
            key=key,
            purpose=BILL,
            begin=begin,
            identity=body,
        )

    def _claim(self, tx: Tx, customer: Customer, payment_id: str, due: Money, now: datetime) -> str:
        """Claim what is unbilled for this payment; begun anew where more came in since the amount was worked out."""
        bill_id = self.ids.new("bil")
        nanos = claim_unbilled(tx, customer.id, due.currency, bill_id, now)
        if nanos != due.minor * nanos_per_minor(due.currency):
            raise _Grew("More usage came in.")
        tx.insert(
            BillRow,
            id=bill_id,
            customer_id=customer.id,
            currency=due.currency,
            amount_minor=due.minor,
            status="open",
            payment_id=payment_id,
            created_at=now,
        )
        return bill_id

    def _due(self, tx: Tx, customer: str, currency: str | None) -> Money | None:
        """What would be charged now."""
        known = customers.known(tx, customer)
        sums = dict(unbilled(tx, known.id, currency)) if known is not None else {}
        if known is None or not sums:
            return None
        if len(sums) > 1:
            raise ValidationError(f"Usage in {', '.join(sorted(sums))} is unbilled: name one currency.")
        (code,) = sums
        minor, _ = whole_minor(max(0, billable(tx, known.id, code)), code)
        return Money.from_minor(minor, code)

    def _bill_of(self, payment: Payment) -> Bill:
        left = self._left(payment.customer, payment.currency)
        return Bill(payment.customer, "billed", payment.currency, payment.amount, left, payment)

    def _left(self, customer: str, currency: str) -> Decimal:
        """What is unbilled now."""

        def read(tx: Tx) -> Decimal:
            known = customers.known(tx, customer)
            if known is None:
                return Decimal(0)
            owed = dict(unbilled(tx, known.id, currency)).get(currency, 0)
            return Price.summed(max(0, owed), currency).amount

        return self.store.read(read)


class _Grew(Exception):
    """More is unbilled than when the amount was worked out: no refusal, so no error of ours; it is begun anew."""
