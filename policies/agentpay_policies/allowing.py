"""What is allowed at all, when, and in one single operation: everything that no counter has to be read for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from agentpay_policies.codes import finding
from agentpay_policies.decisions import COUNT, Finding, Request, State
from agentpay_policies.globs import matches
from agentpay_policies.limits import figure, pays
from agentpay_policies.money import Money
from agentpay_policies.names import OPERATIONS
from agentpay_policies.policy import EVERY_PLAN, AgentEntry, CategoryRule, Policy, cap_in
from agentpay_policies.schedule import format_moment, inside, next_opening
from agentpay_policies.terms import Term

ACTS: Final = frozenset({*OPERATIONS, "cancel_subscription"})
"""The tools that change something: a halt stops these, and they are for allowed customers and hours only."""


def denied(policy: Policy, request: Request, entry: AgentEntry, state: State, now: datetime) -> Iterator[Finding]:
    """Everything that speaks against the request before a limit is looked at, in the order of the steps."""
    if request.tool in ACTS:
        yield from _lists(request, entry)
        yield from _payee(request, entry)
        yield from _directions(request, entry)
        yield from _plan(request, entry)
        yield from _refunded(request, entry)
        yield from _duplicate(request, entry, state)
    yield from active_findings(entry, now)
    yield from tried_findings(policy, request, entry, now)
    if request.operation == "subscribe" and entry.subscribe and request.money:
        yield from _above(request.money, entry.subscribe.max_per_period, f"{entry.pointer}.subscribe.max_per_period")
    if request.operation == "record_usage":
        yield from _usage(request, entry)


def tried_findings(policy: Policy, request: Request, entry: AgentEntry, now: datetime) -> Iterator[Finding]:
    """What an entry's categories, hours and bounds say: those rules that a shadow entry may hold as well."""
    if request.tool not in ACTS:
        return
    yield from _category(policy, request, entry)
    if not inside(entry.time_windows, now):
        allowed = tuple(map(str, entry.time_windows))
        yield finding(
            "OUTSIDE_HOURS",
            rule=f"{entry.pointer}.time_windows",
            asked=format_moment(now),
            allowed=allowed,
            retry_at=next_opening(entry.time_windows, now),
        )
    yield from _bounds(request, entry)


def active_findings(entry: AgentEntry, now: datetime) -> Iterator[Finding]:
    """Whether the agent may act yet, and still. The moment `expires_at` itself is over."""
    if entry.not_before is not None and now < entry.not_before:
        at = f"{entry.pointer}.not_before"
        yield finding("AGENT_NOT_YET_ACTIVE", rule=at, asked=format_moment(now), retry_at=entry.not_before)
    if entry.expires_at is not None and now >= entry.expires_at:
        ended = (format_moment(entry.expires_at),)
        yield finding("AGENT_EXPIRED", rule=f"{entry.pointer}.expires_at", asked=format_moment(now), allowed=ended)


# ---- allow and deny lists


def _lists(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    at = entry.pointer
    if request.operation is not None and not entry.has_section(request.operation):
        yield finding("OPERATION_NOT_ALLOWED", rule=at, asked=request.operation)
    if pays(request) and request.provider not in entry.providers:
        place, asked = f"{at}.providers.allow", request.provider or ""
        yield finding("PROVIDER_NOT_ALLOWED", rule=place, asked=asked, allowed=entry.providers)
    for value in (request.money, request.cost):
        if value is not None and value.currency not in entry.currencies:
            message = f"The agent may not use {value.currency}."
            place, asked = f"{at}.currencies.allow", value.currency
            yield finding("CURRENCY_NOT_ALLOWED", message, rule=place, asked=asked, allowed=entry.currencies)
    yield from _customer(request, entry)


def _customer(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    """Denied goes before allowed; nobody named is nobody allowed."""
    customer, at = request.customer, f"{entry.pointer}.customers"
    if customer is not None and any(matches(pattern, customer) for pattern in entry.customers_denied):
        yield finding("CUSTOMER_NOT_ALLOWED", rule=f"{at}.deny", asked=customer, allowed=entry.customers)
    elif customer is None or not any(matches(pattern, customer) for pattern in entry.customers):
        yield finding("CUSTOMER_NOT_ALLOWED", rule=f"{at}.allow", asked=customer or "", allowed=entry.customers)


def payee_is_new(request: Request, entry: AgentEntry) -> bool:
    """Money goes back where it came from: a refund has no payee of its own."""
    return has_payee(request) and request.payee not in entry.payees


def has_payee(request: Request) -> bool:
    """Whether the request chooses who receives money."""
    return request.operation in ("charge", "subscribe")


def _payee(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    """What speaks against the payee: denied goes over allowed, and over a new one that people might approve."""
    allowed = tuple(payee.canonical for payee in entry.payees)
    asked, at = request.payee.canonical, f"{entry.pointer}.payees"
    if has_payee(request) and request.payee in entry.payees_denied:
        yield finding("PAYEE_NOT_ALLOWED", rule=f"{at}.deny", asked=asked, allowed=allowed)
    elif payee_is_new(request, entry) and not _new_payee_is_asked(entry):
        yield finding("PAYEE_NOT_ALLOWED", rule=f"{at}.allow", asked=asked, allowed=allowed)


def _new_payee_is_asked(entry: AgentEntry) -> bool:
    """A rule with further conditions may not fire, and then nobody would be asked."""
    return entry.new_payees == "approve" and any(rule.conditions == {"payee"} for rule in entry.approvals)


def _category(policy: Policy, request: Request, entry: AgentEntry) -> Iterator[Finding]:
    rule, category = entry.categories, policy.category_of(request.payee)
    if rule is None or not has_payee(request):
        return
    at, asked = f"{entry.pointer}.categories", category or ""
    if category is not None and category in rule.deny:
        yield finding("CATEGORY_NOT_ALLOWED", rule=f"{at}.deny", asked=asked, allowed=_open(rule))
    elif rule.allow is not None and category not in rule.allow:
        yield finding("CATEGORY_NOT_ALLOWED", rule=f"{at}.allow", asked=asked, allowed=_open(rule))


def _open(rule: CategoryRule) -> tuple[str, ...]:
    return ("*",) if rule.allow is None else rule.allow


def _directions(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    if request.operation == "charge" and entry.charge and request.direction not in entry.charge.directions:
        at = f"{entry.pointer}.charge.directions"
        yield finding("DIRECTION_NOT_ALLOWED", rule=at, asked=request.direction, allowed=entry.charge.directions)
    if request.operation == "subscribe" and request.direction != "collect":
        said = "A subscription collects from its customer."
        yield finding("DIRECTION_NOT_ALLOWED", said, rule=entry.pointer, asked=request.direction)


def _plan(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    section = entry.subscribe
    if request.operation != "subscribe" or section is None:
        return
    at = f"{entry.pointer}.subscribe"
    if EVERY_PLAN not in section.plans and request.plan not in section.plans:
        yield finding("PLAN_NOT_ALLOWED", rule=f"{at}.plans", asked=request.plan or "", allowed=section.plans)
    if section.periods and request.period not in section.periods:
        yield finding("PERIOD_NOT_ALLOWED", rule=f"{at}.periods", asked=request.period or "", allowed=section.periods)
    if section.max_term is None:
        return
    # A plan without a period that we know of may bind for ever.
    term = Term.of(request.period, request.term) if request.period else None
    if term is None or not term.fits(section.max_term):
        said, longest = str(term or "an unknown term"), str(section.max_term)
        yield finding("TERM_TOO_LONG", rule=f"{at}.max_term", limit=longest, attempted=said)


def _refunded(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    if request.operation == "refund" and entry.refund and entry.refund.allow != "any" and not request.own_charge:
        yield finding("NOT_OWN_PAYMENT", rule=f"{entry.pointer}.refund.allow")


def _duplicate(request: Request, entry: AgentEntry, state: State) -> Iterator[Finding]:
    """A look-alike, where it is denied, or where people should be asked and no rule would ask them."""
    if request.operation != "charge" or state.look_alike is None or entry.charge is None:
        return
    asked = entry.charge.duplicates == "approve" and any(rule.conditions == {"duplicate"} for rule in entry.approvals)
    if entry.charge.duplicates == "warn" or asked:
        return
    message = f"Payment {state.look_alike} is the same but for its key."
    yield finding("DUPLICATE_SUSPECTED", message, rule=f"{entry.pointer}.charge.duplicates", asked=state.look_alike)


# ---- per transaction


def _bounds(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    """The bounds of one single payment."""
    section = {"charge": entry.charge, "refund": entry.refund}.get(request.operation or "")
    if section is None or request.money is None:
        return
    at = f"{entry.pointer}.{request.operation}.per_transaction"
    least = cap_in(section.minimum, request.money.currency)
    if least is not None and request.money < least:
        message = f"{request.money} is below the least that one payment may be, {least}."
        yield finding("BELOW_MINIMUM", message, rule=f"{at}.min", limit=str(least), attempted=str(request.money))
    yield from _above(request.money, section.maximum, f"{at}.max")


def _above(money: Money, maximum: tuple[Money, ...], pointer: str) -> Iterator[Finding]:
    most = cap_in(maximum, money.currency)
    if most is not None and money > most:
        message = f"{money} is above the most that one payment may be, {most}."
        yield finding("ABOVE_MAXIMUM", message, rule=pointer, limit=str(most), attempted=str(money))


def _usage(request: Request, entry: AgentEntry) -> Iterator[Finding]:
    section = entry.record_usage
    if section is None:
        return
    at = f"{entry.pointer}.record_usage"
    if section.max_quantity is not None and request.quantity > section.max_quantity:
        limit, attempted = figure(section.max_quantity, COUNT), figure(request.quantity, COUNT)
        yield finding("QUANTITY_TOO_LARGE", rule=f"{at}.max_quantity", limit=limit, attempted=attempted)
    if request.cost is None or not section.max_cost:
        return
    most = next((price for price in section.max_cost if price.currency == request.cost.currency), None)
    if most is None:
        message = f"No cost in {request.cost.currency} may be recorded."
        yield finding("CURRENCY_NOT_ALLOWED", message, rule=f"{at}.max_cost", asked=request.cost.currency)
    elif request.cost.nanos > most.nanos:
        yield finding("COST_TOO_HIGH", rule=f"{at}.max_cost", limit=str(most), attempted=str(request.cost))
