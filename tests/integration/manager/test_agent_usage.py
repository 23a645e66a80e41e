"""What an agent's usage may cost, whoever sets the price."""

from __future__ import annotations

import pytest

from agentpay import BillingPeriod, Feature, PaymentPlan, PaymentType, PolicyDenied
from support.bench import Bench


@pytest.fixture
def priced(bench: Bench) -> Bench:
    """Alice pays 3 USD a call; the policy of the agent lets one use cost 10 USD."""
    plan = PaymentPlan(
        id="metered",
        name="Metered",
        payment_type=PaymentType.PAY_PER_USE,
        price_per_request="3.00",
        billing_period=BillingPeriod.MONTHLY,
        features=[Feature("calls")],
    )
    bench.manager.create_plan(plan)
    bench.manager.subscribe("alice", "metered", idempotency_key="alice")
    return bench


def test_max_cost_bounds_the_price_of_the_plan_too(priced: Bench) -> None:
    assert str(priced.bot.record_usage("alice", "calls", 3, idempotency_key="k1").cost) == "9"
    with pytest.raises(PolicyDenied) as denied:
        priced.bot.record_usage("alice", "calls", 4, idempotency_key="k2")
    assert [violation.code for violation in denied.value.violations] == ["COST_TOO_HIGH"]
    usage = priced.manager.get_usage("alice", "calls").feature("calls")
    assert usage is not None
    assert usage.recorded == 3


def test_a_refused_key_stays_free(priced: Bench) -> None:
    with pytest.raises(PolicyDenied):
        priced.bot.record_usage("alice", "calls", 4, idempotency_key="k1")
    assert priced.bot.record_usage("alice", "calls", 1, idempotency_key="k1").quantity == 1


def test_a_repeat_is_answered_without_a_decision(priced: Bench) -> None:
    priced.bot.record_usage("alice", "calls", 3, idempotency_key="k1")
    priced.manager.halt("bot", reason="stop")
    assert priced.bot.record_usage("alice", "calls", 3, idempotency_key="k1").replayed
