"""Limits: which of them a request meets, what must be read for them, and what is said when one is reached."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentpay_policies.codes import violation
from agentpay_policies.decisions import COUNT, CounterKey, LimitCheck, Reading, Request, Sum, Violation
from agentpay_policies.money import Money
from agentpay_policies.names import Operation
from agentpay_policies.policy import AgentEntry, Budget, Limit, Policy, cap_in

BUDGETED: Final[tuple[Operation, ...]] = ("charge", "subscribe")
"""The operations that spend from budgets, counted together."""

Dimensions = Mapping[str, str | None]


@dataclass(frozen=True)
class Node:
    """One place of the tree that has limits: an agent's section, or a budget that is shared."""

    pointer: str
    subject: str
    operations: tuple[Operation, ...]
    limits: tuple[Limit, ...]
    shared: bool = False


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
        """What is counted: a currency, or `count`."""
        return self.counted.unit


def pays(request: Request) -> bool:
    """Whether money moves, so that limits and approvals are asked. A subscription to a free plan moves none."""
    if request.operation == "subscribe":
        return request.money is not None and request.money.minor > 0
    return request.operation in ("charge", "refund")


def nodes(policy: Policy, entry: AgentEntry, operation: Operation | None) -> Iterator[Node]:
    """The places whose limits an operation meets: the agent's own section, then the budgets up the tree."""
    section = {"charge": entry.charge, "refund": entry.refund}.get(operation or "")
    if section is not None and operation is not None:
        yield Node(f"{entry.pointer}.{operation}", entry.subject, (operation,), section.limits)
    if operation in BUDGETED:
        for budget in policy.budgets_of(entry):
            yield _shared(budget)


def applied(policy: Policy, entry: AgentEntry, request: Request, now: datetime) -> Iterator[AppliedLimit]:
    """Every limit that a request meets, up the whole tree."""
    if not pays(request) or request.operation is None:
        return
    for node in nodes(policy, entry, request.operation):
        for limit in node.limits:
            if limit.applies(request.direction) and (measure := _measure(limit, request.money)):
                yield _apply(node, limit, entry.subject, request, measure, now)


def left_behind(
    policy: Policy, request: Request, path: Container[str], agent: str, now: datetime
) -> Iterator[AppliedLimit]:
    """The limits of the budgets on an earlier path that the agent is not under any more: what it spent under them was
    spent. `agent` is the subject that the agent had then."""
    if not pays(request) or request.operation not in BUDGETED:
        return
    present = policy.path(request.agent)
    for budget in policy.budgets:
        node = _shared(budget)
        if node.subject in path and node.subject not in present:
            for limit in node.limits:
                if limit.applies(request.direction) and (measure := _measure(limit, request.money)):
                    yield _apply(node, limit, agent, request, measure, now)


def _shared(budget: Budget) -> Node:
    return Node(f"budgets.{budget.id}", f"budget:{budget.id}", BUDGETED, budget.limits, shared=True)


def _measure(limit: Limit, money: Money | None) -> tuple[str, int, int] | None:
    """The unit, the cap and what the request adds; None where the limit says nothing of the request's currency."""
    if limit.count is not None:
        return COUNT, limit.count, 1
    cap = cap_in(limit.amounts, money.currency) if money else None
    return (cap.currency, cap.minor, money.minor) if cap and money else None


def _apply(
    node: Node, limit: Limit, agent: str, request: Request, measure: tuple[str, int, int], now: datetime
) -> AppliedLimit:
    unit, cap, attempted = measure
    subject = subject_of(node, limit, agent, dimensions(request))
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
    keys = (CounterKey(subject, operation, way, unit) for operation in node.operations for way in directions)
    return Reading(tuple(sorted(keys)), limit.window.start(now))


def dimensions(request: Request) -> Dimensions:
    """What a request says of each thing that limits may count by."""
    return {"customer": request.customer_ref, "payee": request.payee.canonical, "provider": request.provider}


def subject_of(node: Node, limit: Limit, agent: str, known: Dimensions) -> str | None:
    """The subject that a limit counts in: its node, or by `per:` a part of it; None where the part is not known.

    `agent` is the subject of the agent's entry.
    """
    if limit.per is None or (limit.per == "agent" and not node.shared):
        return node.subject
    if limit.per == "agent":
        return f"{node.subject}|{agent}"
    value = known.get(limit.per)
    return f"{node.subject}|{limit.per}:{value}" if value else None


# ---- checking


def check(limit: AppliedLimit, found: Sum | None, now: datetime) -> tuple[LimitCheck | None, Violation | None]:
    """The check to store, and the violation if the limit would be passed. Reaching it exactly is allowed.

    What cannot be read, or cannot be true, counts as passed.
    """
    if found is None or limit.subject is None or not 0 <= found.held <= found.total:
        return None, violation("EVALUATION_FAILED", "A limit could not be read.", rule=limit.pointer)
    done = LimitCheck(
        limit.pointer, limit.subject, limit.unit, limit.cap, found.total, limit.attempted, limit.reading.start
    )
    exceeded = found.total + limit.attempted > limit.cap
    return done, _exceeded(limit, found, now) if exceeded else None


def _exceeded(limit: AppliedLimit, found: Sum, now: datetime) -> Violation:
    retry_at = free_at(limit.limit, found, limit.attempted, limit.cap, now)
    attempted = figure(limit.attempted, limit.unit)
    if limit.node.shared:
        return violation("BUDGET_EXHAUSTED", rule=limit.pointer, attempted=attempted, retry_at=retry_at)
    remaining, cap = figure(max(limit.cap - found.total, 0), limit.unit), figure(limit.cap, limit.unit)
    if limit.unit == COUNT:
        code, message = "COUNT_EXCEEDED", f"The limit {limit.limit.id} allows {cap} in its window."
    else:
        message = f"{attempted} is more than what is left of the limit {limit.limit.id}: {remaining} of {cap}."
        code = "LIMIT_EXCEEDED"
    return violation(
        code,
        message,
        rule=limit.pointer,
        limit=cap,
        used=figure(found.total - found.held, limit.unit),
        held=figure(found.held, limit.unit),
        attempted=attempted,
        remaining=remaining,
        retry_at=retry_at,
    )


def figure(value: int, unit: str) -> str:
    """A number of a unit as text: `150.00 USD`, or `10`."""
    return str(value) if unit == COUNT else str(Money.from_minor(value, unit))


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
