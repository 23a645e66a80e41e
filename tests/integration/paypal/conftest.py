"""An engine with PayPal on a fake of it; after each test the fake's books are held against ours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.payments.queries import ATTEMPTS, PAYMENTS, REFUNDS
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_ids import Mark
from agentpay.testing.paypal_fake import PayPalFake
from conftest import START
from support.bench import OPEN, Bench, policy
from support.bench_fixtures import MakeBench, make_bench

__all__ = ["make_bench"]

BOT = OPEN["agents"]["bot"]
ALLOWING = policy({
    "bot": {
        "providers": {"allow": ["mock", "paypal"]},
        "currencies": {"allow": ["USD"]},
        "payees": {"allow": ["self", "paypal:*@example.com"]},
        "charge": {**BOT["charge"], "directions": ["collect", "send"]},
    }
})  # fmt: skip


@dataclass
class Shop:
    """The engine, PayPal on the fake, and the fake."""

    bench: Bench
    fake: PayPalFake
    paypal: PayPalProvider

    def charge(self, customer: str, key: str, amount: str = "10.00", currency: str = "USD", **more: Any) -> Any:
        """A charge by PayPal, as the operator."""
        return self.bench.manager.charge(customer, amount, currency, provider="paypal", idempotency_key=key, **more)

    def after_the_lease(self) -> None:
        """Let so much time pass that nothing can be under way any more."""
        self.bench.later(seconds=self.paypal.capabilities().lease.total_seconds() * 1.2 + 600)

    def audit(self) -> None:
        """What moved at PayPal is what our payments and refunds say, and each thing moved once."""
        rows = {row.provider_key: row for row in self.bench.rows(sa.select(ATTEMPTS))}
        moved: dict[str, int] = {}
        for one in self.fake.movements():
            mark = Mark.read(one.key)
            subject = rows[mark.key if mark else one.key].subject_id
            moved[subject] = moved.get(subject, 0) + one.money.minor
        for table in (PAYMENTS, REFUNDS):
            for row in self.bench.rows(sa.select(table)):
                known = moved.pop(row.id, 0)
                open_ = row.status in ("pending", "requires_action", "unknown")
                assert known == (row.amount_minor if row.status == "succeeded" else 0) or open_, (row.id, row.status)
        assert not moved, "money moved for what nobody knows"


@pytest.fixture(scope="module")
def running() -> Iterator[PayPalFake]:
    """The fake behind `shop`."""
    with PayPalFake(clock=FixedClock(START)) as made:
        yield made


@pytest.fixture
def shop(running: PayPalFake, make_bench: MakeBench, clock: FixedClock) -> Iterator[Shop]:
    """An engine on the test's database, with PayPal beside the mock."""
    running.faults.clear()
    running.tokens_refused = False
    running.clock = running.books._clock = clock
    running.books.movements.clear()
    paypal = running.provider(timeout=1.0)
    made = Shop(make_bench(policy=ALLOWING, providers=(paypal,)), running, paypal)
    yield made
    made.audit()
