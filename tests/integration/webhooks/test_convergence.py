"""Any order and any repetition of an object's events ends in the same state: sampled, through the real door."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.payments.queries import DISPUTES, PAYMENTS, REFUNDS
from agentpay.providers.events import WebhookEvent
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from agentpay.providers.mock_webhooks import SignedEvent
from agentpay_policies.money import Money
from integration.webhooks.conftest import Deliver, told
from support.bench import Bench, tally
from support.bench_fixtures import MakeBench
from support.parallel import run_threads

Picture = dict[str, Any]
SAMPLES = 5


def lives(bench: Bench, customer: str) -> tuple[str, list[SignedEvent]]:
    """A charge that is pending for us, and everything that happens to it at the mock meanwhile, as it was told."""
    payment = bench.manager.charge(customer, "13.10", "USD", idempotency_key=f"key-{customer}")
    charge = str(bench.attempts(payment.id)[0].reference)
    theirs = bench.mock.elsewhere
    events = [told(bench, charge)]
    bench.mock.complete(charge, "succeeded")
    events.append(told(bench, charge))
    refund = theirs.refund(charge, Money("3.00", "USD"), pending=True)
    events.append(told(bench, refund))
    theirs.end_refund(refund, "succeeded")
    events.append(told(bench, refund))
    failing = theirs.refund(charge, Money("2.00", "USD"))
    events.append(told(bench, failing))
    theirs.end_refund(failing, "declined")
    events.append(told(bench, failing))
    dispute = theirs.dispute(charge, Money("4.00", "USD"))
    events.append(told(bench, dispute))
    for end in ("won", "lost"):
        theirs.decide(dispute, end)
        events.append(told(bench, dispute))
    reversal = theirs.reverse(charge, Money("1.00", "USD"))
    events.append(told(bench, reversal))
    theirs.decide(reversal, "restored")
    events.append(told(bench, reversal))
    return payment.id, events


def picture(bench: Bench, payment_id: str) -> Picture:
    """All that the events are about, but for ids and times."""
    (payment,) = bench.rows(sa.select(PAYMENTS).where(PAYMENTS.c.id == payment_id))
    refunds = bench.rows(sa.select(REFUNDS).where(REFUNDS.c.payment_id == payment_id))
    disputes = bench.rows(sa.select(DISPUTES).where(DISPUTES.c.payment_id == payment_id))
    sums = ("status", "late", "captured_minor", "refunded_minor", "refunding_minor", "disputed_minor", "excess")
    return {
        "payment": {name: getattr(payment, name) for name in sums},
        "refunds": sorted((row.amount_minor, row.status, row.returned, row.origin) for row in refunds),
        "disputes": sorted((row.kind, row.status, row.amount_minor, row.withdrawn_minor) for row in disputes),
    }


EXPECTED: Picture = {
    "payment": {
        "status": "succeeded",
        "late": False,
        "captured_minor": 1310,
        "refunded_minor": 300,
        "refunding_minor": 0,
        "disputed_minor": 400,
        "excess": False,
    },
    "refunds": [(200, "succeeded", True, "provider"), (300, "succeeded", False, "provider")],
    "disputes": [("dispute", "lost", 400, 400), ("reversal", "restored", 100, 0)],
}


@pytest.mark.parametrize("seed", range(SAMPLES))
def test_every_sampled_order_and_repetition_ends_the_same(shared: Bench, ana: str, deliver: Deliver, seed: int) -> None:
    payment_id, events = lives(shared, ana)
    chance = random.Random(seed)
    made = [*events, *chance.sample(events, 4)]
    chance.shuffle(made)
    for event in reversed(events) if seed == 0 else made:
        deliver(shared, event)
    assert picture(shared, payment_id) == EXPECTED
    assert shared.manager.webhook_events("waiting") == ()


def test_believing_each_event_as_it_comes_does_not_converge(shared: Bench, ana: str) -> None:
    """The naive counterpart: the last event wins."""
    events = lives(shared, ana)[1]
    ends = {_naive(events), _naive(list(reversed(events)))}
    assert len(ends) == 2
    for event in events:
        shared.manager.receive_webhook("mock", event.body, event.headers)


def _naive(events: list[SignedEvent]) -> tuple[tuple[str, str], ...]:
    states: dict[str, str] = {}
    for event in events:
        told_of = json.loads(event.body)["object"]
        states[told_of["reference"]] = told_of["status"]
    return tuple(sorted(states.items()))


def test_two_deliver_the_same_event_at_once(
    bench: Bench, run_processes: Callable[..., list[Any]], database: str
) -> None:
    """Two processes, started together: exactly one applies it."""
    _charge, event = _completed(bench)
    results = run_processes(2, "integration.webhooks.jobs:deliver", (database, event.body, dict(event.headers)))
    assert sorted(results) == ["repeated", "stored"], results
    assert bench.recorded("webhook.stored") == bench.recorded("payment.succeeded") == 1


def test_four_threads_deliver_the_same_event_at_once(make_bench: MakeBench, clock: FixedClock) -> None:
    """All four have verified it before the first of them writes."""
    barrier = threading.Barrier(4)

    class Meeting(MockProvider):
        def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
            event = super().parse_webhook(body, headers, now)
            barrier.wait(30)
            return event

    bench = make_bench()
    _charge, event = _completed(bench)
    mock = Meeting(books_beside(bench.url), clock=clock)
    manager = bench.new_manager(provider=mock)
    results = run_threads(4, lambda _: manager.receive_webhook("mock", event.body, event.headers).status)
    manager.close()
    assert tally(results) == {"stored": 1, "repeated": 3}
    assert bench.recorded("webhook.stored") == bench.recorded("payment.succeeded") == 1


def test_checking_and_then_inserting_applies_twice(make_bench: MakeBench) -> None:
    """The naive counterpart: look whether the event is there; where it is not, apply it and put it there."""
    bench = make_bench()
    store, barrier = bench.engine.store, threading.Barrier(4)
    store.write(lambda tx: tx.execute(sa.text("CREATE TABLE naive_events (event_id VARCHAR)")))

    def naive(_: int) -> str:
        found = store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM naive_events WHERE event_id = 'e'")))
        barrier.wait(30)
        if not found:
            store.write(lambda tx: tx.execute(sa.text("INSERT INTO naive_events VALUES ('e')")) and None)
        return "repeated" if found else "applied"

    assert tally(run_threads(4, naive)) == {"applied": 4}
    assert store.read(lambda tx: tx.scalar(sa.text("SELECT count(*) FROM naive_events"))) == 4


def _completed(bench: Bench) -> tuple[str, SignedEvent]:
    payment = bench.manager.charge("ana", "13.10", "USD", idempotency_key="key")
    charge = str(bench.attempts(payment.id)[0].reference)
    bench.mock.complete(charge, "succeeded")
    return charge, bench.mock.webhook(charge)
