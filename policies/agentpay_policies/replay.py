"""Counters in memory, fed in the order of time: what a decision reads where there is no database.

For trying a policy out (`simulate`) and for replaying recorded requests under another one (`backtest`). A sum costs
the logarithm of what was ever counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from agentpay_policies.decisions import CounterKey, Decision, Reading, Request, State, Sum
from agentpay_policies.evaluate import amounts_counted, evaluate, readings
from agentpay_policies.policy import Policy
from agentpay_policies.windows import floor_minute


@dataclass
class _Counter:
    """One counter: the minutes in which something was counted, and the running total after each."""

    minutes: list[datetime] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)

    def add(self, minute: datetime, value: int) -> None:
        if self.minutes and minute < self.minutes[-1]:
            raise ValueError("what is replayed is in the order of time")
        before = self.totals[-1] if self.totals else 0
        self.minutes.append(minute)
        self.totals.append(before + value)

    def since(self, start: datetime | None) -> int:
        if not self.totals:
            return 0
        first = 0 if start is None else bisect_left(self.minutes, start)
        return self.totals[-1] - (self.totals[first - 1] if first else 0)


class Tally:
    """The counters of one policy, as they would stand had it decided from the beginning."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._counters: dict[CounterKey, _Counter] = {}

    def simulate(self, request: Request, now: datetime, state: State | None = None) -> Decision:
        """The decision about a request at this moment, without a hold. `state` gives what is no counter."""
        sums = {reading: self._sum(reading) for reading in readings(self.policy, request, now)}
        return evaluate(request, self.policy, replace(state or State(), sums=sums), now)

    def hold(self, request: Request, now: datetime, *, approved: bool = False) -> None:
        """Count a request that was let through.

        Raises:
            ValueError: something later was counted already.
        """
        for key, value in amounts_counted(self.policy, request, approved=approved).items():
            self._counters.setdefault(key, _Counter()).add(floor_minute(now), value)

    def _sum(self, reading: Reading) -> Sum:
        found: Iterable[_Counter | None] = (self._counters.get(key) for key in reading.keys)
        return Sum(sum(counter.since(reading.start) for counter in found if counter is not None))
