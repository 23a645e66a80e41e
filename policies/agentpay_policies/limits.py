"""Limits: which of them a request meets, what must be read for them, and what is said when one is reached."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay_policies.codes import finding
from agentpay_policies.decisions import COUNT, NANO, CounterKey, Finding, LimitCheck, Reading, Request, Sum
from agentpay_policies.money import Money, Price, format_minor, nanos_per_minor
from agentpay_policies.names import Operation
from agentpay_policies.policy import AgentEntry, Budget, Limit, Policy, cap_in
from agentpay_policies.terms import committed_minor

BUDGETED: Final[tuple[Operation, ...]] = ("charge", "subscribe")
"""The operations that spend from budgets, counted together, where a limit does not name others."""

NO_CATEGORY: Final = "-"
"""What stands in a counter for payees without a category; no category can have this name."""

Dimensions = Mapping[str, str | None]


@dataclass(frozen=True)
class Node:
    """One place of the tree that has limits: an agent's section, or a budget that is shared.

    `operations` are those that add up in a limit that names none; `agent` is the subject of who asks.
    """

    pointer: str
    subject: str
    operations: tuple[Operation, ...]
    limits: tuple[Limit, ...]
    agent: str
    shared: bool = False

    def adds_up(self, limit: Limit) -> tuple[Operation, ...]:
        """The operations that a limit of this place is for, and adds up."""
        return limit.operations or self.operations


@dataclass(frozen=True)
class AppliedLimit:
    """A limit as one request meets it. `subject` is None where the request does not say what the limit counts by."""

    node: Node
    limit: Limit
    subject: str | None
    reading: Reading
    counted: CounterKey
    cap: int
    attempted: int

    @property
    def pointer(self) -> str:
        """Where in the file the limit stands."""
        return f"{self.node.pointer}.limits.{self.limit.id}"

    @property
    def unit(self) -> str:
        """What is counted: a currency, the cost in one, or `count`."""
        return self.counted.unit


def pays(request: Request) -> bool:
    """Whether money moves, so that approvals are asked. A subscription to a free plan moves none."""
    if request.operation == "subscribe":
        return request.money is not None and request.money.minor > 0
    return request.operation in ("charge", "refund")


def weight(entry: AgentEntry | None, request: Request) -> int:
    """What a payment counts in limits and approvals, in minor units: of a subscription what it commits to.

    `entry` is None for an agent that the policy does not know any more.
    """
    assert request.money is not None
    if request.operation != "subscribe":
        return request.money.minor
    counts = entry.subscribe.counts if entry and entry.subscribe else "committed"
    return committed_minor(request.money.minor, request.term, counts)


def nodes(policy: Policy, entry: AgentEntry, agent: str, *, shadow: bool = False) -> Iterator[Node]:
    """The places that have limits: the agent's own sections, then the budgets up the tree; or their shadow limits."""
    own = entry.shadow if shadow else entry
    subject = entry.subject_of(agent)
    sections: tuple[Operation, ...] = ("charge", "record_usage", "refund")
    for operation in sections:
        if own is not None and (section := getattr(own, operation)) is not None:
            yield Node(f"{entry.pointer}.{operation}", subject, (operation,), section.limits, subject)
    for budget in policy.budgets_of(entry):
        yield _shared(budget, budget.shadow if shadow else budget.limits, subject)


def _shared(budget: Budget, limits: tuple[Limit, ...], agent: str) -> Node:
    return Node(f"budgets.{budget.id}", f"budget:{budget.id}", BUDGETED, limits, agent, shared=True)


def applied(
    policy: Policy, entry: AgentEntry, request: Request, now: datetime, *, shadow: bool = False
) -> Iterator[AppliedLimit]:
    """Every limit that a request meets, up the whole tree; or every one that is only tried out."""
    for node in nodes(policy, entry, request.agent, shadow=shadow):
        yield from _applied_at(node, policy, entry, request, now)


def left_behind(
    policy: Policy, request: Request, path: Container[str], agent: str, now: datetime
) -> Iterator[AppliedLimit]:
    """The limits of the budgets on an earlier path that the agent is not under any more: what it spent under them was
    spent. `agent` is the subject that the agent had then."""
    present = policy.path(request.agent)
    for budget in policy.budgets:
        node = _shared(budget, (*budget.limits, *budget.shadow), agent)
        if node.subject in path and node.subject not in present:
            yield from _applied_at(node, policy, policy.agent(request.agent), request, now)


def _applied_at(
    node: Node, policy: Policy, entry: AgentEntry | None, request: Request, now: datetime
) -> Iterator[AppliedLimit]:
    """The limits of one place that a request meets."""
    if not (pays(request) or request.operation == "record_usage"):
        return
    for limit in node.limits:
        if request.operation not in node.adds_up(limit) or not limit.applies(request.direction):
            continue
        if measure := _measure(limit, entry, request):
            yield _apply(policy, node, limit, request, measure, now)


def _measure(limit: Limit, entry: AgentEntry | None, request: Request) -> tuple[str, int, int] | None:
    """The unit, the cap and what the request adds; None where the limit says nothing of the request's currency."""
    if limit.count is not None:
        return COUNT, limit.count, 1
    if request.operation == "record_usage":
        cap = cap_in(limit.amounts, request.cost.currency) if request.cost else None
        return (NANO + cap.currency, cap_nanos(cap), request.cost.nanos) if cap and request.cost else None
    cap = cap_in(limit.amounts, request.money.currency) if request.money else None
    return (cap.currency, cap.minor, weight(entry, request)) if cap and request.money else None


def cap_nanos(cap: Money) -> int:
    """A cap on recorded cost in 10⁻⁹ of the currency."""
    return cap.minor * nanos_per_minor(cap.currency)


def _apply(
    policy: Policy, node: Node, limit: Limit, request: Request, measure: tuple[str, int, int], now: datetime
) -> AppliedLimit:
    unit, cap, attempted = measure
    subject = subject_of(node, limit, dimensions(policy, request))
    place = subject or node.subject
    assert request.operation is not None
    return AppliedLimit(
        node=node,
        limit=limit,
        subject=subject,
        reading=reading_of(node, limit, place, request.direction, unit, now),
        counted=CounterKey(place, request.operation, request.direction, unit),
        cap=cap,
        attempted=attempted,
    )


def reading_of(node: Node, limit: Limit, subject: str, direction: str, unit: str, now: datetime) -> Reading:
    """What must be read for a limit: its counters of every operation and direction that add up, within its window."""
    directions = limit.directions or (direction,)
    keys = (CounterKey(subject, operation, way, unit) for operation in node.adds_up(limit) for way in directions)
    return Reading(tuple(sorted(keys)), limit.window.start(now))


def dimensions(policy: Policy, request: Request) -> Dimensions:
    """What a request says of each thing that limits may count by. The category is the operator's word."""
    return {
        "customer": request.customer_ref,
        "payee": request.payee.canonical,
        "provider": request.provider,
        "category": policy.category_of(request.payee) or NO_CATEGORY,
    }


def subject_of(node: Node, limit: Limit, known: Dimensions) -> str | None:
    """The subject that a limit counts in: its node, or by `per:` a part of it; None where the part is not known."""
    if limit.per is None or (limit.per == "agent" and not node.shared):
        return node.subject
    if limit.per == "agent":
        return f"{node.subject}|{node.agent}"
    value = known.get(limit.per)
    return f"{node.subject}|{limit.per}:{value}" if value else None


# ---- checking


def check(limit: AppliedLimit, found: Sum | None, now: datetime) -> tuple[LimitCheck | None, Finding | None]:
    """The check to store, and the finding if the limit would be passed. Reaching it exactly is allowed.

    What cannot be read, or cannot be true, counts as passed.
    """
    if found is None or limit.subject is None or not 0 <= found.held <= found.total:
        return None, finding("EVALUATION_FAILED", "A limit could not be read.", rule=limit.pointer)
    done = LimitCheck(
        limit.pointer, limit.subject, limit.unit, limit.cap, found.total, limit.attempted, limit.reading.start
    )
    exceeded = found.total + limit.attempted > limit.cap
    return done, _exceeded(limit, found, now) if exceeded else None


def _exceeded(limit: AppliedLimit, found: Sum, now: datetime) -> Finding:
    attempted = figure(limit.attempted, limit.unit)
    remaining, cap = figure(max(limit.cap - found.total, 0), limit.unit), figure(limit.cap, limit.unit)
    if limit.unit == COUNT:
        code, message = "COUNT_EXCEEDED", f"The limit {limit.limit.id} allows {cap} in its window."
    else:
        message = f"{attempted} is more than what is left of the limit {limit.limit.id}: {remaining} of {cap}."
        code = "LIMIT_EXCEEDED"
    shared = limit.node.shared
    return finding(
        "BUDGET_EXHAUSTED" if shared else code,
        "" if shared else message,
        full_message=message,
        shared=shared,
        subject=limit.subject or "",
        rule=limit.pointer,
        limit=cap,
        used=figure(found.total - found.held, limit.unit),
        held=figure(found.held, limit.unit),
        attempted=attempted,
        remaining=remaining,
        retry_at=free_at(limit.limit, found, limit.attempted, limit.cap, now),
    )


def figure(value: int, unit: str) -> str:
    """A number of a unit as text: `150.00 USD`, of recorded cost `0.0015 USD`, or `10`."""
    if unit == COUNT:
        return str(value)
    if unit.startswith(NANO):
        return str(Price.summed(value, unit.removeprefix(NANO)))
    return f"{format_minor(value, unit)} {unit}"


def free_at(limit: Limit, found: Sum, attempted: int, cap: int, now: datetime) -> datetime | None:
    """When the limit lets this much through if nothing else is spent; None: never, or not known."""
    if attempted > cap:
        return None
    if limit.window.kind != "rolling":
        return limit.window.end(now)
    missing = found.total + attempted - cap
    for _, end, value in found.buckets:
        missing -= value
        if missing <= 0:
            return limit.window.leaves(end)
    return None
