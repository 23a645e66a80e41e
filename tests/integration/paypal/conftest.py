"""One engine with PayPal on a fake of it, on each database, for all tests of a module: each test has customers and keys
of its own, and moves the clock only forwards. After each test the fake's books are held against ours."""

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
from support.databases import Databases

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
    test: int = 0
    before: int = 0

    def own(self, name: str) -> str:
        """A customer, or a key, that no other test has."""
        return f"{name}-{self.test}"

    def charge(self, customer: str, key: str, amount: str = "10.00", currency: str = "USD", **more: Any) -> Any:
        """A charge by PayPal, as the operator."""
        more |= {"provider": "paypal", "idempotency_key": self.own(key)}
        return self.bench.manager.charge(self.own(customer), amount, currency, **more)

    def as_agent(self, customer: str, key: str) -> Any:
        """A charge by PayPal, as an agent."""
        order = {"provider": "paypal", "description": "Report", "idempotency_key": self.own(key)}
        return self.bench.bot.charge(self.own(customer), "10.00", "USD", **order)

    def refund(self, payment: Any, amount: str | None, key: str) -> Any:
        """A refund, as the operator."""
        return self.bench.manager.refund(payment.id, amount, idempotency_key=self.own(key))

    def link(self, customer: str) -> None:
        """Give a customer a saved method."""
        self.bench.manager.link_customer(self.own(customer), "paypal", self.fake.save_method())

    def status(self, payment: Any) -> str:
        """How a payment stands."""
        return str(self.bench.manager.get_payment(payment.id).status)

    def moved(self) -> int:
        """How often money moved in this test."""
        return self.fake.effects() - self.before

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


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def opened(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Shop]:
    """The engine behind `shop`."""
    url, clock = databases.create(request.param), FixedClock(START)
    with PayPalFake(clock=clock) as fake:
        paypal = fake.provider(timeout=1.0)
        made = Shop(Bench(url, clock=clock, policy=ALLOWING, providers=(paypal,)), fake, paypal)
        yield made
        made.bench.check()
        made.bench.close()
    databases.drop(url)


@pytest.fixture
def shop(opened: Shop) -> Iterator[Shop]:
    """The engine with PayPal beside the mock."""
    opened.test, opened.before = opened.test + 1, opened.fake.effects()
    yield opened
    opened.fake.faults.clear()
    opened.audit()
