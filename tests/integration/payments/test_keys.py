"""Ruling 7: a key names one operation, per principal; refusals leave it free; a repeat is answered as it stands."""

from __future__ import annotations

import pytest

from agentpay.errors import DuplicateSuspected, IdempotencyConflict, NotFound
from agentpay.payments.models import Payment, Refund
from agentpay.plans.models import PaymentPlan
from support.bench import PEOPLE, Bench, asking, code_of, policy, tally
from support.bench_fixtures import MakeBench
from support.parallel import run_threads


def charged(bench: Bench, customer: str, amount: str, key: str, **more: str) -> Payment:
    return bench.bot.charge(customer, amount, "USD", **{"description": "x", **more}, idempotency_key=key)


def test_a_repeat_is_the_same_payment_and_says_so(shared: Bench, ana: str) -> None:
    first = charged(shared, ana, "5.00", ana)
    again = charged(shared, ana, "5.00", ana)
    assert (again.id, again.replayed, first.replayed) == (first.id, True, False)
    assert again.updated_at == first.updated_at
    assert shared.moved() >= 500 and len(shared.manager.list_payments(ana)) == 1


@pytest.mark.parametrize("amount", ["5.00", "13.01", "13.10", "13.11", "13.21", "13.22", "13.24"])
def test_another_body_conflicts_in_every_state(shared: Bench, ana: str, ben: str, amount: str) -> None:
    code_of(lambda: charged(shared, ana, amount, ana))
    others = {
        "amount": lambda: charged(shared, ana, "6.00", ana),
        "customer": lambda: charged(shared, ben, amount, ana),
        "description": lambda: charged(shared, ana, amount, ana, description="y"),
        "payee": lambda: charged(shared, ana, amount, ana, payee="stripe:acct_1A2b3C"),
        "provider": lambda: charged(shared, ana, amount, ana, provider="mock"),
        "method": lambda: charged(shared, ana, amount, ana, method="card"),
    }
    assert {name: code_of(other) for name, other in others.items()} == dict.fromkeys(others, "IDEMPOTENCY_CONFLICT")
    shared.later(seconds=2)
    shared.manager.reconcile()
    assert {name: code_of(other) for name, other in others.items()} == dict.fromkeys(others, "IDEMPOTENCY_CONFLICT")
    assert len(shared.manager.list_payments(ana)) == 1


@pytest.mark.parametrize("end", ["approval_required", "approved", "denied", "expired"])
def test_another_body_conflicts_whatever_became_of_the_approval(make_bench: MakeBench, end: str) -> None:
    bench = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = charged(bench, "ana", "50.00", "k")
    if end == "approved":
        bench.approve(parked.approval_id)
    if end == "denied":
        bench.manager.deny(parked.approval_id or "", approver="alice", secret="a secret of twelve or more")
    if end == "expired":
        bench.later(hours=1)
    with pytest.raises(IdempotencyConflict):
        charged(bench, "ana", "51.00", "k")
    assert bench.movements() == 0


def test_a_refused_call_leaves_its_key_free(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": {"charge": {"directions": ["collect"], "per_transaction": {
        "max": "10.00 USD"}, "limits": [{"id": "d", "amount": "100.00 USD", "window": {"rolling": "24h"}}]}}}))  # fmt: skip
    refused = {
        "too much": lambda: charged(bench, "ana", "11.00", "k"),
        "no provider": lambda: charged(bench, "ana", "5.00", "k", provider="nobody"),
        "no method": lambda: charged(bench, "ana", "5.00", "k", method="barter"),
        "no amount": lambda: charged(bench, "ana", "-5.00", "k"),
        "no customer": lambda: charged(bench, "", "5.00", "k"),
        "no payee": lambda: charged(bench, "ana", "5.00", "k", payee="somebody"),
    }
    assert {name: code_of(call) for name, call in refused.items()} == {
        "too much": "POLICY_DENIED",
        "no provider": "PROVIDER_UNKNOWN",
        "no method": "PROVIDER_UNSUPPORTED",
        "no amount": "AMOUNT_INVALID",
        "no customer": "INVALID_ARGUMENT",
        "no payee": "PAYEE_INVALID",
    }
    bench.manager.halt(reason="stop")
    assert code_of(lambda: charged(bench, "ana", "5.00", "k")) == "POLICY_DENIED"
    bench.manager.resume()
    assert bench.recorded("charge.call_refused") == len(refused) + 1
    assert charged(bench, "ana", "5.00", "k").status == "succeeded"


def test_keys_are_apart_per_principal_and_operation(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"other": {}}))
    mine = charged(bench, "ana", "5.00", "k")
    theirs = bench.manager.for_agent("other").charge("ana", "5.00", "USD", description="x", idempotency_key="k")
    operators = bench.manager.charge("ana", "7.00", "USD", idempotency_key="k")
    refund = bench.bot.refund(mine.id, "1.00", reason="r", idempotency_key="k")
    assert len({mine.id, theirs.id, operators.id, refund.id}) == 4
    assert bench.movements() == 3


@pytest.mark.parametrize("key", ["", " ", "k" * 201, "k" * 10_240, "a\x00b", "a\u202eb", 5, None])
def test_a_key_is_checked(bench: Bench, key: object) -> None:
    assert code_of(lambda: charged(bench, "ana", "5.00", key)) == "INVALID_ARGUMENT"  # type: ignore[arg-type]
    assert bench.movements() == 0


def test_a_lost_answer_is_found_by_its_key(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"other": {}}))
    bench.manager.create_plan(PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00",
                                          billing_period="monthly"))  # fmt: skip
    paid = charged(bench, "ana", "5.00", "k")
    subscription = bench.bot.subscribe("ana", "pro", idempotency_key="s")
    refund = bench.bot.refund(paid.id, reason="r", idempotency_key="r")
    found = bench.bot.get_payment(idempotency_key="k")
    assert isinstance(found, Payment) and found.id == paid.id and str(found.refunded) == "5.00"
    first = bench.bot.get_payment(idempotency_key="s", operation="subscribe")
    assert first.id == subscription.payment_id
    back = bench.bot.get_payment(idempotency_key="r", operation="refund")
    assert isinstance(back, Refund) and back.id == refund.id
    for key, operation in (("s", "charge"), ("nothing", "charge"), ("k", "refund")):
        with pytest.raises(NotFound):
            bench.bot.get_payment(idempotency_key=key, operation=operation)
    assert code_of(lambda: bench.manager.for_agent("other").get_payment(idempotency_key="k")) == "NOT_FOUND"
    for wrong in ({}, {"payment_id": paid.id, "idempotency_key": "k"}, {"idempotency_key": "k", "operation": "renew"}):
        assert code_of(lambda wrong=wrong: bench.bot.get_payment(**wrong)) == "INVALID_ARGUMENT"


def test_one_key_twenty_times_in_threads_is_one_payment(bench: Bench) -> None:
    ended = tally(run_threads(20, lambda _: charged(bench, "ana", "5.00", "k")))
    assert set(ended) <= {"succeeded", "pending"} and sum(ended.values()) == 20
    assert bench.movements() == 1


def test_two_bodies_under_one_key_at_once_are_one_payment_and_conflicts(bench: Bench) -> None:
    ended = tally(run_threads(10, lambda n: charged(bench, "ana", f"{5 + n % 2}.00", "k")))
    assert ended["IDEMPOTENCY_CONFLICT"] == 5
    assert bench.movements() == 1


# -- the duplicate guard

GUARDED = policy({"other": {}}, defaults={"duplicate_window": "5m"})


def test_a_fresh_key_for_the_same_payment_is_suspected(make_bench: MakeBench) -> None:
    bench = make_bench(policy=GUARDED)
    first = charged(bench, "ana", "5.00", "k1")
    with pytest.raises(DuplicateSuspected) as caught:
        charged(bench, "ana", "5.00", "k2")
    assert caught.value.look_alike == first.id
    assert bench.movements() == 1
    bench.later(seconds=1)
    second = charged(bench, "ana", "5.00", "k2", distinct_from=first.id)
    assert second.id != first.id
    with pytest.raises(DuplicateSuspected) as again:
        charged(bench, "ana", "5.00", "k3", distinct_from=first.id)
    assert again.value.look_alike == second.id  # the newest
    assert charged(bench, "ana", "5.00", "k2").replayed  # distinct_from is no part of the body
    assert charged(bench, "ana", "5.00", "k2", distinct_from=first.id).replayed
    assert bench.movements() == 2


def test_what_differs_in_anything_is_no_duplicate(make_bench: MakeBench) -> None:
    bench = make_bench(policy=GUARDED)
    charged(bench, "ana", "5.00", "k1")
    assert charged(bench, "ben", "5.00", "k2").status == "succeeded"
    assert charged(bench, "ana", "5.01", "k3").status == "succeeded"
    other = bench.manager.for_agent("other")
    assert other.charge("ana", "5.00", "USD", description="x", idempotency_key="k4").status == "succeeded"
    bench.later(minutes=5, seconds=1)
    assert charged(bench, "ana", "5.00", "k5").status == "succeeded"


@pytest.mark.parametrize(
    ("amount", "suspected"),
    [("13.10", True), ("13.11", True), ("13.21", True), ("13.01", False), ("13.24", False)],
)
def test_only_what_lives_or_succeeded_is_looked_at(make_bench: MakeBench, amount: str, suspected: bool) -> None:
    bench = make_bench(policy=GUARDED)
    first = code_of(lambda: charged(bench, "ana", amount, "k1"))
    second = code_of(lambda: charged(bench, "ana", amount, "k2"))
    assert second == ("DUPLICATE_SUSPECTED" if suspected else first)


def test_a_parked_payment_is_looked_at(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking()}, approvers=PEOPLE, defaults={"duplicate_window": "5m"}))
    parked = charged(bench, "ana", "50.00", "k1")
    with pytest.raises(DuplicateSuspected) as caught:
        charged(bench, "ana", "50.00", "k2")
    assert caught.value.look_alike == parked.id


def test_fresh_keys_at_once_are_one_payment(make_bench: MakeBench) -> None:
    bench = make_bench(policy=GUARDED)
    ended = tally(run_threads(10, lambda n: charged(bench, "ana", "5.00", f"k{n}")))
    assert ended == {"succeeded": 1, "DUPLICATE_SUSPECTED": 9}


def test_distinct_from_lifts_no_cap(make_bench: MakeBench) -> None:
    capped = {"directions": ["collect"], "limits": [{"id": "d", "amount": "9.00 USD", "window": {"rolling": "24h"}}]}
    bench = make_bench(policy=policy({"bot": {"charge": capped}}, defaults={"duplicate_window": "5m"}))
    first = charged(bench, "ana", "5.00", "k1")
    assert code_of(lambda: charged(bench, "ana", "5.00", "k2", distinct_from=first.id)) == "POLICY_DENIED"


def test_a_window_of_nothing_turns_the_guard_off(bench: Bench) -> None:
    charged(bench, "ana", "5.00", "k1")
    assert charged(bench, "ana", "5.00", "k2").status == "succeeded"


def test_the_operator_is_not_guarded(make_bench: MakeBench) -> None:
    bench = make_bench(policy=GUARDED)
    for key in ("k1", "k2"):
        assert bench.manager.charge("ana", "5.00", "USD", idempotency_key=key).status == "succeeded"
    assert charged(bench, "ana", "5.00", "k1").status == "succeeded"
