"""What a payment or refund of an agent is to the policy, read from its row: to the gate, and to people who decide."""

from __future__ import annotations

from agentpay.customers import service as customers
from agentpay.payments import queries
from agentpay.spending.cards import Effect
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.decisions import Request
from agentpay_policies.money import Money
from agentpay_policies.names import Operation
from agentpay_policies.payees import Payee


def effect_of(tx: Tx, owner_id: str) -> Effect:
    """What is done when a payment or refund is approved.

    Raises:
        NotFound: there is no such payment or refund.
    """
    if owner_id.startswith("ref_"):
        refund = queries.refund(tx, owner_id)
        payment = queries.payment(tx, refund.payment_id)
        request = refund_request(
            tx, payment, refund.principal_id, Money.from_minor(refund.amount_minor, refund.currency)
        )
        return Effect(request, payment.provider_account, payment.mode, refund_of=payment.id)
    row = queries.payment(tx, owner_id)
    request = charge_request(tx, row)
    return Effect(request, row.provider_account, row.mode)


def charge_request(tx: Tx, row: Row) -> Request:
    """An agent's charge, or the charge of its subscribing."""
    operation: Operation = "subscribe" if row.operation == "subscribe" else "charge"
    money = Money.from_minor(row.amount_minor, row.currency)
    return _request(tx, row, row.principal_id, operation, money, own_charge=True)


def refund_request(tx: Tx, payment: Row, agent: str, money: Money) -> Request:
    """An agent's refund of a payment."""
    own = (payment.principal_kind, payment.principal_id) == ("agent", agent)
    return _request(tx, payment, agent, "refund", money, own_charge=own)


def _request(tx: Tx, row: Row, agent: str, operation: Operation, money: Money, *, own_charge: bool) -> Request:
    return Request(
        tool=operation,
        agent=agent,
        operation=operation,
        customer=customers.by_id(tx, row.customer_id).external_id,
        payee=Payee.parse(row.payee),
        direction=row.direction,
        provider=row.provider,
        method=row.method,
        money=money,
        plan=None if row.plan is None or operation == "refund" else row.plan.rpartition("@")[0],
        own_charge=own_charge,
        customer_ref=row.customer_id,
        period=None if operation == "refund" else row.plan_period,
        term=1 if operation == "refund" else row.plan_term,
    )
