"""A healthy installation with a long history, made by the real manager: what the doctor must find nothing in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import NotSent, PaymentFailed, PolicyDenied
from agentpay.manager import PaymentManager
from agentpay.payments.models import Payment
from agentpay.payments.tables import AttemptRow
from agentpay.plans.models import BillingPeriod, Feature, PaymentPlan, PaymentType
from agentpay.providers.events import AttemptNews, DisputeNews, News, RefundNews, ReversalNews, WebhookEvent
from agentpay.providers.outcomes import Succeeded
from agentpay.storage.types import table
from agentpay_policies.money import Money

SECRET = "correct horse battery"

POLICY: dict[str, object] = {
    "version": 1,
    "id": "story",
    "defaults": {"duplicate_window": "0s"},
    "budgets": {
        "company": {"limits": [{"id": "month", "amount": "5000.00 USD", "window": {"calendar": "month"}}]},
        "research": {
            "parent": "company",
            "limits": [
                {"id": "day", "amount": "600.00 USD", "window": {"rolling": "24h"}},
                {"id": "customer", "amount": "300.00 USD", "window": {"rolling": "24h"}, "per": "customer"},
                {"id": "each", "count": 200, "window": "lifetime", "per": "agent"},
            ],
        },
    },
    "agents": {
        name: {
            "budget": "research",
            "tools": ["check_access", "charge", "subscribe", "record_usage", "refund", "cancel_subscription"],
            "providers": {"allow": ["mock"]},
            "currencies": {"allow": ["USD"]},
            "customers": {"allow": ["*"]},
            "payees": {"allow": ["self"]},
            "charge": {
                "per_transaction": {"max": "100.00 USD"},
                "limits": [
                    {"id": "cap", "amount": "150.00 USD", "window": {"rolling": "24h"}},
                    {"id": "burst", "count": 50, "window": {"rolling": "1h"}},
                ],
            },
            "subscribe": {"plans": ["*"], "max_per_period": "50.00 USD"},
            "record_usage": {"max_quantity": 1000},
            "refund": {"allow": "own_charges", "limits": [{"id": "few", "count": 9, "window": {"rolling": "24h"}}]},
            "approvals": [
                {
                    "id": "big",
                    "when": {"amount_over": "60.00 USD"},
                    "approvers": "finance",
                    "quorum": 1,
                    "expires": "30m",
                }
            ],
        }
        for name in ("shopper", "bot-*")
    },
    "approvers": {"finance": {"members": ["ann", "bob"]}},
}

PLANS = (
    PaymentPlan(
        id="pro",
        name="Pro",
        payment_type=PaymentType.SUBSCRIPTION,
        price="10.00",
        billing_period=BillingPeriod.MONTHLY,
        requests_per_period=100,
        features=["api"],
    ),
    PaymentPlan(
        id="meter",
        name="Meter",
        payment_type=PaymentType.PAY_PER_USE,
        price_per_request="0.0125",
        group="meter",
        features=["calls"],
    ),
    PaymentPlan(
        id="coins",
        name="Coins",
        payment_type=PaymentType.PAY_PER_USE,
        group="coins",
        features=[Feature("image", price="0.333")],
    ),
    PaymentPlan(id="free", name="Free", payment_type=PaymentType.FREEMIUM, free_requests=5, features=["taste"]),
)


class Story:
    """What happened, and under which names: `ids` are those of rows that tests plant breaches in."""

    def __init__(self, url: str, clock: FixedClock) -> None:
        self.clock = clock
        self.ids: dict[str, str] = {}
        self.manager = PaymentManager(url, provider="mock", policy=POLICY, clock=clock)
        self._numbers = 0

    def tell(self) -> Story:
        """Live through all of it."""
        for plan in PLANS:
            self.manager.create_plan(plan)
        self.manager.enrol_approver("ann", SECRET)
        for customer in ("decline-erin", "decline-olga", "pending-paul", "decline-gina"):
            self.manager.link_customer(customer, "mock", customer)
        chapters = (
            self._operator,
            self._agent,
            self._approvals,
            self._late,
            self._subscriptions,
            self._usage,
            self._webhooks,
            self._waiting,
        )
        for chapter in chapters:
            chapter()
            self.clock.advance(timedelta(minutes=3))
        self.manager.halt("bob-the-bot", reason="test")
        self.manager.halt(reason="everybody")
        self.manager.resume()
        return self

    def key(self) -> str:
        """A key that was not used yet."""
        self._numbers += 1
        return f"key-{self._numbers}"

    def tried(self, act: Callable[..., object], *args: object, **more: object) -> None:
        """Do something, under a new key, that may be refused or declined."""
        with suppress(PaymentFailed, NotSent, PolicyDenied):
            act(*args, **more, idempotency_key=self.key())

    def _operator(self) -> None:
        manager = self.manager
        paid = manager.charge("alice", "40.00", "USD", idempotency_key=self.key())
        self.ids["paid"] = paid.id
        self.ids["refund"] = manager.refund(paid.id, "5.00", idempotency_key=self.key()).id
        self.ids["pending_refund"] = manager.refund(paid.id, "14.10", idempotency_key=self.key()).id
        self.tried(manager.refund, paid.id, "14.01")
        for amount in ("13.01", "13.10", "13.11", "13.21", "13.22", "13.24", "13.25", "13.26", "13.30", "13.31"):
            self.tried(manager.charge, "alice", amount, "USD")
        self.ids["not_sent"] = self._charged("13.24").id
        self.ids["action"] = self._charged("13.11").id
        manager.continue_payment(self.ids["action"])

    def _charged(self, amount: str) -> Payment:
        return next(one for one in self.manager.list_payments("alice") if one.amount == Decimal(amount))

    def _agent(self) -> None:
        bot = self.manager.for_agent("shopper")
        paid = bot.charge("carol", "50.00", "USD", description="a book", idempotency_key=self.key())
        self.ids["agent_paid"] = paid.id
        self.ids["agent_refund"] = bot.refund(paid.id, "20.00", reason="partial", idempotency_key=self.key()).id
        for amount in ("13.01", "13.24", "13.21", "99.99"):
            self.tried(bot.charge, "carol", amount, "USD", description="more")
        bot.subscribe("carol", "pro", idempotency_key=self.key())
        bot.record_usage("carol", "notes", cost="0.25", currency="USD", idempotency_key=self.key())

    def _approvals(self) -> None:
        bot, manager = self.manager.for_agent("bot-7"), self.manager
        parked = [
            bot.charge("dave", amount, "USD", description="big", idempotency_key=self.key())
            for amount in ("70.00", "61.00")
        ]
        self.ids["approval"] = str(parked[0].approval_id)
        manager.approve(self.ids["approval"], approver="ann", secret=SECRET)
        self.ids["approved"] = manager.continue_payment(parked[0].id).id
        manager.deny(str(parked[1].approval_id), approver="ann", secret=SECRET)
        self.clock.advance(timedelta(hours=1))
        bot.charge("dave", "62.00", "USD", description="expires", idempotency_key=self.key())
        self.clock.advance(timedelta(hours=1))
        manager.reconcile()

    def _webhooks(self) -> None:
        """What a provider tells: refunds made there, a dispute, a reversal, and what must wait or means nothing."""
        paid = self.manager.charge("wendy", "40.00", "USD", idempotency_key=self.key())
        attempts = table(AttemptRow)
        query = sa.select(attempts.c.reference).where(attempts.c.subject_id == paid.id)
        charge = self.manager._engine.store.read(lambda tx: str(tx.scalar(query)))
        four = Money("4.00", "USD")
        told: tuple[tuple[News, ...], ...] = (
            (RefundNews(charge, "refund-1", four, "succeeded"),),
            (RefundNews(charge, "refund-2", four, "succeeded"),),
            (RefundNews(charge, "refund-2", four, "failed"),),
            (DisputeNews(charge, "dispute-1", four, "open", "fraudulent"),),
            (DisputeNews(charge, "dispute-1", four, "lost", "fraudulent"),),
            (ReversalNews(charge, "reversal-1", four, "reversed", "bank"),),
            (ReversalNews(charge, "reversal-1", four, "restored", "bank"),),
            (AttemptNews("charge", Succeeded("nobody"), key="nobody"),),
            (),
        )
        for number, news in enumerate(told):
            event = WebhookEvent(f"event-{number}", "mock", "told", self.clock.now(), news)
            (receipt,) = self.manager._engine.webhooks.apply_events("mock", [event])
            self.clock.advance(timedelta(seconds=1))
            if receipt.waiting:
                self.ids["waiting_event"] = receipt.id
        self.ids["disputed"] = paid.id
        self.ids["dispute"] = next(one.id for one in self.manager.disputes(paid.id, status="lost"))

    def _waiting(self) -> None:
        bot = self.manager.for_agent("bot-7")
        waits = bot.charge("dave", "63.00", "USD", description="waits", idempotency_key=self.key())
        self.ids["parked"] = waits.id
        self.ids["open_approval"] = str(waits.approval_id)

    def _late(self) -> None:
        """A decline that was none: the money moved after all, above the cap, when other money had taken its place."""
        bot, engine = self.manager.for_agent("bot-late"), self.manager._engine
        self.clock.advance(timedelta(hours=30))
        self.tried(bot.charge, "decline-erin", "55.00", "USD", description="more")
        self.ids["late"] = self.manager.list_payments("decline-erin")[0].id
        for _ in range(3):
            bot.charge("erin", "50.00", "USD", description="more", idempotency_key=self.key())
        attempts = table(AttemptRow)
        query = sa.select(attempts.c.id).where(attempts.c.subject_id == self.ids["late"])
        attempt = engine.store.read(lambda tx: str(tx.scalar(query)))
        outcome = Succeeded("mock_late")
        engine.store.write(lambda tx: engine.payments.settling.settle(tx, attempt, outcome))

    def _subscriptions(self) -> None:
        manager = self.manager
        for customer in ("alice", "zoe", "pending-paul"):
            self.tried(manager.subscribe, customer, "pro")
        self.tried(manager.subscribe, "decline-olga", "pro")
        self.clock.advance(timedelta(days=31))
        manager.renew_due()
        manager.cancel_subscription("zoe", "pro", at_period_end=False)
        self.ids["subscription"] = manager.get_subscription("alice", "pro").id
        self.ids["incomplete"] = manager.get_subscription("pending-paul", "pro").id

    def _usage(self) -> None:
        manager = self.manager
        for customer, plan in (("alice", "meter"), ("frank", "coins"), ("decline-gina", "meter")):
            manager.subscribe(customer, plan, idempotency_key=self.key())
        self.ids["event"] = manager.record_usage("alice", "api", 7, idempotency_key=self.key()).id
        manager.record_usage("alice", "nobody-names-this", 2, idempotency_key=self.key())
        manager.record_usage("bert", "taste", 3, idempotency_key=self.key())
        for customer in ("alice", "decline-gina"):
            manager.record_usage(customer, "calls", 123, idempotency_key=self.key())
            self.tried(manager.bill_usage, customer)
        manager.record_usage("alice", "calls", 3, idempotency_key=self.key())
        manager.grant_credits("frank", "20.00", idempotency_key=self.key())
        manager.record_usage("frank", "image", 4, idempotency_key=self.key())
        self.ids["reservation"] = manager.reserve_usage("alice", "api", 5, idempotency_key=self.key()).id
        manager.reserve_usage("frank", "image", 5, idempotency_key=self.key()).commit(3)
        manager.reserve_usage("frank", "image", 6, idempotency_key=self.key())
        manager.reserve_usage("alice", "api", 6, idempotency_key=self.key()).release()
