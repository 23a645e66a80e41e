"""What is left: for the tool get_budget, from the same limits and counters that decide.

An agent sees its own limits with figures. Of a budget that it shares it sees only whether it is exhausted, and what
the whole path lets it spend now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from agentpay_policies.allowing import active_findings
from agentpay_policies.decisions import COUNT, NANO, Halt, Reading, Sum
from agentpay_policies.limits import Node, cap_nanos, figure, nodes, reading_of, subject_of
from agentpay_policies.money import Money
from agentpay_policies.names import Direction, Operation, ToolName
from agentpay_policies.policy import AgentEntry, Limit, Policy, cap_in
from agentpay_policies.schedule import inside, next_opening

SharedBudget = Literal["none", "available", "exhausted"]


@dataclass(frozen=True)
class LimitView:
    """One limit of the agent's own, in one unit (a currency, or `count`), as texts. Of recorded cost the unit is the
    currency too, and the figures may be below a cent.

    `used`, `held` and `remaining` are None where the limit counts each customer, payee or provider apart and the
    question named none. `resets_at` is when a calendar window ends, or when the oldest of what a rolling window counts
    leaves it; None where nothing will be freed, or it is not known.
    """

    id: str
    operation: Operation
    directions: tuple[Direction, ...]
    unit: str
    window: str
    per: str | None
    limit: str
    used: str | None
    held: str | None
    remaining: str | None
    resets_at: datetime | None


@dataclass(frozen=True)
class Spendable:
    """The most that one charge may be now, in one currency and direction, over the whole path; approval set aside.

    `until` is when the first window on the path ends or frees something, so that it may be more.
    """

    currency: str
    direction: Direction
    amount: Money
    until: datetime | None


@dataclass(frozen=True)
class BudgetView:
    """An agent's answer to: what may I use, and what is left. All empty where the policy does not know the agent."""

    agent_known: bool
    halted: bool
    tools: tuple[ToolName, ...] = ()
    currencies: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    can_spend_now: tuple[Spendable, ...] = ()
    limits: tuple[LimitView, ...] = ()
    shared_budget: SharedBudget = "none"


@dataclass(frozen=True)
class _Line:
    """One limit in one unit and direction. `reading` is None where the question does not say what it counts by."""

    node: Node
    limit: Limit
    direction: Direction
    unit: str
    cap: int
    reading: Reading | None
    operations: frozenset[Operation]

    def found(self, sums: Mapping[Reading, Sum]) -> Sum:
        """What is counted; of a sum that is missing, everything that there is to spend."""
        return sums.get(self.reading, Sum(self.cap)) if self.reading else Sum(0)

    def remaining(self, sums: Mapping[Reading, Sum]) -> int:
        return max(self.cap - self.found(sums).total, 0)

    def frees_at(self, sums: Mapping[Reading, Sum], now: datetime) -> datetime | None:
        if self.limit.window.kind != "rolling":
            return self.limit.window.end(now)
        buckets = self.found(sums).buckets
        return self.limit.window.leaves(buckets[0][1]) if buckets else None


def budget_readings(
    policy: Policy | None, agent: str, now: datetime, customer_ref: str | None = None
) -> tuple[Reading, ...]:
    """What must be read for `budget_view` of the same question, each once."""
    entry = policy.agent(agent) if policy else None
    if policy is None or entry is None:
        return ()
    lines = _lines(policy, entry, agent, now, customer_ref)
    return tuple(dict.fromkeys(line.reading for line in lines if line.reading is not None))


def budget_view(
    policy: Policy | None,
    agent: str,
    sums: Mapping[Reading, Sum],
    halts: tuple[Halt, ...],
    now: datetime,
    customer_ref: str | None = None,
    currency: str | None = None,
    *,
    enrolled: frozenset[str] = frozenset(),
) -> BudgetView:
    """What the agent may use and what is left, in one currency or in all that it may use.

    `enrolled` are the agents that the operator enrolled; only patterns with `each: true` ask.
    """
    entry = policy.agent(agent) if policy else None
    if entry is not None and entry.each and agent not in enrolled:
        entry = None
    scopes = {"all", f"agent:{agent}", *([entry.subject] if entry else [])}
    halted = any(halt.scope in scopes for halt in halts)
    if policy is None or entry is None:
        return BudgetView(agent_known=False, halted=halted)
    wanted = tuple(code for code in entry.currencies if currency in (None, code))
    found = _lines(policy, entry, agent, now, customer_ref)
    lines = [line for line in found if line.unit.removeprefix(NANO) in (COUNT, *wanted)]
    return BudgetView(
        agent_known=True,
        halted=halted,
        tools=tuple(sorted(policy.tools_of(agent))),
        currencies=entry.currencies,
        providers=entry.providers,
        can_spend_now=tuple(_spendables(entry, lines, wanted, sums, now, halted)),
        limits=tuple(_view(line, sums, now) for line in lines if not line.node.shared),
        shared_budget=_shared(lines, sums),
    )


_COLLECT: Final[tuple[Direction, ...]] = ("collect",)
_SPENDING: Final = frozenset({"charge", "subscribe"})


def _lines(policy: Policy, entry: AgentEntry, agent: str, now: datetime, customer_ref: str | None) -> Iterator[_Line]:
    """Every limit on the agent's path, in each unit, and in each direction that it may charge in."""
    charged = entry.charge.directions if entry.charge else _COLLECT
    for node in nodes(policy, entry, agent):
        for limit in node.limits:
            operations = node.adds_up(limit)
            ways = charged if "charge" in operations else _COLLECT
            for direction in (way for way in ways if limit.applies(way)):
                subject = subject_of(node, limit, {"customer": customer_ref})
                for unit, cap in _units(limit, operations, entry):
                    reading = reading_of(node, limit, subject, direction, unit, now) if subject else None
                    yield _Line(node, limit, direction, unit, cap, reading, frozenset(operations))


def _units(limit: Limit, operations: tuple[Operation, ...], entry: AgentEntry) -> Iterator[tuple[str, int]]:
    if limit.count is not None:
        yield COUNT, limit.count
    for money in limit.amounts:
        if money.currency in entry.currencies and "record_usage" in operations:
            yield NANO + money.currency, cap_nanos(money)
        elif money.currency in entry.currencies:
            yield money.currency, money.minor


def _spendables(
    entry: AgentEntry,
    lines: list[_Line],
    currencies: tuple[str, ...],
    sums: Mapping[Reading, Sum],
    now: datetime,
    halted: bool,
) -> Iterator[Spendable]:
    section = entry.charge
    if section is None or "charge" not in entry.tools:
        return
    # Outside its time an agent can spend nothing, whatever its limits leave.
    shut = halted or any(active_findings(entry, now)) or not inside(entry.time_windows, now)
    opens = entry.not_before if entry.not_before and now < entry.not_before else next_opening(entry.time_windows, now)
    for currency in currencies:
        for direction in section.directions:
            on_path = [
                line
                for line in lines
                if line.direction == direction and line.unit in (COUNT, currency) and "charge" in line.operations
            ]
            amount = 0 if shut else _least(entry, on_path, currency, sums)
            times = [moment for line in on_path if (moment := line.frees_at(sums, now)) is not None]
            if shut and opens is not None:
                times = [opens]
            yield Spendable(currency, direction, Money.from_minor(amount, currency), min(times, default=None))


def _least(entry: AgentEntry, on_path: list[_Line], currency: str, sums: Mapping[Reading, Sum]) -> int:
    """The least that the path leaves; nothing where no more attempt is left, or less than one payment must be."""
    assert entry.charge is not None
    if any(line.unit == COUNT and line.remaining(sums) == 0 for line in on_path):
        return 0
    caps = [line.remaining(sums) for line in on_path if line.unit == currency]
    if (most := cap_in(entry.charge.maximum, currency)) is not None:
        caps.append(most.minor)
    least = cap_in(entry.charge.minimum, currency)
    amount = min(caps, default=0)
    return 0 if least is not None and amount < least.minor else amount


def _view(line: _Line, sums: Mapping[Reading, Sum], now: datetime) -> LimitView:
    found = line.found(sums)
    known = line.reading is not None
    return LimitView(
        id=line.limit.id,
        operation=line.node.operations[0],
        directions=line.limit.counts(line.direction),
        unit=line.unit.removeprefix(NANO),
        window=str(line.limit.window),
        per=line.limit.per,
        limit=figure(line.cap, line.unit),
        used=figure(max(found.total - found.held, 0), line.unit) if known else None,
        held=figure(found.held, line.unit) if known else None,
        remaining=figure(line.remaining(sums), line.unit) if known else None,
        resets_at=line.frees_at(sums, now) if known else None,
    )


def _shared(lines: list[_Line], sums: Mapping[Reading, Sum]) -> SharedBudget:
    shared = [line for line in lines if line.node.shared and line.operations & _SPENDING]
    if not shared:
        return "none"
    return "exhausted" if any(line.remaining(sums) == 0 for line in shared) else "available"
