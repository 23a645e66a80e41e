"""What another policy would have said to the requests of the past, in money: the pure core of `policy backtest`.

The engine reads the recorded requests as data; nothing here asks a database or moves anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from agentpay_policies.decisions import Decision, Outcome, Request, State
from agentpay_policies.limits import pays
from agentpay_policies.money import format_minor
from agentpay_policies.policy import Policy
from agentpay_policies.replay import Tally


@dataclass(frozen=True)
class Recorded:
    """A request of the past, when it came, and how it ended then.

    `outcome` is the old decision. `approved` says of a parked one whether people approved it in the end: under another
    policy that parks it too, they are taken to answer the same. `state` is what is no counter: halts, look-alike,
    enrolled agents.
    """

    request: Request
    at: datetime
    outcome: Outcome
    approved: bool = False
    state: State = field(default_factory=State)


@dataclass(frozen=True)
class Moved:
    """A request that another policy answers differently, with its reasons: codes, or the rules that ask people."""

    recorded: Recorded
    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """Requests that moved from one outcome to another, together, in one currency (empty: nothing was to be paid)."""

    before: Outcome
    after: Outcome
    currency: str
    count: int
    minor: int

    def __str__(self) -> str:
        money = f", {format_minor(self.minor, self.currency)} {self.currency}" if self.currency else ""
        return f"{self.before} → {self.after}: {self.count}{money}"


@dataclass(frozen=True)
class Report:
    """What would be different. `replayed` counts every request, `moved` holds those with another answer."""

    replayed: int
    moved: tuple[Moved, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """The sums by old outcome, new outcome and currency."""
        sums: dict[tuple[Outcome, Outcome, str], tuple[int, int]] = {}
        for moved in self.moved:
            money = moved.recorded.request.money
            key = (moved.recorded.outcome, moved.outcome, money.currency if money else "")
            count, minor = sums.get(key, (0, 0))
            sums[key] = (count + 1, minor + (money.minor if money else 0))
        return tuple(Line(*key, *sums[key]) for key in sorted(sums))


def compare_decisions(recorded: Iterable[Recorded], policy: Policy) -> Report:
    """Replay requests, in the order of time, under a policy that had decided from the first of them.

    What it lets through counts in its limits; so does what it parks, where people approved it then, or where it was
    not parked then: nobody knows what they would have said, and a limit is not to look emptier than it was.
    """
    tally = Tally(policy)
    ordered = sorted(recorded, key=lambda one: one.at)
    return Report(len(ordered), tuple(_replayed(ordered, tally)))


def _replayed(ordered: Iterable[Recorded], tally: Tally) -> Iterator[Moved]:
    for one in ordered:
        decision = tally.simulate(one.request, one.at, one.state)
        paid = pays(one.request) or one.request.operation == "record_usage"
        if paid and (decision.outcome == "allow" or (decision.outcome == "approve" and _goes_through(one))):
            tally.hold(one.request, one.at, approved=decision.outcome == "approve")
        if decision.outcome != one.outcome:
            yield Moved(one, decision.outcome, _reasons(decision))


def _goes_through(one: Recorded) -> bool:
    return one.approved or one.outcome == "allow"


def _reasons(decision: Decision) -> tuple[str, ...]:
    return (*(found.code for found in decision.violations), *(need.pointer for need in decision.needs))
