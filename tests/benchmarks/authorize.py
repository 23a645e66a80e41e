"""How long a decision takes after 10, ten thousand and a million payments of one agent: it must not grow with them.

Prints, for each number of earlier payments, how often a second `evaluate` decides with its readings at hand, and how
often the gate authorises in full: the readings from the counters, the decision, the hold, the counters and an audit
row, committed to disk. The last column is the time of that, as a multiple of the first row's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.clock import FixedClock
from agentpay.principal import agent
from agentpay.spending import active, counters, holds
from agentpay.spending.models import Allowed, Ask
from agentpay.spending.tables import HoldRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import Request, State, Sum
from agentpay_policies.evaluate import evaluate, readings
from agentpay_policies.money import Money
from support.bench import Bench, policy

SIZES: Final = (10, 10_000, 1_000_000)
NOW: Final = datetime(2026, 6, 30, 12, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
AT_ONCE: Final = 20_000

WINDOWS: Final[tuple[object, ...]] = (
    {"rolling": "1h"},
    {"rolling": "24h"},
    {"rolling": "365d"},
    {"calendar": "month"},
    "lifetime",
)
RULES: Final = policy(
    {
        "bot": {
            "budget": "team",
            "charge": {
                "directions": ["collect"],
                "limits": [
                    {"id": f"limit-{number}", "amount": "900000000.00 USD", "window": window}
                    for number, window in enumerate(WINDOWS)
                ],
            },
        }
    },
    budgets={"team": {"limits": [{"id": "month", "amount": "900000000.00 USD", "window": {"rolling": "30d"}}]}},
)
REQUEST: Final = Request(
    tool="charge",
    agent="bot",
    operation="charge",
    customer="ana",
    provider="mock",
    money=Money("5.00", "USD"),
    customer_ref="cus_ana",
)


@dataclass(frozen=True)
class Row:
    """What was measured after so many payments: decisions, and authorisations, a second."""

    payments: int
    evaluated: float
    authorised: float


def seed(bench: Bench, payments: int) -> None:
    """Give the agent a past: so many captured payments of a dollar, spread over a year, and their counters."""
    columns = {
        "agent": "bot", "path": "agent:bot\nbudget:team", "operation": "charge", "direction": "collect",
        "customer_id": "cus_ana", "payee": "self", "provider": "mock", "currency": "USD", "amount_minor": 100,
        "weight_minor": 100, "cost_nanos": 0, "approved": False, "restores": False, "restored_minor": 0,
        "kind": "attempt", "state": "captured",
    }  # fmt: skip
    for start in range(0, payments, AT_ONCE):
        rows = [
            {
                **columns,
                "id": f"hld_{number}",
                "owner_id": f"pay_{number}",
                "decision_id": f"dec_{number}",
                "held_at": NOW - YEAR * number / payments,
            }
            for number in range(start, min(start + AT_ONCE, payments))
        ]
        bench.engine.store.write(partial(_insert, rows=rows))
    bench.engine.store.write(_count)


def _insert(tx: Tx, *, rows: list[dict[str, object]]) -> None:
    tx.execute(sa.insert(table(HoldRow)), rows)


def _count(tx: Tx) -> None:
    """The counters, as a policy that becomes active makes them."""
    rules = active.policy(tx)
    counters.make_anew(tx, holds.rebuilt(tx, lambda hold: active.keys_under(rules, hold)))


def authorise(bench: Bench, number: int) -> None:
    """One whole authorisation, durable."""

    def write(tx: Tx) -> None:
        ask = Ask(REQUEST, f"pay_new_{number}", "charge", f"k{number}", "digest", "cus_ana", "mock")
        assert isinstance(bench.engine.gate.authorize(tx, ask), Allowed)
        log.record(tx, principal=agent("bot"), action="bench", object_id=ask.owner_id, data={}, at=tx.now())

    bench.engine.store.write(write)


def rate(step: Callable[[int], object], seconds: float) -> float:
    """How often a step runs in a second, over at least so many seconds."""
    for number in range(5):
        step(-1 - number)
    begun, times = time.perf_counter(), 0
    while (spent := time.perf_counter() - begun) < seconds:
        step(times)
        times += 1
    return times / spent


def measure(payments: int, seconds: float) -> Row:
    """Measure on a database of its own, on disk."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(f"sqlite:///{Path(folder) / 'bench.db'}", clock=FixedClock(NOW), policy=RULES)
        try:
            seed(bench, payments)
            rules = bench.engine.store.read(active.policy)
            wanted = readings(rules, REQUEST, NOW)
            state = State(sums={reading: Sum(total=0) for reading in wanted})
            evaluated = rate(lambda _: evaluate(replace(REQUEST), rules, state, NOW), seconds)
            return Row(payments, evaluated, rate(lambda number: authorise(bench, number), seconds))
        finally:
            bench.close()


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args(arguments)
    rows: list[Row] = []
    print(f"{'payments before':>16} {'evaluate/s':>12} {'authorize/s':>12} {'time, of the first row':>24}")
    for size in given.sizes:
        row = measure(size, given.seconds)
        rows.append(row)
        share = rows[0].authorised / row.authorised
        print(f"{row.payments:>16,} {row.evaluated:>12,.0f} {row.authorised:>12,.0f} {share:>24.2f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
