"""Approvals: people decide about exactly one payment; it runs once; what they did not decide frees its budget."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import ApproverLocked, PolicyDenied
from agentpay.payments.models import Payment
from agentpay.spending import approvals
from agentpay.spending.models import Ask
from agentpay.spending.tables import ApprovalRow
from agentpay.storage.types import table
from agentpay_policies.decisions import Request
from agentpay_policies.money import Money
from support.bench import PEOPLE, SECRET, Bench, asking, capped, code_of, policy, tally, violations_of
from support.bench_fixtures import MakeBench
from support.parallel import run_threads

ASKING = policy({"bot": {**asking(), **capped("60.00 USD")}}, approvers=PEOPLE)
WRONG = "a wrong secret of some length"


@pytest.fixture
def asked(make_bench: MakeBench) -> Bench:
    """An engine that asks people above $25, with a cap of $60 a day and two approvers."""
    bench = make_bench(policy=ASKING)
    bench.enrol("alice", "bob")
    return bench


def charge(bench: Bench, amount: str = "50.00", key: str = "k", **more: Any) -> Payment:
    return bench.bot.charge(more.pop("customer", "ana"), amount, "USD", description="x", idempotency_key=key, **more)


def test_above_the_amount_it_is_parked_and_holds_its_money(asked: Bench) -> None:
    parked = charge(asked)
    assert parked.status == "approval_required" and parked.approval_id and not parked
    assert "must approve" in parked.next_step and "same idempotency key" in parked.next_step
    assert asked.mock.requests() == [] and asked.attempts(parked.id) == []
    assert violations_of(lambda: charge(asked, "11.00", "k2")) == ["LIMIT_EXCEEDED"]
    again = charge(asked)
    assert (again.id, again.status, again.replayed) == (parked.id, "approval_required", True)
    assert charge(asked, "10.00", "k3").status == "succeeded"
    shown = asked.bot.get_approval(parked.approval_id)
    assert (shown.status, str(shown.amount), shown.customer, shown.agent) == ("pending", "50.00", "ana", "bot")


def test_approved_it_runs_once_by_the_same_call(asked: Bench) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    assert asked.movements() == 0
    assert asked.bot.get_approval(parked.approval_id or "").status == "approved"
    done = charge(asked)
    assert (done.id, done.status) == (parked.id, "succeeded")
    assert charge(asked).replayed and asked.movements() == 1
    assert asked.approvals() == ["consumed"]
    assert asked.holds(parked.id) == ["void", "captured"]


def test_approved_it_may_be_run_by_the_operator_too(asked: Bench) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    assert asked.manager.continue_payment(parked.id).status == "succeeded"
    assert asked.manager.continue_payment(parked.id).status == "succeeded"
    assert charge(asked).replayed and asked.movements() == 1


def test_twenty_repeats_and_continuations_at_once_run_it_once(asked: Bench) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    ended = tally(run_threads(20, lambda n: charge(asked) if n % 2 else asked.manager.continue_payment(parked.id)))
    assert set(ended) <= {"succeeded", "pending"} and asked.movements() == 1


def test_denied_it_is_refused_for_good_and_its_money_is_free(asked: Bench) -> None:
    parked = charge(asked)
    asked.manager.deny(parked.approval_id or "", approver="bob", secret=SECRET)
    for _ in range(2):
        with pytest.raises(PolicyDenied) as caught:
            charge(asked)
        assert [one.code for one in caught.value.violations] == ["APPROVAL_DENIED"]
        assert caught.value.payment_id == parked.id
    assert asked.holds(parked.id) == ["void"]
    assert code_of(lambda: asked.approve(parked.approval_id)) == "CONFLICT"
    assert charge(asked, "50.00", "k2").status == "approval_required"
    assert asked.movements() == 0


def test_expired_it_is_refused_and_its_money_is_free(asked: Bench) -> None:
    parked = charge(asked)
    asked.later(minutes=30)
    assert code_of(lambda: asked.approve(parked.approval_id)) == "CONFLICT"
    assert violations_of(lambda: charge(asked)) == ["APPROVAL_EXPIRED"]
    assert asked.holds(parked.id) == ["void"]
    assert charge(asked, "60.00", "k2").status == "approval_required"


def test_approved_and_not_used_in_time_it_expires(asked: Bench) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    asked.later(minutes=30)
    assert violations_of(lambda: charge(asked)) == ["APPROVAL_EXPIRED"]
    assert asked.movements() == 0


def test_expiry_that_nobody_noticed_does_not_ask_or_hold_twice(asked: Bench) -> None:
    """The sweep of expired approvals is bounded: what it has not reached yet is expired all the same."""
    parked = charge(asked)
    asked.approve(parked.approval_id)
    asked.later(minutes=30)
    opening = asked.engine.payments.opening
    opened = asked.engine.store.write(lambda tx: opening.repeat(tx, parked.id, asked.bot._principal))
    assert type(opened).__name__ == "Stands"
    assert asked.holds(parked.id) == ["held"] and asked.approvals() == ["approved"]
    asked.manager.reconcile()
    assert asked.holds(parked.id) == ["void"]


def test_an_approval_is_for_its_own_key_amount_and_customer(asked: Bench) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    assert code_of(lambda: charge(asked, "55.00")) == "IDEMPOTENCY_CONFLICT"
    assert code_of(lambda: charge(asked, customer="ben")) == "IDEMPOTENCY_CONFLICT"
    assert violations_of(lambda: charge(asked, "50.00", "other")) == ["LIMIT_EXCEEDED"]  # it still holds its money
    assert charge(asked).status == "succeeded"
    asked.later(days=2)
    assert charge(asked, "50.00", "other").status == "approval_required"


def test_what_it_held_itself_is_not_counted_against_it(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": capped("100.00 USD") | asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = bench.bot.charge("ana", "60.00", "USD", description="x", idempotency_key="k")
    bench.approve(parked.approval_id)
    assert bench.bot.charge("ana", "60.00", "USD", description="x", idempotency_key="k").status == "succeeded"
    assert bench.bot.get_budget().can_spend_now[0].amount.amount == Decimal("40.00")


def test_an_approval_is_for_the_very_effect_that_people_saw(asked: Bench) -> None:
    parked = asked.bot.charge("ana", "30.00", "USD", description="x", idempotency_key="k")
    asked.approve(parked.approval_id)

    def given(digest: str) -> bool:
        request = Request(tool="charge", agent="bot", operation="charge", money=Money("30.00", "USD"))
        ask = Ask(request, parked.id, "charge", "k", digest, "cus_x", "mock")
        return asked.engine.store.read(lambda tx: approvals.given(tx, ask, tx.now())) is not None

    (row,) = asked.rows(sa.select(table(ApprovalRow)))
    assert given(row.digest)
    assert not given(row.digest[:-1] + ("0" if row.digest[-1] != "0" else "1"))


def test_what_was_not_sent_gives_the_approval_back_until_it_expires(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("5.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = charge(bench, "13.24")
    bench.approve(parked.approval_id)
    for _ in range(3):
        assert code_of(lambda: charge(bench, "13.24")) == "NOT_SENT"
        assert bench.approvals() == ["approved"]
    assert len(bench.attempts(parked.id)) == 3
    bench.later(minutes=31)
    assert violations_of(lambda: charge(bench, "13.24")) == ["APPROVAL_EXPIRED"]
    assert len(bench.attempts(parked.id)) == 3


def test_a_declined_payment_has_used_its_approval_up(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("5.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = charge(bench, "13.01")
    bench.approve(parked.approval_id)
    assert code_of(lambda: charge(bench, "13.01")) == "PAYMENT_DECLINED"
    assert bench.approvals() == ["consumed"]
    assert charge(bench, "13.01", "k2").status == "approval_required"


def test_an_unknown_outcome_keeps_its_hold_beyond_the_approval(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("5.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = charge(bench, "13.22")
    bench.approve(parked.approval_id)
    assert charge(bench, "13.22").status == "unknown"
    bench.later(hours=1)
    bench.engine.payments.expire_approvals()
    assert bench.holds(parked.id) == ["void", "held"]


# -- the active policy decides when it runs


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({**asking(), **capped("49.00 USD")}, "LIMIT_EXCEEDED"),
        ({**asking(), "customers": {"allow": ["ben"]}}, "CUSTOMER_NOT_ALLOWED"),
        ({**asking(), "tools": ["get_budget"]}, "TOOL_NOT_ALLOWED"),
    ],
)
def test_a_stricter_policy_denies_what_was_approved(asked: Bench, changes: dict[str, Any], code: str) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id)
    asked.manager.apply_policy(policy({"bot": changes}, approvers=PEOPLE))
    assert violations_of(lambda: charge(asked)) == [code]
    assert asked.movements() == 0
    asked.manager.apply_policy(ASKING)
    assert charge(asked).status == "succeeded"  # the approval was not used up


def test_a_halt_between_parking_and_running_stops_it(asked: Bench) -> None:
    parked = charge(asked)
    asked.manager.halt("bot", reason="stop")
    asked.approve(parked.approval_id)
    assert violations_of(lambda: charge(asked)) == ["HALTED"]
    assert code_of(lambda: asked.manager.continue_payment(parked.id)) == "POLICY_DENIED"
    asked.manager.resume("bot")
    assert charge(asked).status == "succeeded"


@pytest.mark.parametrize(
    "stricter",
    [
        {"approvals": [*asking()["approvals"], {"id": "more", "when": {"amount_over": "40.00 USD"},
                                                "approvers": "people", "quorum": 1, "expires": "30m"}]},
        asking(quorum=2),
        asking(approvers="others"),
    ],
    ids=["another rule", "a larger quorum", "other people"],
)  # fmt: skip
def test_a_policy_that_asks_more_asks_again(asked: Bench, stricter: dict[str, Any]) -> None:
    parked = charge(asked)
    asked.approve(parked.approval_id, "alice")
    people = {**PEOPLE, "others": {"members": ["bob"]}}
    asked.manager.apply_policy(policy({"bot": stricter}, approvers=people))
    again = charge(asked)
    assert again.status == "approval_required" and again.approval_id != parked.approval_id
    assert asked.movements() == 0 and asked.holds(parked.id) == ["void", "held"]
    asked.approve(again.approval_id, "bob")
    if asked.bot.get_approval(again.approval_id or "").status == "pending":
        asked.approve(again.approval_id, "alice")
    assert charge(asked).status == "succeeded" and asked.movements() == 1


# -- who approves


def test_a_quorum_of_two_needs_two_people(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking(quorum=2)}, approvers=PEOPLE))
    bench.enrol("alice", "bob", "carol")
    parked = charge(bench)
    bench.approve(parked.approval_id, "alice")
    assert code_of(lambda: bench.approve(parked.approval_id, "alice")) == "CONFLICT"
    assert charge(bench).status == "approval_required"
    bench.approve(parked.approval_id, "bob")
    assert code_of(lambda: bench.approve(parked.approval_id, "carol")) == "CONFLICT"
    assert charge(bench).status == "succeeded"


def test_one_denial_ends_it_whoever_approved(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking(quorum=2)}, approvers=PEOPLE))
    bench.enrol("alice", "bob")
    parked = charge(bench)
    bench.approve(parked.approval_id, "alice")
    bench.manager.deny(parked.approval_id or "", approver="bob", secret=SECRET)
    assert violations_of(lambda: charge(bench)) == ["APPROVAL_DENIED"]


def test_only_those_whom_the_rule_asks_may_answer(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking()}, approvers={"people": {"members": ["alice", "bot"]}}))
    bench.enrol("alice", "bot", "zoe")
    parked = charge(bench)
    assert code_of(lambda: bench.approve(parked.approval_id, "zoe")) == "APPROVER_REFUSED"
    assert code_of(lambda: bench.approve(parked.approval_id, "bot")) == "APPROVER_REFUSED"  # who asks
    assert code_of(lambda: bench.approve(parked.approval_id, "nobody")) == "APPROVER_REFUSED"
    assert code_of(lambda: bench.approve("apr_none", "alice")) == "NOT_FOUND"
    assert charge(bench).status == "approval_required"


def test_an_agent_has_no_verb_that_approves_or_changes_anything(asked: Bench) -> None:
    verbs = {name for name in dir(asked.bot) if not name.startswith("_")}
    assert verbs == {
        "agent", "cancel_subscription", "charge", "check_access", "get_approval", "get_budget", "get_payment",
        "get_subscription", "list_payments", "list_plans", "record_usage", "refund", "subscribe",
    }  # fmt: skip


def test_five_wrong_secrets_lock_an_approver_for_a_quarter_of_an_hour(asked: Bench) -> None:
    parked = charge(asked)

    def guess(secret: str) -> None:
        asked.manager.approve(parked.approval_id or "", approver="alice", secret=secret)

    assert [code_of(lambda: guess(WRONG)) for _ in range(6)] == ["APPROVER_REFUSED"] * 5 + ["APPROVER_LOCKED"]
    with pytest.raises(ApproverLocked) as caught:
        guess(SECRET)
    assert caught.value.retry_at is not None
    asked.later(minutes=16)
    guess(SECRET)
    assert charge(asked).status == "succeeded"


def test_guesses_at_once_are_counted_before_they_are_judged(asked: Bench) -> None:
    parked = charge(asked)
    guesses = tally(
        run_threads(
            12, lambda n: asked.manager.approve(parked.approval_id or "", approver="alice", secret=WRONG + str(n))
        )
    )
    assert guesses == {"APPROVER_REFUSED": 5, "APPROVER_LOCKED": 7}
    assert asked.bot.get_approval(parked.approval_id or "").status == "pending"


def test_a_right_secret_forgets_the_wrong_ones(asked: Bench) -> None:
    parked = charge(asked)

    def guess(secret: str) -> None:
        asked.manager.approve(parked.approval_id or "", approver="alice", secret=secret)

    assert [code_of(lambda: guess(WRONG)) for _ in range(4)] == ["APPROVER_REFUSED"] * 4
    guess(SECRET)
    assert code_of(lambda: guess(WRONG)) == "APPROVER_REFUSED"


def test_the_first_approver_is_one_whoever_comes_at_once(make_bench: MakeBench) -> None:
    bench = make_bench()
    ended = tally(run_threads(6, lambda n: bench.manager.enrol_approver(f"person-{n}", SECRET)))
    assert ended["APPROVER_REFUSED"] == 5
    assert len(bench.manager.approvers()) == 1


def test_a_later_approver_needs_an_earlier_one(asked: Bench) -> None:
    def enrol(**by: str) -> str:
        return code_of(lambda: asked.manager.enrol_approver("mallory", SECRET, **by))

    assert enrol() == "APPROVER_REFUSED"
    assert enrol(by="alice") == "APPROVER_REFUSED"
    assert enrol(by="alice", by_secret=WRONG) == "APPROVER_REFUSED"
    assert enrol(by="nobody", by_secret=SECRET) == "APPROVER_REFUSED"
    assert code_of(lambda: asked.manager.enrol_approver("short", "too short")) == "INVALID_ARGUMENT"
    assert enrol(by="alice", by_secret=SECRET) == "fine"
    assert enrol(by="alice", by_secret=SECRET) == "CONFLICT"


def test_a_rotated_secret_replaces_the_old_one(asked: Bench) -> None:
    asked.manager.rotate_approver("alice", "another secret, also long", by="alice", by_secret=SECRET)
    parked = charge(asked)
    assert code_of(lambda: asked.approve(parked.approval_id)) == "APPROVER_REFUSED"
    asked.manager.approve(parked.approval_id or "", approver="alice", secret="another secret, also long")
    assert charge(asked).status == "succeeded"


def test_at_most_five_requests_wait_at_once(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking(), "two": asking()}, approvers=PEOPLE))
    bench.enrol("alice")
    parked = [charge(bench, "30.00", f"k{n}") for n in range(5)]
    assert violations_of(lambda: charge(bench, "30.00", "k5")) == ["APPROVALS_PENDING"]
    other = bench.manager.for_agent("two")
    assert other.charge("ana", "30.00", "USD", description="x", idempotency_key="k").status == "approval_required"
    bench.approve(parked[0].approval_id)
    assert charge(bench, "30.00", "k5").status == "approval_required"
    bench.later(hours=1)
    assert charge(bench, "30.00", "k6").status == "approval_required"


def test_a_stranger_is_asked_about_each_time(make_bench: MakeBench) -> None:
    rule = {"id": "new", "when": {"payee": "new"}, "approvers": "people", "quorum": 1, "expires": "2h"}
    entry = {"payees": {"allow": ["self"], "new": "approve"}, "approvals": [rule]}
    bench = make_bench(policy=policy({"bot": entry}, approvers=PEOPLE))
    bench.enrol("alice")
    assert charge(bench, "5.00", "k0").status == "succeeded"
    for n in range(2):
        parked = charge(bench, "5.00", f"k{n + 1}", payee="stripe:acct_1A2b3C")
        assert parked.status == "approval_required"
        assert bench.bot.get_approval(parked.approval_id or "").payee_is_new
        bench.approve(parked.approval_id)
        assert charge(bench, "5.00", f"k{n + 1}", payee="stripe:acct_1A2b3C").status == "succeeded"


def test_a_refund_is_parked_and_runs_once(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking("25.00 USD")}, approvers=PEOPLE))
    bench.enrol("alice")
    paid = bench.manager.charge("ana", "50.00", "USD", idempotency_key="k")
    own = charge(bench, "25.00", "own")
    bench.manager.apply_policy(policy({"bot": {**asking("10.00 USD"), "refund": {"allow": "any"}}}, approvers=PEOPLE))

    def refund(payment: Payment, amount: str, key: str = "r") -> Any:
        return bench.bot.refund(payment.id, amount, reason="r", idempotency_key=key)

    parked = refund(own, "20.00")
    assert parked.status == "approval_required"
    assert code_of(lambda: refund(own, "6.00", "r2")) == "REFUND_REFUSED"  # what is parked is reserved
    bench.approve(parked.approval_id)
    ended = tally(run_threads(6, lambda _: refund(own, "20.00")))
    assert set(ended) <= {"succeeded", "pending"} and bench.movements("refund") == 1
    denied = refund(paid, "30.00", "r3")
    bench.manager.deny(denied.approval_id, approver="alice", secret=SECRET)
    assert violations_of(lambda: refund(paid, "30.00", "r3")) == ["APPROVAL_DENIED"]
    assert refund(paid, "10.00", "r4").status == "succeeded"
    late = refund(paid, "40.00", "r5")
    bench.later(hours=1)
    assert violations_of(lambda: refund(paid, "40.00", "r5")) == ["APPROVAL_EXPIRED"]
    assert late.status == "approval_required"
    assert str(bench.manager.get_payment(paid.id).refunded) == "10.00"


def test_agents_see_their_own_approvals_only(make_bench: MakeBench) -> None:
    bench = make_bench(policy=policy({"bot": asking(), "two": {}}, approvers=PEOPLE))
    parked = charge(bench)
    two = bench.manager.for_agent("two")
    assert code_of(lambda: two.get_approval(parked.approval_id or "")) == "NOT_FOUND"
    assert code_of(lambda: two.get_payment(parked.id)) == "NOT_FOUND"
    assert two.list_payments("ana").items == ()
    assert two.get_budget().limits[0].used == "0.00 USD"
