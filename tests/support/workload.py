"""A workload: Hypothesis makes up what agents, people, customers, providers and clocks do; a model says how each call
must end, and the mock's books are the auditor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import hypothesis
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from agentpay.clock import FixedClock
from agentpay.errors import AgentPayError
from agentpay.payments.models import Payment, Refund
from agentpay.plans.models import Feature, PaymentPlan
from agentpay.principal import OPERATOR, Principal, agent
from conftest import START
from support.bench import PEOPLE, SECRET, Bench, asking, policy
from support.model import CAP, PRICES, Item, Model

CUSTOMERS: Final = ("ana", "ben")
_AMOUNTS: Final = ("5.00", "20.00", "30.00", "60.00", "13.01", "13.10", "13.21", "13.22", "13.24", "13.26", "13.27")
_REFUNDS: Final = ("1.00", "4.00", "14.01", "14.10", "14.21", "14.22", "14.24", "14.26", "14.27")
_WAITS: Final = (1, 2, 20, 6 * 60, 31 * 60, 3 * 60 * 60, 25 * 60 * 60)

customers = strategies.sampled_from(CUSTOMERS)
numbers = strategies.integers(0, 1000)

POLICY: Final = policy(
    {
        "bot": {
            "charge": {
                "directions": ["collect"],
                "per_transaction": {"max": "100.00 USD"},
                "limits": [{"id": "all", "amount": f"{CAP // 100}.00 USD", "window": "lifetime"}],
            },
            **asking("25.00 USD"),
        }
    },
    approvers=PEOPLE,
)


class Workload(RuleBasedStateMachine):
    """The rules. `Opened` makes the database of each example."""

    make: Callable[[], Bench]
    drop: Callable[[Bench], None]
    predict: type[Model] = Model

    def __init__(self) -> None:
        super().__init__()
        self.bench = type(self).make()
        self.model = type(self).predict()
        self.count = 0
        self.bench.enrol("alice")
        for name, minor in PRICES.items():
            self.bench.manager.create_plan(
                PaymentPlan(
                    id=name, name=name, payment_type="subscription", price=_text(minor), billing_period="daily",
                    features=["api"],
                )
            )  # fmt: skip
        self.bench.manager.create_plan(
            PaymentPlan(id="free", name="Free", payment_type="freemium", features=[Feature("calls", limit=5)])
        )

    # -- new keys

    @rule(customer=customers, amount=strategies.sampled_from(_AMOUNTS))
    def charge(self, customer: str, amount: str) -> None:
        key = self._key()
        self._holds(key, self.model.charge(key, customer, _minor(amount)), lambda: self._charge(key, customer, amount))

    @precondition(lambda self: self.model.some(lambda item: item.kind == "charge"))
    @rule(number=numbers, amount=strategies.sampled_from(_REFUNDS))
    def refund(self, number: int, amount: str) -> None:
        key, of = self._key(), self._pick(number, lambda item: item.kind == "charge")
        self._holds(key, self.model.refund(key, of, _minor(amount)), lambda: self._refund(key, of, amount))

    @rule(customer=customers, plan=strategies.sampled_from(sorted(PRICES)))
    def subscribe(self, customer: str, plan: str) -> None:
        key = self._key()
        self._holds(key, self.model.subscribe(key, customer, plan), lambda: self._subscribe(key, customer, plan))

    @rule(customer=customers)
    def renew(self, customer: str) -> None:
        key = self._key()
        self._holds(key, self.model.renew(key, customer), lambda: self._renew(key, customer, None))

    @rule(customer=customers)
    def cancel(self, customer: str) -> None:
        expected = self.model.cancel(customer)
        assert self._code(lambda: self.bench.manager.cancel_subscription(customer, at_period_end=False)) == expected

    @rule(customer=customers, number=numbers)
    def use(self, customer: str, number: int) -> None:
        key = f"use-{customer}-{number % 12}"
        expected = self.model.use(key, customer)
        assert self._code(lambda: self.bench.bot.record_usage(customer, "calls", idempotency_key=key)) == expected

    # -- old keys

    @precondition(lambda self: self.model.items)
    @rule(number=numbers)
    def repeat(self, number: int) -> None:
        item = self._pick(number, lambda _: True)
        self._holds(item.key, self.model.repeat(item), lambda: self._again(item))

    @precondition(lambda self: self.model.items)
    @rule(number=numbers)
    def poison(self, number: int) -> None:
        """An old key with another body conflicts, in every state."""
        item = self._pick(number, lambda _: True)
        self.model.expire()
        assert self._code(lambda: self._poisoned(item)) == "IDEMPOTENCY_CONFLICT"

    # -- people, the provider, time

    @precondition(lambda self: self._waiting())
    @rule(number=numbers, approve=strategies.booleans())
    def decide(self, number: int, approve: bool) -> None:
        item = self._waiting()[number % len(self._waiting())]
        verb = self.bench.manager.approve if approve else self.bench.manager.deny
        verb(self._stored(item).approval_id or "", approver="alice", secret=SECRET)
        self.model.decide(item, approve=approve)

    @precondition(lambda self: self._pending())
    @rule(number=numbers)
    def complete(self, number: int) -> None:
        item = self._pending()[number % len(self._pending())]
        self.bench.mock.complete(self.bench.attempts(self._stored(item).id)[-1].reference, "succeeded")
        self.model.complete(item)

    @rule()
    def reconcile(self) -> None:
        self.bench.manager.reconcile()
        self.model.reconcile()

    @rule()
    def restart(self) -> None:
        """A program that starts looks up what is due: here, everything."""
        self.bench.restarted(policy=False).reconcile()
        self.model.reconcile()

    @rule(seconds=strategies.sampled_from(_WAITS))
    def wait(self, seconds: int) -> None:
        self.bench.later(seconds=seconds)
        self.model.now += seconds
        self.model.expire()

    # -- what always holds

    @invariant()
    def the_provider_moved_what_the_model_says(self) -> None:
        assert self.bench.moved("charge") == self.model.moved("charge", "subscribe", "renew")
        assert self.bench.moved("refund") == self.model.moved("refund")

    @invariant()
    def access_is_what_the_model_says(self) -> None:
        for customer in CUSTOMERS:
            assert self.bench.manager.is_subscribed(customer) == self.model.subscribed(customer), customer

    def teardown(self) -> None:
        """Everything is looked up once more, and both sides are audited."""
        self.bench.manager.reconcile()
        self.model.reconcile()
        for item in self.model.items.values():
            assert self._stored(item).status == item.status, item
        self.bench.check()
        type(self).drop(self.bench)

    # -- how

    def _key(self) -> str:
        self.count += 1
        return f"key-{self.count}"

    def _holds(self, key: str, expected: str, call: Callable[[], object]) -> None:
        """The call ends as expected, and what the key names stands as in the model."""
        code = self._code(call)
        item = self.model.items.get(key)
        ended = code if code != "fine" or item is None else self._stored(item).status
        assert ended == expected, f"{key}: {ended}, expected {expected}; {item}"
        if item is not None:
            assert self._stored(item).status == item.status, f"{key}: {self._stored(item).status}; {item}"

    def _code(self, call: Callable[[], object]) -> str:
        try:
            call()
        except AgentPayError as error:
            return error.code
        return "fine"

    def _stored(self, item: Item) -> Payment | Refund:
        who: Principal = OPERATOR if item.kind == "renew" else agent("bot")
        return self.bench.engine.payments.by_key(who, item.kind, item.key)

    def _pick(self, number: int, wanted: Callable[[Item], bool]) -> Item:
        found = self.model.some(wanted)
        return found[-1 - number % len(found)]

    def _waiting(self) -> list[Item]:
        return self.model.some(lambda item: item.status == "approval_required" and not item.approved)

    def _pending(self) -> list[Item]:
        return self.model.some(lambda item: item.status == "pending" and not item.moved)

    def _again(self, item: Item) -> object:
        if item.kind == "charge":
            return self._charge(item.key, item.customer, _text(item.minor))
        if item.kind == "refund":
            assert item.of is not None
            return self._refund(item.key, item.of, _text(item.minor))
        if item.kind == "subscribe":
            return self._subscribe(item.key, item.customer, item.plan)
        return self._renew(item.key, item.customer, None)

    def _poisoned(self, item: Item) -> object:
        if item.kind == "charge":
            return self._charge(item.key, item.customer, "7.77")
        if item.kind == "refund":
            assert item.of is not None
            return self._refund(item.key, item.of, "0.50")
        if item.kind == "subscribe":
            return self._subscribe(item.key, item.customer, "pro" if item.plan != "pro" else "no")
        return self._renew(item.key, item.customer, "pro")

    def _charge(self, key: str, customer: str, amount: str) -> object:
        return self.bench.bot.charge(customer, amount, "USD", description="x", idempotency_key=key)

    def _refund(self, key: str, of: Item, amount: str) -> object:
        return self.bench.bot.refund(self._stored(of).id, amount, reason="r", idempotency_key=key)

    def _subscribe(self, key: str, customer: str, plan: str) -> object:
        return self.bench.bot.subscribe(customer, plan, idempotency_key=key)

    def _renew(self, key: str, customer: str, plan: str | None) -> object:
        return self.bench.manager.renew_subscription(customer, plan, idempotency_key=key)


def work(
    make: Callable[[], str],
    drop: Callable[[str], None],
    *,
    examples: int,
    steps: int,
    model: type[Model] = Model,
    seed: int | None = None,
    **options: Any,
) -> None:
    """Run the workload: so many examples of so many steps, each on a database that `make` makes; the same ones each
    time, or those of a seed."""

    def opened() -> Bench:
        return Bench(make(), clock=FixedClock(START), policy=POLICY)

    def closed(bench: Bench) -> None:
        bench.close()
        drop(bench.url)

    class Opened(Workload):
        """The workload on the databases of this run."""

    Opened.make = staticmethod(opened)
    Opened.drop = staticmethod(closed)
    Opened.predict = model
    chosen: dict[str, Any] = {"derandomize": seed is None, "database": None, **options}
    machine = Opened if seed is None else hypothesis.seed(seed)(Opened)
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, print_blob=False, **chosen),
    )


def _minor(amount: str) -> int:
    return int(amount.replace(".", ""))


def _text(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02d}"
