"""The gate through the real store: deny by default, every kind of limit, windows exact to the minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import PolicyDenied
from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from support.bench import Bench, capped, policy, violations_of
from support.bench_fixtures import MakeBench


def charge(bench: Bench, amount: str, *, customer: str = "ana", agent: str = "bot", **more: Any) -> Payment:
    key = more.pop("key", None) or f"k{next(_KEYS)}"
    handle = bench.manager.for_agent(agent)
    return handle.charge(customer, amount, "USD", description="x", idempotency_key=key, **more)


_KEYS = iter(range(10**9))


def limited(**limit: Any) -> dict[str, Any]:
    return {"charge": {"directions": ["collect"], "limits": [{"id": "one", **limit}, {
        "id": "all", "amount": "100000.00 USD", "window": "lifetime"}]}}  # fmt: skip


def test_without_a_policy_every_spending_call_is_denied_and_says_how_to_write_one(make_bench: MakeBench) -> None:
    bench = make_bench(policy=None)
    calls = {
        "charge": lambda: charge(bench, "1.00"),
        "refund": lambda: bench.bot.refund("pay_x", reason="r", idempotency_key="r"),
        "subscribe": lambda: bench.bot.subscribe("ana", "pro", idempotency_key="s"),
        "record_usage": lambda: bench.bot.record_usage("ana", "f", idempotency_key="u"),
        "cancel_subscription": lambda: bench.bot.cancel_subscription("ana"),
        "check_access": lambda: bench.bot.check_access("ana", "f"),
        "list_payments": lambda: bench.bot.list_payments("ana"),
    }
    assert {name: violations_of(call) for name, call in calls.items()} == dict.fromkeys(calls, ["NO_POLICY"])
    with pytest.raises(PolicyDenied, match="agentpay init"):
        charge(bench, "1.00")
    assert bench.mock.requests() == []
    assert not bench.bot.get_budget().agent_known


def test_what_is_not_allowed_is_denied_before_any_provider_is_called(make_bench: MakeBench) -> None:
    entry = {"customers": {"allow": ["team-*"]}, "payees": {"allow": ["self", "stripe:acct_1A2b3C"]}}
    bench = make_bench(policy=policy({"bot": entry, "idle": {"tools": ["check_access"]}}))
    denied = {
        "AGENT_UNKNOWN": lambda: charge(bench, "1.00", agent="nobody"),
        "TOOL_NOT_ALLOWED": lambda: charge(bench, "1.00", agent="idle"),
        "CUSTOMER_NOT_ALLOWED": lambda: charge(bench, "1.00", customer="ana"),
        "PAYEE_NOT_ALLOWED": lambda: charge(bench, "1.00", customer="team-a", payee="stripe:acct_1A2b3Cx"),
        "ABOVE_MAXIMUM": lambda: charge(bench, "1000.01", customer="team-a"),
        "CURRENCY_NOT_ALLOWED": lambda: bench.bot.charge(
            "team-a", "1.00", "EUR", description="x", idempotency_key="eur"
        ),
    }
    found = {code: violations_of(call)[0] for code, call in denied.items()}
    assert found == {code: code for code in denied}
    assert bench.mock.requests() == []
    assert charge(bench, "1.00", customer="team-a").status == "succeeded"
    assert charge(bench, "1.00", customer="team-a", payee="stripe:acct_1A2b3C").status == "succeeded"


def test_a_send_needs_its_direction_and_its_payee(make_bench: MakeBench) -> None:
    sending = {
        "payees": {"allow": ["self", "paypal:ann@example.com"]},
        "charge": {"directions": ["send"], "limits": [{"id": "d", "amount": "10.00 USD", "window": "lifetime"}]},
    }
    bench = make_bench(policy=policy({"bot": sending}))
    assert "PAYEE_NOT_ALLOWED" in violations_of(lambda: charge(bench, "1.00", payee="paypal:ann@example.com.evil.io"))
    assert violations_of(lambda: charge(bench, "1.00")) == ["DIRECTION_NOT_ALLOWED"]
    sent = charge(bench, "6.00", payee="paypal:ann@example.com")
    assert (sent.status, sent.direction) == ("succeeded", "send")
    assert violations_of(lambda: charge(bench, "6.00", payee="paypal:ann@example.com")) == ["LIMIT_EXCEEDED"]
    assert bench.moved("send") == 600


def test_a_limit_counts_each_direction_apart_unless_it_names_both(make_bench: MakeBench) -> None:
    def sections(**limit: Any) -> dict[str, Any]:
        both = ["collect", "send"]
        limits = [{"id": "one", "amount": "10.00 USD", "window": "lifetime", **limit}]
        return {"payees": {"allow": ["self", "paypal:a@b.de"]}, "charge": {"directions": both, "limits": limits}}

    bench = make_bench(policy=policy({"bot": sections(), "other": sections(directions=["collect", "send"])}))
    assert charge(bench, "10.00").status == "succeeded"
    assert charge(bench, "10.00", payee="paypal:a@b.de").status == "succeeded"
    assert charge(bench, "6.00", agent="other").status == "succeeded"
    assert violations_of(lambda: charge(bench, "6.00", agent="other", payee="paypal:a@b.de")) == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seconds", [0, 1, 29, 59.999999])
def test_a_rolling_window_frees_up_to_a_minute_late_and_never_early(
    make_bench: MakeBench, clock: FixedClock, seconds: float
) -> None:
    clock.set(datetime(2026, 3, 1, 10, 30, tzinfo=UTC) + timedelta(seconds=seconds))
    bench = make_bench(policy=policy({"bot": capped("10.00 USD")}))
    spent_at = clock.now()
    charge(bench, "10.00")
    clock.set(spent_at + timedelta(hours=24) - timedelta(microseconds=1))
    with pytest.raises(PolicyDenied) as caught:
        charge(bench, "0.01")
    free_at = caught.value.retry_at
    assert free_at is not None
    assert spent_at + timedelta(hours=24) <= free_at <= spent_at + timedelta(hours=24, minutes=1)
    clock.set(max(free_at - timedelta(microseconds=1), spent_at + timedelta(hours=24)))
    if clock.now() < free_at:
        assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]
    clock.set(free_at)
    assert charge(bench, "10.00").status == "succeeded"


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_calendar_window_ends_at_midnight_of_its_zone(make_bench: MakeBench, clock: FixedClock) -> None:
    window = {"calendar": "month", "tz": "Europe/Berlin"}
    clock.set(datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC))  # 23:59:59 in Berlin, which has summer time by then
    bench = make_bench(policy=policy({"bot": capped("10.00 USD", window=window)}))
    charge(bench, "10.00")
    with pytest.raises(PolicyDenied) as caught:
        charge(bench, "0.01")
    assert caught.value.retry_at == datetime(2026, 3, 31, 22, tzinfo=UTC)
    clock.set(datetime(2026, 3, 31, 22, tzinfo=UTC))
    assert charge(bench, "10.00").status == "succeeded"


def test_a_lifetime_is_never_freed(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": limited(amount="10.00 USD", window="lifetime")}))
    charge(bench, "10.00")
    bench.later(days=4000)
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]


@pytest.mark.parametrize(
    ("per", "second"),
    [("customer", {"customer": "ben"}), ("payee", {"payee": "stripe:acct_1A2b3C"}), ("agent", None)],
)
def test_a_limit_per_something_counts_each_apart(make_bench: MakeBench, per: str, second: Any) -> None:
    entry = {
        **limited(amount="10.00 USD", window={"rolling": "24h"}, per=per),
        "payees": {"allow": ["self", "stripe:acct_1A2b3C"]},
    }
    bench = make_bench(policy=policy({"bot": entry}))
    charge(bench, "10.00")
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]
    if second is not None:
        assert charge(bench, "10.00", **second).status == "succeeded"
        assert violations_of(lambda: charge(bench, "0.01", **second)) == ["LIMIT_EXCEEDED"]


def test_a_count_counts_every_attempt_that_was_sent(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": limited(count=3, window={"rolling": "1h"})}))
    outcomes = [violations_of(lambda amount=amount: charge(bench, amount)) for amount in
                ("13.01", "13.24", "5.00", "13.10", "5.00")]  # fmt: skip
    # declined counts; what was never sent does not; pending does
    assert outcomes == [["PAYMENT_DECLINED"], ["NOT_SENT"], [], [], ["COUNT_EXCEEDED"]]


def test_what_is_declined_is_free_again_in_its_own_bucket(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": capped("20.00 USD")}))
    pending = charge(bench, "13.10")
    bench.later(hours=5)
    assert violations_of(lambda: charge(bench, "10.00")) == ["LIMIT_EXCEEDED"]
    bench.mock.complete(bench.attempts(pending.id)[-1].reference, "declined")
    bench.manager.reconcile()
    assert charge(bench, "20.00").status == "succeeded"


@pytest.mark.parametrize("amount", ["13.10", "13.11", "13.22", "13.21"])
def test_what_is_open_holds_its_amount(make_bench: MakeBench, amount: str) -> None:
    bench = make_bench(policy=policy({"bot": capped("20.00 USD")}))
    charge(bench, amount)
    with pytest.raises(PolicyDenied) as caught:
        charge(bench, "10.00")
    (violation,) = caught.value.violations
    assert (violation.used, violation.held) == ("0.00 USD", f"{amount} USD")
    assert violation.remaining == f"{20 - float(amount):.2f} USD"


TREE = {
    "company": {"limits": [{"id": "month", "amount": "100.00 USD", "window": {"calendar": "month"}}]},
    "research": {"parent": "company", "limits": [{"id": "day", "amount": "60.00 USD", "window": {"rolling": "24h"}}]},
    "sales": {"parent": "company", "limits": [{"id": "day", "amount": "60.00 USD", "window": {"rolling": "24h"}}]},
}


def test_budgets_bind_up_the_whole_tree_and_show_no_figures(make_bench: MakeBench) -> None:
    agents = {"bot": {"budget": "research"}, "two": {"budget": "research"}, "three": {"budget": "sales"}}
    bench = make_bench(policy=policy(agents, budgets=TREE))
    charge(bench, "40.00")
    with pytest.raises(PolicyDenied) as caught:
        charge(bench, "30.00", agent="two")
    (violation,) = caught.value.violations
    assert violation.code == "BUDGET_EXHAUSTED"
    assert (violation.limit, violation.used, violation.remaining) == (None, None, None)
    assert "40" not in str(caught.value)
    assert charge(bench, "60.00", agent="three").status == "succeeded"  # 100 of the company's
    assert violations_of(lambda: charge(bench, "0.01", agent="two")) == ["BUDGET_EXHAUSTED"]


def test_a_subscription_spends_from_the_budgets_too(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"budget": "research"}}, budgets=TREE))
    bench.manager.create_plan(PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="50.00",
                                          billing_period="monthly"))  # fmt: skip
    bench.bot.subscribe("ana", "pro", idempotency_key="s")
    assert violations_of(lambda: charge(bench, "10.01")) == ["BUDGET_EXHAUSTED"]
    assert charge(bench, "10.00").status == "succeeded"


def test_every_violation_is_named(make_bench: MakeBench) -> None:
    entry = {"customers": {"allow": ["team-*"]}, **capped("10.00 USD")}
    bench = make_bench(policy=policy({"bot": entry}))
    assert violations_of(lambda: charge(bench, "11.00", provider="mock", payee="stripe:acct_1A2b3C")) == [
        "CUSTOMER_NOT_ALLOWED", "PAYEE_NOT_ALLOWED", "LIMIT_EXCEEDED",
    ]  # fmt: skip


@pytest.mark.parametrize("cap", ["0.29", "0.01", "999999.99"])
def test_a_cap_is_exact_to_the_cent(make_bench: MakeBench, cap: str) -> None:
    bench = make_bench(policy=policy({"bot": capped(f"{cap} USD")}))
    assert charge(bench, cap).status == "succeeded"
    assert violations_of(lambda: charge(bench, "0.01")) == ["LIMIT_EXCEEDED"]


def test_currencies_have_caps_of_their_own_and_their_own_decimals(make_bench: MakeBench) -> None:
    limit = {"id": "d", "amount": ["10.00 USD", "100 JPY"], "window": {"rolling": "24h"}}
    entry = {
        "currencies": {"allow": ["USD", "JPY"]},
        "charge": {"directions": ["collect"], "limits": [limit]},
        "subscribe": None,
        "record_usage": None,
    }
    bench = make_bench(policy=policy({"bot": entry}))

    def yen(amount: str) -> Payment:
        return bench.bot.charge("ana", amount, "JPY", description="x", idempotency_key=f"y{amount}")

    charge(bench, "10.00")
    assert yen("100").status == "succeeded"
    assert violations_of(lambda: yen("1")) == ["LIMIT_EXCEEDED"]
    assert violations_of(lambda: yen("0.5")) == ["AMOUNT_INVALID"]
