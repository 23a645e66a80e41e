"""What the gate was found to get wrong once: each test failed before its fix."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import AgentPayError
from agentpay.providers.outcomes import Succeeded
from agentpay.testing.paypal_fake import PayPalFake
from support.bench import PEOPLE, WINDOW, Bench, asking, capped, code_of, policy, violations_of
from support.bench_fixtures import MakeBench
from support.invariants import check_invariants
from support.ledgers import check_counters


def usage(bench: Bench, key: str, customer: str = "ana", quantity: Any = 1, **more: Any) -> Any:
    return bench.bot.record_usage(customer, "calls", quantity, idempotency_key=key, **more)


def test_recorded_usage_may_be_limited_for_each_customer(make_bench: MakeBench) -> None:
    limits = [{"id": "each", "count": 2, "window": WINDOW, "per": "customer"}]
    bench = make_bench(
        policy=policy({"bot": {"record_usage": {"max_quantity": 10, "max_cost": "1.00 USD", "limits": limits}}})
    )
    usage(bench, "1")
    usage(bench, "2")
    assert violations_of(lambda: usage(bench, "3")) == ["COUNT_EXCEEDED"]
    usage(bench, "4", "ben")
    bench.check()


def test_no_cost_that_an_agent_records_keeps_its_operator_from_anything(make_bench: MakeBench) -> None:
    """Neither from another policy, nor from reading what is unbilled, nor from billing it."""
    bench = make_bench(policy=policy({"bot": {"record_usage": {}}}))
    for number in range(12):
        bench.later(minutes=1)
        bench.bot.record_usage("ana", "api", cost="1000000000", idempotency_key=f"u{number}")
    caps = [
        {"id": "ever", "amount": "1.00 USD", "window": "lifetime"},
        {"id": "daily", "amount": "1.00 USD", "window": WINDOW},
    ]
    bench.manager.apply_policy(policy({"bot": {"record_usage": {"limits": caps}}}))
    found = violations_of(lambda: bench.bot.record_usage("ana", "api", cost="0.01", idempotency_key="more"))
    assert found == ["LIMIT_EXCEEDED", "LIMIT_EXCEEDED"]
    assert [one.remaining for one in bench.bot.get_budget().limits[1:]] == ["0 USD", "0 USD"]
    assert str(bench.manager.get_usage("ana").unbilled[0]) == "12000000000 USD"
    bills = [bench.manager.bill_usage("ana", idempotency_key=f"b{number}") for number in range(3)]
    assert [str(bill.amount) for bill in bills] == ["8000000000.00", "4000000000.00", "0.00"]
    assert not bench.manager.doctor().breaches


def test_anothers_payment_may_be_refunded_above_the_least(make_bench: MakeBench) -> None:
    rules = {"allow": "any", "per_transaction": {"min": "1.00 USD", "max": "9.00 USD"}}
    bench = make_bench(policy=policy({"bot": {"refund": rules}}))
    paid = bench.manager.charge("ana", "5.00", "USD", description="x", idempotency_key="1")
    refund = bench.bot.refund(paid.id, "2.00", reason="x", idempotency_key="r1")
    assert refund.status == "succeeded"
    assert violations_of(lambda: bench.bot.refund(paid.id, "0.50", reason="x", idempotency_key="r2")) == [
        "BELOW_MINIMUM"
    ]
    bench.check()


def test_of_anothers_payment_a_refusal_says_nothing_else(make_bench: MakeBench) -> None:
    euros: dict[str, Any] = {"currencies": {"allow": ["EUR"]}, "charge": {"per_transaction": {"max": "9.00 EUR"}}}
    rules = {"bot": {"customers": {"allow": ["ana"]}}, "other": {**euros, "subscribe": None, "record_usage": None}}
    bench = make_bench(policy=policy(rules))
    theirs = bench.manager.for_agent("other").charge("ben", "5.00", "EUR", description="x", idempotency_key="k")
    with pytest.raises(AgentPayError) as caught:
        bench.bot.refund(theirs.id, reason="x", idempotency_key="r")
    assert [found.code for found in getattr(caught.value, "violations")] == ["NOT_OWN_PAYMENT"]  # noqa: B009
    assert "EUR" not in str(caught.value)


def test_a_look_alike_is_asked_about_again_where_the_memo_became_another(make_bench: MakeBench) -> None:
    rule = {"id": "twice", "when": {"duplicate": "suspected"}, "approvers": "people", "quorum": 1, "expires": "30m"}

    def rules(memo: str) -> Any:
        charge = {"directions": ["collect"], "per_transaction": {"max": "1000.00 USD"}, "duplicates": "approve"}
        entry = {"charge": charge, "approvals": [rule], "memo": {"template": memo}}
        return policy({"bot": entry}, approvers=PEOPLE, defaults={"duplicate_window": "5m"})

    bench = make_bench(policy=rules("one"))
    bench.enrol("alice")
    bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="1")
    parked = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="2")
    assert parked.status == "approval_required"
    bench.approve(parked.approval_id)
    bench.manager.apply_policy(rules("two"))
    again = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="2")
    assert again.status == "approval_required"
    assert bench.movements() == 1
    bench.approve(again.approval_id)
    assert bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="2").status == "succeeded"
    bench.check()


@pytest.mark.parametrize("quantity", [10**30, -(10**30), "5", 1.5, True, None, 0, -1])
@pytest.mark.parametrize("limited", [True, False])
def test_a_quantity_that_is_none_is_refused_and_written_down(
    make_bench: MakeBench, quantity: Any, limited: bool
) -> None:
    bench = make_bench(
        policy=policy({"bot": {"record_usage": {"max_quantity": 10, "max_cost": "1.00 USD"} if limited else {}}})
    )
    assert code_of(lambda: usage(bench, "1", quantity=quantity)) in ("POLICY_DENIED", "INVALID_ARGUMENT")


@pytest.mark.parametrize("customer", ["", "x" * 10000, "a\x00b", 5, None, "\ud800"])
def test_a_customer_that_is_none_is_refused_and_written_down(make_bench: MakeBench, customer: Any) -> None:
    bench = make_bench(policy=policy({"bot": {"customers": {"allow": ["ana"]}}}))
    assert code_of(lambda: usage(bench, "1", customer)) in ("POLICY_DENIED", "INVALID_ARGUMENT")
    assert code_of(lambda: bench.bot.check_access(customer, "x")) in ("POLICY_DENIED", "INVALID_ARGUMENT")
    assert code_of(lambda: bench.bot.cancel_subscription(customer)) in ("POLICY_DENIED", "INVALID_ARGUMENT")


def test_an_approval_of_a_look_alike_that_ran_out_is_asked_again(make_bench: MakeBench) -> None:
    rule = {"id": "twice", "when": {"duplicate": "suspected"}, "approvers": "people", "quorum": 1, "expires": "30m"}
    charge = {"directions": ["collect"], "per_transaction": {"max": "1000.00 USD"}, "duplicates": "approve"}
    rules = policy(
        {"bot": {"charge": charge, "approvals": [rule]}}, approvers=PEOPLE, defaults={"duplicate_window": "5m"}
    )
    bench = make_bench(policy=rules)
    bench.enrol("alice")
    bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="1")
    parked = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="2")
    bench.approve(parked.approval_id)
    bench.manager.apply_policy({**rules, "approvers": {"people": {"members": ["bob"]}}})
    again = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="2")
    assert again.status == "approval_required", "alice is not asked any more"
    bench.check()


def test_a_late_success_ends_what_was_asked_anew(database: str, clock: FixedClock) -> None:
    """Not sent, by what was known; then parked under a stricter policy; and then it turns out to be paid."""
    bench = Bench(
        database, clock=clock, policy=policy(approvers=PEOPLE)
    )  # the mock's books know nothing of its success
    bench.mock.force("unreachable")
    with pytest.raises(AgentPayError):
        bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="1")
    bench.manager.apply_policy(policy({"bot": asking("1.00 USD")}, approvers=PEOPLE))
    parked = bench.bot.charge("ana", "5.00", "USD", description="x", idempotency_key="1")
    assert parked.status == "approval_required"
    (attempt,) = bench.attempts(parked.id)
    late = Succeeded(reference="found-late")
    bench.engine.store.write(lambda tx: bench.engine.payments.settling.settle(tx, attempt.id, late))
    assert bench.manager.get_payment(parked.id).status == "succeeded"
    assert bench.holds(parked.id).count("captured") == 1 and "held" not in bench.holds(parked.id)
    assert bench.approvals() == ["expired"]
    check_invariants(bench.engine.store)
    bench.engine.store.read(check_counters)
    bench.close()


def test_a_denial_of_what_was_approved_is_no_request_of_its_own(make_bench: MakeBench) -> None:
    """A backtest counted the money of a payment once more for each call that was denied after it was parked."""
    asks = policy({"bot": asking("25.00 USD", when={"operation": ["charge", "refund"]})}, approvers=PEOPLE)
    bench = make_bench(policy=asks)
    bench.enrol("alice")
    paid = bench.manager.for_agent("bot").charge("ana", "30.00", "USD", description="x", idempotency_key="0")
    bench.approve(paid.approval_id)
    paid = bench.bot.charge("ana", "30.00", "USD", description="x", idempotency_key="0")
    parked = bench.bot.charge("ana", "35.00", "USD", description="x", idempotency_key="1")
    refund = bench.bot.refund(paid.id, "5.00", reason="x", idempotency_key="2")
    bench.approve(parked.approval_id)
    bench.approve(refund.approval_id)
    bench.manager.halt("bot", reason="stop")
    for _ in range(3):
        assert violations_of(lambda: bench.bot.charge("ana", "35.00", "USD", description="x", idempotency_key="1")) == [
            "HALTED"
        ]
        assert violations_of(lambda: bench.bot.refund(paid.id, "5.00", reason="x", idempotency_key="2")) == ["HALTED"]
    assert bench.manager.backtest(asks).replayed == 3
    bench.manager.resume("bot")
    assert bench.bot.charge("ana", "35.00", "USD", description="x", idempotency_key="1").status == "succeeded"
    bench.check()


def test_a_halted_pattern_stops_what_its_agents_have_under_way(database: str, clock: FixedClock) -> None:
    """Nobody takes the money that a customer approved at the provider meanwhile."""
    rules = policy({"worker-*": {"providers": {"allow": ["paypal"]}}})
    with PayPalFake(clock=clock) as fake:
        paypal = fake.provider(timeout=1.0)
        bench = Bench(database, clock=clock, policy=rules, providers=(paypal,))
        worker = bench.manager.for_agent("worker-1")
        waiting = worker.charge("ana", "5.00", "USD", description="x", idempotency_key="1", provider="paypal")
        fake.approve(fake.newest_order())
        bench.manager.halt("worker-*", reason="look at them first")
        bench.later(seconds=paypal.capabilities().lease.total_seconds() * 1.2 + 600)
        bench.manager.reconcile()
        assert (fake.effects(), bench.manager.get_payment(waiting.id).status) == (0, "pending")
        bench.manager.resume("worker-*")
        bench.manager.reconcile()
        assert (fake.effects(), bench.manager.get_payment(waiting.id).status) == (1, "succeeded")
        bench.close()


def test_an_approval_that_ran_out_takes_no_hold_from_what_runs_without_it(make_bench: MakeBench) -> None:
    """Given back, run out, and not ended yet: the payment runs under a policy that asks nobody any more. Ending the
    approval then freed the budget of money that moves."""
    limited = capped("10.00 USD")
    bench = make_bench(policy=policy({"bot": {**limited, **asking("1.00 USD")}}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = bench.bot.charge("ana", "10.00", "USD", description="x", idempotency_key="1")
    bench.approve(parked.approval_id)
    bench.mock.force("unreachable")
    assert code_of(lambda: bench.bot.charge("ana", "10.00", "USD", description="x", idempotency_key="1")) == "NOT_SENT"
    bench.manager.apply_policy(policy({"bot": limited}, approvers=PEOPLE))
    bench.later(minutes=31)
    bench.mock.force("pending")
    assert bench.manager.continue_payment(parked.id).status == "pending"
    refused = violations_of(lambda: bench.bot.charge("ben", "10.00", "USD", description="x", idempotency_key="2"))
    assert refused == ["LIMIT_EXCEEDED"]
    assert bench.holds(parked.id)[-1] == "held"
    bench.check()


def test_what_is_asked_anew_after_an_approval_ran_out_is_asked_once(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("1.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = bench.bot.charge("ana", "10.00", "USD", description="x", idempotency_key="1")
    bench.approve(parked.approval_id)
    bench.mock.force("unreachable")
    assert code_of(lambda: bench.bot.charge("ana", "10.00", "USD", description="x", idempotency_key="1")) == "NOT_SENT"
    bench.later(minutes=31)
    again = bench.manager.continue_payment(parked.id)
    assert again.status == "approval_required" and again.approval_id != parked.approval_id
    bench.check()
    bench.approve(again.approval_id)
    assert bench.bot.charge("ana", "10.00", "USD", description="x", idempotency_key="1").status == "succeeded"
    bench.check()
