"""The decision: may this agent do this now? Pure and total: what cannot be decided is denied.

The order is halt, policy, agent, tool, shape of the request, what is allowed at all, per transaction, every limit up
the tree, approval. Within a step every violation is collected. Denial goes over approval, approval over allowance; an
approval answers the approval step only and lifts no cap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from agentpay_policies.codes import violation
from agentpay_policies.decisions import (
    ApprovalNeed,
    CounterKey,
    Decision,
    LimitCheck,
    Reading,
    Request,
    State,
    Violation,
)
from agentpay_policies.globs import matches
from agentpay_policies.limits import applied, check, figure, left_behind, pays
from agentpay_policies.money import Money
from agentpay_policies.names import ALWAYS_ALLOWED, OPERATIONS, TOOL_NAMES
from agentpay_policies.policy import EVERY_PLAN, AgentEntry, ApprovalRule, Policy, cap_in

MOST_PENDING: Final = 5
"""How many requests of one agent may wait for approval at once."""

_ACTS: Final = frozenset({*OPERATIONS, "cancel_subscription"})
"""The tools that change something: a halt stops these, and they are for allowed customers only."""


def readings(policy: Policy | None, request: Request, now: datetime) -> tuple[Reading, ...]:
    """What `evaluate` will need from the counters for this request at this moment, each once."""
    entry = policy.agent(request.agent) if policy else None
    if policy is None or entry is None:
        return ()
    limits = applied(policy, entry, request, now)
    return tuple(dict.fromkeys(limit.reading for limit in limits if limit.subject is not None))


def counted(policy: Policy | None, request: Request, path: tuple[str, ...] = ()) -> tuple[CounterKey, ...]:
    """Every counter that the policy reads and that a hold for this request counts in; sorted, each once.

    `path` is that of a hold that was taken earlier: it counts in the budgets on it too, wherever its agent is now.
    """
    if policy is None:
        return ()
    entry = policy.agent(request.agent)
    limits = list(applied(policy, entry, request, _ANY_TIME)) if entry else []
    if path:
        limits += left_behind(policy, request, path, path[0], _ANY_TIME)
    return tuple(sorted({limit.counted for limit in limits if limit.subject is not None}))


_ANY_TIME: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


def evaluate(request: Request, policy: Policy | None, state: State, now: datetime) -> Decision:
    """Decide. Never raises: an exception, a sum that is missing, a request that contradicts itself is a denial."""
    try:
        return _decide(request, policy, state, now)
    except Exception:  # noqa: BLE001 - a policy that cannot be evaluated must deny, whatever went wrong
        return Decision("deny", (violation("EVALUATION_FAILED"),))


def _decide(request: Request, policy: Policy | None, state: State, now: datetime) -> Decision:
    if now.tzinfo is None:
        raise ValueError("the time has no zone")
    if request.tool in ALWAYS_ALLOWED:
        return Decision("allow")
    entry = policy.agent(request.agent) if policy else None
    if request.tool in _ACTS and _halted(request, entry, state):
        return Decision("deny", (violation("HALTED"),))
    if policy is None:
        return Decision("deny", (violation("NO_POLICY", _NO_POLICY),))
    if entry is None:
        return Decision("deny", (violation("AGENT_UNKNOWN", rule="agents"),))
    base = Decision("allow", agent_entry=entry.id, path=policy.path(request.agent))
    if request.tool not in entry.tools:
        return replace(base, outcome="deny", violations=(violation("TOOL_NOT_ALLOWED", rule=f"{entry.pointer}.tools"),))
    if fault := _shape_fault(request):
        return replace(base, outcome="deny", violations=(violation("EVALUATION_FAILED", fault),))
    return _weigh(request, policy, entry, state, now, base)


_NO_POLICY: Final = (
    "No spending policy is active, so nothing may be spent. "
    "The operator writes one with `agentpay init`, or applies one with `agentpay policy apply FILE`."
)


def _weigh(
    request: Request, policy: Policy, entry: AgentEntry, state: State, now: datetime, base: Decision
) -> Decision:
    """The steps from what is allowed to approval, for a known agent and a well-formed request."""
    violations = [*_allows(request, entry), *_each(request, entry)]
    checks: list[LimitCheck] = []
    for limit in applied(policy, entry, request, now):
        done, exceeded = check(limit, state.sums.get(limit.reading), now)
        checks += [done] if done else []
        violations += [exceeded] if exceeded else []
    base = replace(base, checks=tuple(checks), payee_is_new=_payee_is_new(request, entry))
    if violations:
        return replace(base, outcome="deny", violations=tuple(violations))
    needs = tuple(_need(policy, entry, rule) for rule in _asking(request, entry) if rule.id not in state.approved_rules)
    if needs and state.pending_approvals >= MOST_PENDING:
        pending = violation("APPROVALS_PENDING", limit=str(MOST_PENDING), used=str(state.pending_approvals))
        return replace(base, outcome="deny", violations=(pending,))
    return replace(base, outcome="approve" if needs else "allow", needs=needs)


def _halted(request: Request, entry: AgentEntry | None, state: State) -> bool:
    scopes = {"all", f"agent:{request.agent}", *([entry.subject] if entry else [])}
    return any(halt.scope in scopes for halt in state.halts)


def _shape_fault(request: Request) -> str | None:
    """What no caller should ever ask: an operation that is not its tool's, a charge of nothing, money the wrong way."""
    if request.tool not in TOOL_NAMES or request.operation != (request.tool if request.tool in OPERATIONS else None):
        return "The request names a tool and another operation."
    if request.quantity < 0:
        return "The request has a negative quantity."
    if request.operation in ("charge", "refund") and request.money is None:
        return "The request names no amount."
    if request.operation == "charge" and request.direction != request.payee.direction:
        return "The request names a direction that is not its payee's."
    return None


# ---- what is allowed at all


def _allows(request: Request, entry: AgentEntry) -> Iterator[Violation]:
    at = entry.pointer
    if request.tool not in _ACTS:
        return
    if request.operation is not None and not entry.has_section(request.operation):
        yield violation("OPERATION_NOT_ALLOWED", rule=at)
    if pays(request) and request.provider not in entry.providers:
        yield violation("PROVIDER_NOT_ALLOWED", rule=f"{at}.providers.allow")
    for value in (request.money, request.cost):
        if value is not None and value.currency not in entry.currencies:
            message = f"The agent may not use {value.currency}."
            yield violation("CURRENCY_NOT_ALLOWED", message, rule=f"{at}.currencies.allow")
    if request.customer is None or not any(matches(pattern, request.customer) for pattern in entry.customers):
        yield violation("CUSTOMER_NOT_ALLOWED", rule=f"{at}.customers.allow")
    if _payee_is_new(request, entry) and not _new_payee_is_asked(entry):
        yield violation("PAYEE_NOT_ALLOWED", rule=f"{at}.payees.allow")
    yield from _directions(request, entry)
    yield from _plan(request, entry)
    if request.operation == "refund" and entry.refund and entry.refund.allow != "any" and not request.own_charge:
        yield violation("NOT_OWN_PAYMENT", rule=f"{at}.refund.allow")


def _payee_is_new(request: Request, entry: AgentEntry) -> bool:
    """Money goes back where it came from: a refund has no payee of its own."""
    return request.operation in ("charge", "subscribe") and request.payee not in entry.payees


def _new_payee_is_asked(entry: AgentEntry) -> bool:
    """A rule with further conditions may not fire, and then nobody would be asked."""
    return entry.new_payees == "approve" and any(rule.new_payee and not rule.amount_over for rule in entry.approvals)


def _directions(request: Request, entry: AgentEntry) -> Iterator[Violation]:
    if request.operation == "charge" and entry.charge and request.direction not in entry.charge.directions:
        yield violation("DIRECTION_NOT_ALLOWED", rule=f"{entry.pointer}.charge.directions")
    if request.operation == "subscribe" and request.direction != "collect":
        yield violation("DIRECTION_NOT_ALLOWED", "A subscription collects from its customer.", rule=entry.pointer)


def _plan(request: Request, entry: AgentEntry) -> Iterator[Violation]:
    section = entry.subscribe
    if request.operation != "subscribe" or section is None:
        return
    if EVERY_PLAN not in section.plans and request.plan not in section.plans:
        yield violation("PLAN_NOT_ALLOWED", rule=f"{entry.pointer}.subscribe.plans")


# ---- per transaction


def _each(request: Request, entry: AgentEntry) -> Iterator[Violation]:
    """The bounds of one single operation."""
    if request.operation == "charge" and entry.charge and request.money:
        at = f"{entry.pointer}.charge.per_transaction"
        least = cap_in(entry.charge.minimum, request.money.currency)
        if least is not None and request.money < least:
            message = f"{request.money} is below the least that one payment may be, {least}."
            yield violation("BELOW_MINIMUM", message, rule=f"{at}.min", limit=str(least), attempted=str(request.money))
        yield from _above(request.money, entry.charge.maximum, f"{at}.max")
    if request.operation == "subscribe" and entry.subscribe and request.money:
        yield from _above(request.money, entry.subscribe.max_per_period, f"{entry.pointer}.subscribe.max_per_period")
    if request.operation == "record_usage":
        yield from _usage(request, entry)


def _above(money: Money, maximum: tuple[Money, ...], pointer: str) -> Iterator[Violation]:
    most = cap_in(maximum, money.currency)
    if most is not None and money > most:
        message = f"{money} is above the most that one payment may be, {most}."
        yield violation("ABOVE_MAXIMUM", message, rule=pointer, limit=str(most), attempted=str(money))


def _usage(request: Request, entry: AgentEntry) -> Iterator[Violation]:
    section = entry.record_usage
    if section is None:
        return
    at = f"{entry.pointer}.record_usage"
    if section.max_quantity is not None and request.quantity > section.max_quantity:
        limit, attempted = figure(section.max_quantity, "count"), figure(request.quantity, "count")
        yield violation("QUANTITY_TOO_LARGE", rule=f"{at}.max_quantity", limit=limit, attempted=attempted)
    if request.cost is None or not section.max_cost:
        return
    most = next((price for price in section.max_cost if price.currency == request.cost.currency), None)
    if most is None:
        message = f"No cost in {request.cost.currency} may be recorded."
        yield violation("CURRENCY_NOT_ALLOWED", message, rule=f"{at}.max_cost")
    elif request.cost.nanos > most.nanos:
        yield violation("COST_TOO_HIGH", rule=f"{at}.max_cost", limit=str(most), attempted=str(request.cost))


# ---- approval


def _asking(request: Request, entry: AgentEntry) -> Iterator[ApprovalRule]:
    """The rules that want people to approve this: every condition of a rule holds."""
    if not pays(request) or request.money is None:
        return
    for rule in entry.approvals:
        over = cap_in(rule.amount_over, request.money.currency)
        if over is not None and request.money <= over:
            continue
        if rule.new_payee and not _payee_is_new(request, entry):
            continue
        yield rule


def _need(policy: Policy, entry: AgentEntry, rule: ApprovalRule) -> ApprovalNeed:
    members = policy.group(rule.approvers).members
    pointer = f"{entry.pointer}.approvals.{rule.id}"
    return ApprovalNeed(rule.id, pointer, rule.approvers, members, rule.quorum, rule.expires)
