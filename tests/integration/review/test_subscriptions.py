"""Nobody is charged for what was canceled, and an upgrade whose payment was not sent can be tried again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from agentpay import PaymentPlan, PaymentType
from agentpay.errors import AgentPayError, NotSent, PaymentDeclined
from agentpay.plans.models import BillingPeriod
from agentpay.providers.outcomes import Declined, Succeeded
from support.bench import Bench, code_of, policy, violations_of
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider


def plan(bench: Bench, name: str, price: str = "10.00") -> None:
    bench.manager.create_plan(
        PaymentPlan(
            id=name, name=name, payment_type=PaymentType.SUBSCRIPTION, price=price, features=["api"],
            billing_period=BillingPeriod.MONTHLY,
        )
    )  # fmt: skip


def unsent_renewal(bench: Bench) -> None:
    """A subscription whose renewal did not reach the provider."""
    plan(bench, "pro")
    bench.manager.subscribe("ana", "pro", idempotency_key="s")
    bench.later(days=28, hours=1)
    bench.mock.force("unreachable")
    assert bench.manager.renew_due().failed == 1
    assert bench.moved() == 1000


@pytest.mark.parametrize("at_period_end", [True, False])
def test_a_canceled_subscription_is_not_charged_for_a_renewal_that_was_not_sent(
    bench: Bench, at_period_end: bool
) -> None:
    unsent_renewal(bench)
    bench.manager.cancel_subscription("ana", at_period_end=at_period_end)
    bench.manager.renew_due()
    bench.manager.renew_due()
    assert bench.moved() == 1000, "a customer who canceled was charged"


def test_a_period_that_is_over_is_not_charged_late(bench: Bench) -> None:
    unsent_renewal(bench)
    bench.later(days=200)  # no worker ran
    bench.manager.renew_due()
    assert bench.moved() == 1000, "a customer was charged for a month that was over"


def test_an_upgrade_that_was_not_sent_can_be_tried_again(bench: Bench) -> None:
    plan(bench, "basic", "5.00")
    plan(bench, "pro")
    bench.manager.subscribe("ana", "basic", idempotency_key="1")
    bench.later(minutes=1)
    bench.mock.force("unreachable")
    with pytest.raises(NotSent):
        bench.manager.subscribe("ana", "pro", idempotency_key="2")
    bench.later(minutes=1)
    assert bench.manager.subscribe("ana", "pro", idempotency_key="2").status == "active"


def test_the_late_success_of_an_upgrade_is_used(make_bench: MakeBench) -> None:
    scripted = ScriptedProvider(answers=[Declined("generic_decline", "no")])
    bench = make_bench(providers=(scripted,))
    plan(bench, "basic", "5.00")
    plan(bench, "pro")
    bench.manager.subscribe("ana", "basic", idempotency_key="1")
    bench.later(minutes=1)
    with pytest.raises(PaymentDeclined):
        bench.manager.subscribe("ana", "pro", idempotency_key="2", provider="scripted")
    (attempt,) = bench.attempts(bench.manager.recent_payments(limit=1)[0].id)
    settling = bench.engine.payments.settling
    bench.engine.store.write(lambda tx: settling.settle(tx, attempt.id, Succeeded("after all")))
    found = (bench.manager.get_subscription("ana").plan, bench.recorded("payment.unused"))
    assert found == ("pro", 0), "the money came, and the customer has nothing for it"


def test_a_plan_is_allowed_by_its_whole_id(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"subscribe": {"plans": ["pro"], "max_per_period": "100.00 USD"}}}))
    plan(bench, "pro@enterprise", "99.00")
    found = violations_of(lambda: bench.bot.subscribe("ana", "pro@enterprise", idempotency_key="k"))
    assert found == ["PLAN_NOT_ALLOWED"]


def test_a_cancellation_is_repeated_by_its_key_and_ends_nothing_new(bench: Bench) -> None:
    plan(bench, "pro")
    bench.manager.subscribe("ana", "pro", idempotency_key="1")
    bench.bot.cancel_subscription("ana", at_period_end=False, idempotency_key="c")
    bench.later(minutes=1)
    bench.manager.subscribe("ana", "pro", idempotency_key="2")
    bench.bot.cancel_subscription("ana", at_period_end=False, idempotency_key="c")  # the client had timed out
    assert bench.manager.get_subscription("ana").status == "active", "a repeat ended another subscription"


def test_the_keys_of_cancellations_are_throttled_as_all_are(make_bench: MakeBench) -> None:
    bench = make_bench(throttle="3/3")
    plan(bench, "pro")
    bench.manager.subscribe("ana", "pro", idempotency_key="1")

    def cancel(key: str) -> str:
        return code_of(lambda: bench.bot.cancel_subscription("ana", idempotency_key=key))

    assert [cancel(f"c{number}") for number in range(4)] == ["fine", "fine", "fine", "THROTTLED"]
    assert cancel("c0") == "fine", "known keys are free"


def test_an_agent_learns_nothing_of_a_customer_that_is_denied(make_bench: MakeBench) -> None:
    rules = {"customers": {"allow": ["ana"]}, "tools": ["subscribe"]}
    bench = make_bench(policy=policy({"bot": rules}))
    plan(bench, "pro")
    bench.manager.subscribe("ben", "pro", idempotency_key="1")
    bench.manager.subscribe("ana", "pro", idempotency_key="2")
    found = [
        violations_of(lambda: bench.bot.subscribe("ben", "pro", idempotency_key="k")),
        violations_of(lambda: bench.bot.subscribe("zoe", "pro", idempotency_key="k")),
    ]
    assert found == [["CUSTOMER_NOT_ALLOWED"]] * 2
    assert code_of(lambda: bench.bot.subscribe("ana", "pro", idempotency_key="k")) == "ALREADY_SUBSCRIBED"


def test_what_is_refused_to_an_agent_is_audited(bench: Bench) -> None:
    """Every verb that changes something leaves a row where it is refused."""
    plan(bench, "pro")
    calls: dict[str, Callable[[], object]] = {
        "charge": lambda: bench.bot.charge("ana", "0.00", "USD", description="x", idempotency_key="a"),
        "refund": lambda: bench.bot.refund("pay_x", reason="x", idempotency_key="b"),
        "subscribe": lambda: bench.bot.subscribe("ana", "no-such-plan", idempotency_key="c"),
        "record_usage": lambda: bench.bot.record_usage("ana", "api", 0, idempotency_key="d"),
        "cancel_subscription": lambda: bench.bot.cancel_subscription("ana", "no-such-plan"),
    }
    silent = []
    for name, call in calls.items():
        with pytest.raises(AgentPayError):
            call()
        if not bench.recorded(f"{name}.call_refused"):
            silent.append(name)
    assert not silent, f"refused without an audit row: {silent}"


def test_an_agent_learns_nothing_of_a_customer_that_is_not_its_own(make_bench: MakeBench) -> None:
    """What another customer has, is paying for or is bound to is not said where the policy denies the customer."""
    bench = make_bench(policy=policy({"bot": {"customers": {"allow": ["ana"]}}}))
    plan(bench, "pro")
    plan(bench, "basic", "5.00")
    bench.manager.create_plan(
        PaymentPlan(
            id="bound", name="bound", payment_type=PaymentType.SUBSCRIPTION, price="10.00", features=["api"],
            billing_period=BillingPeriod.MONTHLY, term=12,
        )
    )  # fmt: skip
    bench.manager.subscribe("ceo", "pro", idempotency_key="1")
    bench.manager.subscribe("cfo", "bound", idempotency_key="2")
    bench.mock.force("action-lookup")
    bench.manager.subscribe("coo", "pro", idempotency_key="3")
    asked = {"ceo": "pro", "cfo": "basic", "coo": "basic", "nobody": "pro"}
    found = {who: violations_of(partial(bench.bot.subscribe, who, asked[who], idempotency_key=who)) for who in asked}
    assert found == {who: ["CUSTOMER_NOT_ALLOWED"] for who in asked}
