"""How the limits stand that one request meets: for people who decide, with every figure, of shared budgets too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agentpay.spending import active, counters, holds
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.decisions import Reading, Request
from agentpay_policies.limits import AppliedLimit, applied, figure
from agentpay_policies.policy import Policy


@dataclass(frozen=True)
class Standing:
    """One limit on the agent's path that a request meets, in texts such as `"150.00 USD"` or `"10"`.

    `used` was spent, `held` waits, `remaining` is what is left: all without the request itself, which adds `asked`.
    `fits` says whether that is still within the limit.
    """

    rule: str
    subject: str
    shared: bool
    window: str
    limit: str
    used: str
    held: str
    remaining: str
    asked: str
    fits: bool


def standings(
    tx: Tx, policy: Policy | None, request: Request, now: datetime, *, own: Row | None = None
) -> tuple[Standing, ...]:
    """Every limit that a request meets now, up the tree, by the counters that decide.

    `own` is the hold that the request has already: a request never counts its own.
    """
    entry = policy.agent(request.agent) if policy else None
    if policy is None or entry is None:
        return ()
    met = applied(policy, entry, request, now)
    return tuple(_standing(tx, limit, own) for limit in met if limit.subject is not None)


def _standing(tx: Tx, limit: AppliedLimit, own: Row | None) -> Standing:
    mine = 0 if own is None else _counted_of(tx, own, limit.reading)
    total = counters.total(tx, limit.reading) - mine
    held = holds.held_sum(tx, limit.reading) - mine
    return Standing(
        rule=limit.pointer,
        subject=limit.subject or "",
        shared=limit.node.shared,
        window=str(limit.limit.window),
        limit=figure(limit.cap, limit.unit),
        used=figure(total - held, limit.unit),
        held=figure(held, limit.unit),
        remaining=figure(max(limit.cap - total, 0), limit.unit),
        asked=figure(limit.attempted, limit.unit),
        fits=total + limit.attempted <= limit.cap,
    )


def _counted_of(tx: Tx, hold: Row, reading: Reading) -> int:
    """What a hold counts in a reading."""
    if reading.start is not None and hold.held_at < reading.start:
        return 0
    counted = set(active.keys(tx, hold)).intersection(reading.keys)
    return sum(holds.value(hold, key.unit) for key in counted)
