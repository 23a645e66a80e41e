"""Policies that become active, halts, the throttle, and what an agent is told of its budget."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentpay.clock import FixedClock
from agentpay.errors import PolicyNotActive, Throttled
from agentpay.payments.models import Payment
from agentpay_policies.budget import BudgetView
from support.bench import PEOPLE, Bench, asking, capped, code_of, policy, tally, violations_of
from support.bench_fixtures import MakeBench
from support.parallel import run_threads

_KEYS = itertools.count(1)


def charge(bench: Bench, amount: str, agent: str = "bot", **more: Any) -> Payment:
    handle = bench.manager.for_agent(agent)
    key = more.pop("key", None) or f"p{next(_KEYS)}"
    return handle.charge(more.pop("customer", "ana"), amount, "USD", description="x", idempotency_key=key, **more)


BUDGETS = {
    "x": {"limits": [{"id": "day", "amount": "100.00 USD", "window": {"rolling": "24h"}}]},
    "y": {"limits": [{"id": "day", "amount": "100.00 USD", "window": {"rolling": "24h"}}]},
}


# -- becoming active


def test_what_was_spent_before_counts_under_the_new_policy(bench: Bench) -> None:
    charge(bench, "40.00")
    pending = charge(bench, "13.10")
    code_of(lambda: charge(bench, "13.01"))
    bench.manager.apply_policy(policy({"bot": capped("60.00 USD")}))
    bench.check()
    assert violations_of(lambda: charge(bench, "10.00")) == ["LIMIT_EXCEEDED"]
    assert charge(bench, "6.90").status == "succeeded"
    bench.mock.complete(bench.attempts(pending.id)[-1].reference, "declined")
    bench.manager.reconcile()
    assert charge(bench, "13.10").status == "pending"


def test_attempts_of_before_count_under_a_new_count(bench: Bench) -> None:
    for amount in ("1.00", "13.01", "13.24", "2.00"):
        code_of(lambda amount=amount: charge(bench, amount))  # type: ignore[misc]
    limit = {"id": "n", "count": 4, "window": {"rolling": "1h"}}
    section = {"directions": ["collect"], "limits": [limit, *capped("100.00 USD")["charge"]["limits"]]}
    bench.manager.apply_policy(policy({"bot": {"charge": section}}))
    assert [violations_of(lambda: charge(bench, "1.00")) for _ in range(2)] == [[], ["COUNT_EXCEEDED"]]


def test_an_agent_that_moves_keeps_what_it_spent_in_both_budgets(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"budget": "x"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    charge(bench, "80.00")
    bench.manager.apply_policy(policy({"bot": {"budget": "y"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    bench.check()
    assert violations_of(lambda: charge(bench, "21.00")) == ["BUDGET_EXHAUSTED"]  # it counts in y
    assert violations_of(lambda: charge(bench, "21.00", "two")) == ["BUDGET_EXHAUSTED"]  # and is still spent from x
    assert charge(bench, "20.00", "two").status == "succeeded"


def test_what_an_agent_that_is_gone_spent_stays_spent(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"budget": "x"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    charge(bench, "80.00", "two")
    bench.manager.apply_policy(policy({"bot": {"budget": "x"}}, budgets=BUDGETS))
    bench.check()
    assert violations_of(lambda: charge(bench, "21.00")) == ["BUDGET_EXHAUSTED"]


def test_a_hold_of_an_agent_that_moved_is_given_back_in_both_budgets(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"budget": "x"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    pending = charge(bench, "13.10")
    bench.manager.apply_policy(policy({"bot": {"budget": "y"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    bench.mock.complete(bench.attempts(pending.id)[-1].reference, "declined")
    bench.manager.reconcile()
    bench.check()
    assert charge(bench, "100.00", "two").status == "succeeded"
    assert charge(bench, "100.00").status == "succeeded"


def test_another_policy_at_start_is_refused_with_both_named(bench: Bench) -> None:
    with pytest.raises(PolicyNotActive) as caught:
        bench.new_manager(policy=policy({"bot": capped("1.00 USD")}, id="tight"))
    assert "open" in str(caught.value) and "tight" in str(caught.value)
    again = bench.new_manager()  # the same one changes nothing
    active = again.active_policy()
    assert active is not None and active.version == 1
    again.close()


def test_applying_says_what_it_loosens_and_the_same_again_changes_nothing(bench: Bench) -> None:
    tight = policy({"bot": capped("1.00 USD")})
    applied = bench.manager.apply_policy(tight)
    assert applied.changed and applied.version == 2
    assert not bench.manager.apply_policy(tight).changed
    loosened = bench.manager.apply_policy(policy({"bot": capped("2.00 USD")})).loosened
    assert loosened and bench.recorded("policy.applied") == 3


def test_applying_while_others_spend_loses_no_count(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": capped("150.00 USD")}))
    section = capped("150.00 USD")["charge"]
    tighter = [policy({"bot": {"charge": {**section, "per_transaction": {"max": f"{n}.00 USD"}}}}) for n in (60, 70)]

    def run(n: int) -> Any:
        if n >= 8:
            return bench.manager.apply_policy(tighter[n - 8])
        return charge(bench, "50.00" if n % 2 else "13.01", key=f"race-{n}")

    ended = tally(run_threads(10, run))
    assert ended["succeeded"] <= 3 and bench.moved() <= 150_00
    bench.check()


# -- halts


def test_a_halt_stops_one_agent_or_all_and_what_is_under_way_goes_on(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"two": {}}))
    pending = charge(bench, "13.10")
    paid = charge(bench, "20.00")
    bench.manager.halt("bot", reason="looks odd")
    for call in (
        lambda: charge(bench, "1.00"),
        lambda: bench.bot.refund(paid.id, "1.00", reason="r", idempotency_key="r"),
        lambda: bench.bot.record_usage("ana", "f", idempotency_key="u"),
        lambda: bench.bot.cancel_subscription("ana"),
    ):
        assert violations_of(call) == ["HALTED"]
    assert bench.bot.get_budget().halted and bench.bot.get_payment(paid.id).status == "succeeded"
    assert charge(bench, "1.00", "two").status == "succeeded"
    bench.mock.complete(bench.attempts(pending.id)[-1].reference, "succeeded")
    bench.manager.reconcile()
    assert bench.manager.get_payment(pending.id).status == "succeeded"
    bench.manager.halt(reason="everything")
    assert violations_of(lambda: charge(bench, "1.00", "two")) == ["HALTED"]
    assert [halt.scope for halt in bench.manager.halts()] == ["agent:bot", "all"]
    assert bench.manager.charge("ana", "1.00", "USD", idempotency_key="operator").status == "succeeded"
    assert bench.manager.resume() and not bench.manager.resume()
    assert violations_of(lambda: charge(bench, "1.00")) == ["HALTED"]
    assert bench.manager.resume("bot") and charge(bench, "1.00").status == "succeeded"


# -- the throttle


def test_new_keys_are_throttled_and_known_ones_are_free(make_bench: MakeBench) -> None:
    bench = make_bench(throttle="3/100")
    for n in range(3):
        charge(bench, "1.00", key=f"t{n}")
    for n in range(4):
        with pytest.raises(Throttled) as caught:
            charge(bench, "1.00", key=f"u{n}")
        assert caught.value.retryable and caught.value.retry_at is not None
    assert charge(bench, "1.00", key="t0").replayed
    assert bench.movements() == 3
    bench.later(minutes=1)
    assert charge(bench, "1.00", key="u0").status == "succeeded"  # a throttled call left its key free
    assert bench.recorded("spending.throttled") == 1  # one row for the minute, with the count
    assert bench.recorded("charge.call_refused") == 0


def test_refusals_are_throttled(make_bench: MakeBench) -> None:
    bench = make_bench(throttle="100/3", policy=policy({"two": {}}))
    refused = [code_of(lambda: charge(bench, "5000.00")) for _ in range(5)]
    assert refused == ["POLICY_DENIED"] * 3 + ["THROTTLED"] * 2
    assert code_of(lambda: charge(bench, "1.00")) == "THROTTLED"
    assert charge(bench, "1.00", "two").status == "succeeded"  # per agent
    assert bench.recorded("charge.call_refused") == 3
    bench.later(minutes=1)
    assert charge(bench, "1.00").status == "succeeded"
    assert bench.recorded("spending.throttled") == 1


def test_bad_arguments_and_usage_count_as_refusals_too(make_bench: MakeBench) -> None:
    bench = make_bench(throttle="100/2")
    assert code_of(lambda: charge(bench, "-1")) == "AMOUNT_INVALID"
    assert code_of(lambda: bench.bot.record_usage("ana", "f", 5000, idempotency_key="u")) == "POLICY_DENIED"
    assert code_of(lambda: charge(bench, "-1")) == "THROTTLED"
    assert code_of(lambda: bench.bot.record_usage("ana", "f", idempotency_key="u")) == "THROTTLED"


def test_off_throttles_nothing(make_bench: MakeBench) -> None:
    bench = make_bench(throttle="off")
    assert [code_of(lambda: charge(bench, "5000.00")) for _ in range(30)] == ["POLICY_DENIED"] * 30


# -- what an agent is told


def spendable(view: BudgetView) -> str:
    (found,) = [one.amount for one in view.can_spend_now if one.direction == "collect" and one.currency == "USD"]
    return str(found.amount)


TOLD = policy(
    {
        "bot": {
            "budget": "x",
            **asking("20.00 USD"),
            "charge": {
                "directions": ["collect"],
                "per_transaction": {"min": "0.50 USD", "max": "30.00 USD"},
                "limits": [
                    {"id": "day", "amount": "60.00 USD", "window": {"rolling": "24h"}},
                    {"id": "each", "amount": "40.00 USD", "window": {"calendar": "day"}, "per": "customer"},
                    {"id": "burst", "count": 5, "window": {"rolling": "1h"}},
                ],
            },
        },
        "two": {"budget": "x"},
    },
    budgets=BUDGETS,
    approvers=PEOPLE,
)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["bot", "bot", "two"]),
        st.sampled_from(["3.00", "13.10", "13.01", "13.24", "25.00", "0.50"]),
        st.sampled_from(["ana", "ben"]),
        st.sampled_from([0, 1, 59, 61, 60 * 24]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_what_may_be_spent_now_is_what_the_next_charge_may_be(
    make_bench: MakeBench, clock: FixedClock, steps: list[tuple[str, str, str, int]]
) -> None:
    bench = told(make_bench)
    bench.later(days=3)
    for agent, amount, customer, minutes in steps:
        code_of(lambda agent=agent, amount=amount, customer=customer: charge(  # type: ignore[misc]
            bench, amount, agent, customer=customer))  # fmt: skip
        bench.later(minutes=minutes)
    for customer in ("ana", "ben"):
        most = spendable(bench.bot.get_budget(currency="USD", customer=customer))
        above = f"{float(most) + 0.01:.2f}"
        assert code_of(lambda above=above, customer=customer: charge(  # type: ignore[misc]
            bench, above, customer=customer)) == "POLICY_DENIED"  # fmt: skip
        if most != "0.00":
            denied = violations_of(lambda most=most, customer=customer: charge(  # type: ignore[misc]
                bench, most, customer=customer))  # fmt: skip
            assert set(denied) <= {"APPROVALS_PENDING"}, f"{most} was said to be free: {denied}"


_TOLD: dict[int, Bench] = {}


def told(make_bench: MakeBench) -> Bench:
    """One engine for all examples of a run."""
    if id(make_bench) not in _TOLD:
        _TOLD.clear()
        _TOLD[id(make_bench)] = make_bench(policy=TOLD)
    return _TOLD[id(make_bench)]


def test_of_a_shared_budget_an_agent_sees_only_whether_it_is_exhausted(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"budget": "x"}, "two": {"budget": "x"}}, budgets=BUDGETS))
    assert bench.bot.get_budget().shared_budget == "available"
    charge(bench, "100.00", "two")
    view = bench.bot.get_budget()
    assert view.shared_budget == "exhausted" and spendable(view) == "0.00"
    assert all(limit.used == "0.00 USD" for limit in view.limits)
    assert {limit.id for limit in view.limits} == {"day"} and all("budget" not in limit.id for limit in view.limits)
