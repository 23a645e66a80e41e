"""What would be decided about a request now: resolved as the verbs resolve it, and asked of the gate without a hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypedDict, cast

from agentpay.billing.subscribing import period_of
from agentpay.customers import service as customers
from agentpay.errors import ValidationError
from agentpay.manager.agent import charge_ask
from agentpay.manager.wiring import Engine
from agentpay.payments import queries
from agentpay.payments.describing import refund_request
from agentpay.plans.service import plan_of
from agentpay.principal import agent as agent_principal
from agentpay.providers import limits
from agentpay.spending import active, policies
from agentpay.spending.models import ActivePolicy
from agentpay.spending.standing import Standing, standings
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.decisions import Decision, Request
from agentpay_policies.money import Amount, Money, Price
from agentpay_policies.names import OPERATIONS, TOOL_NAMES, ToolName
from agentpay_policies.policy import Policy
from agentpay_policies.text import identifier

_MOST_QUANTITY: Final = 10**12


class Asked(TypedDict, total=False):
    """What may be said of a request beside who asks and for which operation, in the words of the tools."""

    customer: str | None
    amount: Amount | None
    currency: str | None
    payee: str
    provider: str | None
    method: str | None
    plan: str | None
    quantity: int
    cost: Amount | None
    payment_id: str | None
    distinct_from: str | None


@dataclass(frozen=True)
class Wanted:
    """A request as somebody asks about it."""

    agent: str
    tool: str
    customer: str | None = None
    amount: Amount | None = None
    currency: str | None = None
    payee: str = "self"
    provider: str | None = None
    method: str | None = None
    plan: str | None = None
    quantity: int = 1
    cost: Amount | None = None
    payment_id: str | None = None
    distinct_from: str | None = None


@dataclass(frozen=True)
class Simulation:
    """A decision as it would be made at this moment, with how every limit stands that the request meets.

    The throttle and the provider are not asked.
    """

    request: Request
    decision: Decision
    limits: tuple[Standing, ...]
    policy: ActivePolicy | None
    at: datetime


def simulate(engine: Engine, wanted: Wanted) -> Simulation:
    """The decision about a request by the active policy and the counters as they stand; what is done for it is undone.

    Raises:
        ValidationError, NotFound, ProviderUnknown, ProviderUnsupported: as the verb itself would refuse it.
    """
    tool = _tool(wanted.tool)
    identifier(wanted.agent, "agent")

    def tried(tx: Tx) -> Simulation:
        engine.payments.end_overdue(tx)  # as every call does first: what they held is free
        request, policy, now = _resolved(tx, engine, wanted, tool), active.policy(tx), tx.now()
        look_alike = _look_alike(tx, policy, request, now)
        return Simulation(
            request=request,
            decision=engine.gate.foresee(
                tx, request, look_alike=None if look_alike == wanted.distinct_from else look_alike
            ),
            limits=standings(tx, policy, request, now),
            policy=policies.active_row(tx),
            at=now,
        )

    return engine.store.trial(tried)


@dataclass(frozen=True)
class _Unmade:
    """What the duplicate guard looks at of a payment that is not made."""

    principal_id: str
    customer_id: str | None
    payee: str
    amount_minor: int
    currency: str
    id: str = ""


def _look_alike(tx: Tx, policy: Policy | None, request: Request, now: datetime) -> str | None:
    """The newest payment of the duplicate window that looks the same."""
    money = request.money
    if policy is None or not policy.duplicate_window or request.operation != "charge" or money is None:
        return None
    unmade = _Unmade(request.agent, request.customer_ref, str(request.payee), money.minor, money.currency)
    twin = queries.look_alike(tx, cast(Row, unmade), since=now - policy.duplicate_window)
    return None if twin is None else str(twin.id)


def _tool(name: str) -> ToolName:
    for tool in TOOL_NAMES:
        if tool == name:
            return tool
    raise ValidationError(f"{name[:60]!a} is no operation.", next_step=f"One of: {', '.join(TOOL_NAMES)}.")


def _resolved(tx: Tx, engine: Engine, wanted: Wanted, tool: ToolName) -> Request:
    match tool:
        case "charge":
            return _charge(tx, engine, wanted)
        case "subscribe":
            return _subscribe(tx, engine, wanted)
        case "refund":
            return _refund(tx, wanted)
    operation = tool if tool in OPERATIONS else None
    customer = None if wanted.customer is None else identifier(wanted.customer, "customer")
    if not 0 < wanted.quantity <= _MOST_QUANTITY:
        raise ValidationError(f"quantity is from 1 to {_MOST_QUANTITY}.")
    return Request(
        tool=tool,
        agent=wanted.agent,
        operation=operation,
        customer=customer,
        quantity=wanted.quantity,
        cost=None if wanted.cost is None else Price(wanted.cost, _given(wanted.currency, "currency")),
        customer_ref=None if customer is None else _reference(tx, engine, customer),
    )


def _charge(tx: Tx, engine: Engine, wanted: Wanted) -> Request:
    customer = _given(wanted.customer, "customer")
    if wanted.amount is None:
        raise _missing("amount")
    ask = charge_ask(
        agent_principal(wanted.agent),
        customer,
        wanted.amount,
        _given(wanted.currency, "currency"),
        description=None,
        key="simulated",
        payee=wanted.payee,
        provider=wanted.provider,
        method=wanted.method,
        distinct_from=None,
    )
    provider = engine.providers.get(ask.provider)
    limits.check(provider, ask.money, ask.payee, ask.method)
    return Request(
        tool="charge",
        agent=wanted.agent,
        operation="charge",
        customer=ask.customer,
        payee=ask.payee,
        direction=ask.payee.direction,
        provider=provider.name,
        method=ask.method,
        money=ask.money,
        customer_ref=_reference(tx, engine, ask.customer),
    )


def _subscribe(tx: Tx, engine: Engine, wanted: Wanted) -> Request:
    customer = identifier(_given(wanted.customer, "customer"), "customer")
    plan = plan_of(tx, _given(wanted.plan, "plan"))
    provider = engine.providers.get(wanted.provider)
    return Request(
        tool="subscribe",
        agent=wanted.agent,
        operation="subscribe",
        customer=customer,
        provider=provider.name,
        money=Money(plan.price, plan.currency),
        plan=plan.id,
        period=period_of(plan),
        term=plan.term,
        customer_ref=_reference(tx, engine, customer),
    )


def _refund(tx: Tx, wanted: Wanted) -> Request:
    payment = queries.payment(tx, _given(wanted.payment_id, "payment"))
    left = payment.captured_minor - payment.refunded_minor - payment.refunding_minor
    rest = Money.from_minor(left, payment.currency)
    return refund_request(
        tx, payment, wanted.agent, rest if wanted.amount is None else Money(wanted.amount, payment.currency)
    )


def _reference(tx: Tx, engine: Engine, customer: str) -> str:
    """Our id of a customer; of one who was never named a new one, in whose counters there is nothing."""
    known = customers.known(tx, customer)
    return engine.ids.new("cus") if known is None else known.id


def _given(value: str | None, name: str) -> str:
    if value is None:
        raise _missing(name)
    return value


def _missing(name: str) -> ValidationError:
    return ValidationError(f"This operation needs {name}.")
