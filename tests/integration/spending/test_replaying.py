"""Replaying what was asked for: read as it was decided, each request once, and told in money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentpay.customers import service as customers
from agentpay.errors import ValidationError
from agentpay.spending import replaying
from agentpay.spending.tables import ApprovalRow, DecisionRequestRow
from agentpay.storage import Store
from agentpay.storage.transaction import Tx
from agentpay_policies.backtest import Recorded, compare_decisions
from agentpay_policies.loader import load_mapping
from agentpay_policies.money import Money, Price
from agentpay_policies.payees import Payee
from conftest import START
from support.bench import PEOPLE, SECRET, asking, capped, code_of, policy
from support.bench_fixtures import MakeBench

HALTED = '[{"code": "HALTED", "message": "stop"}]'


pytestmark = pytest.mark.breaks_invariants  # requests without payments, approvals that nobody gave


def asked(
    store: Store, outcome: str = "allow", *, at: timedelta = timedelta(0), customer: str = "ana", **more: Any
) -> None:
    """Write a request down, as the gate does."""

    def write(tx: Tx) -> None:
        now = tx.now()
        known = customers.ensure(tx, customer, ids=store.ids, now=now)
        usual = {
            "agent": "bot", "operation": "charge", "direction": "collect", "customer_id": known.id, "payee": "self",
            "provider": "mock", "currency": "USD", "amount_minor": 2000, "quantity": 1, "own_charge": True, "term": 1,
        }  # fmt: skip
        tx.insert(DecisionRequestRow, **{**usual, "outcome": outcome, "decided_at": START + at, **more})

    store.write(write)


def people_said(store: Store, owner_id: str, status: str) -> None:
    """Write an approval down."""

    def write(tx: Tx) -> None:
        tx.insert(
            ApprovalRow, id=f"apr_{owner_id}", owner_id=owner_id, number=1, principal_id="bot", operation="charge",
            idempotency_key=owner_id, digest="d", policy_hash="h", needs="[]", direction="collect",
            customer_id=customers.ensure(tx, "ana", ids=store.ids, now=START).id, payee="self",
            payee_is_new=False, provider="mock", amount_minor=2000, currency="USD", status=status, created_at=START,
            expires_at=START + timedelta(days=1),
        )  # fmt: skip

    store.write(write)


def read(store: Store, since: datetime | None = None, **more: Any) -> list[Recorded]:
    return store.read(lambda tx: replaying.recorded(tx, since, **more))


def lines(store: Store, source: Any, since: datetime | None = None) -> list[str]:
    return [str(line) for line in compare_decisions(read(store, since), load_mapping(source)).lines]


def test_a_request_is_read_as_it_was(store: Store) -> None:
    asked(store, method="card", plan="pro", operation="subscribe", period="monthly", term=12, owner_id="pay_1")
    asked(store, "deny", at=timedelta(hours=1), payee="paypal:ana@example.com", direction="send", violations=HALTED)
    asked(store, at=timedelta(hours=2), operation="record_usage", quantity=7, cost_nanos=1_500_000, amount_minor=None,
          provider=None, customer="ben")  # fmt: skip
    asked(store, at=timedelta(hours=3), operation="refund", own_charge=False, look_alike="pay_0")
    first, denied, usage, refund = read(store)
    one = first.request
    assert (one.tool, one.operation, one.agent, one.customer, one.provider) == (
        "subscribe", "subscribe", "bot", "ana", "mock",
    )  # fmt: skip
    assert (one.money, one.plan, one.period, one.term, one.method) == (
        Money("20.00", "USD"),
        "pro",
        "monthly",
        12,
        "card",
    )
    assert one.customer_ref is not None and one.customer_ref.startswith("cus_")
    assert (first.at, first.outcome, first.approved, first.state.halts) == (START, "allow", False, ())
    assert denied.request.payee == Payee.parse("paypal:ana@example.com") and denied.request.direction == "send"
    assert [halt.scope for halt in denied.state.halts] == ["agent:bot"]
    assert (usage.request.quantity, usage.request.cost, usage.request.money) == (7, Price("0.0015", "USD"), None)
    assert usage.request.customer == "ben"
    assert (refund.request.own_charge, refund.state.look_alike) == (False, "pay_0")


def test_what_was_decided_again_is_one_request(store: Store) -> None:
    """Parked, approved, run: the gate decided twice about one payment."""
    for owner, status, then in (
        ("pay_ran", "consumed", "allow"), ("pay_no", "denied", None), ("pay_late", "expired", None),
        ("pay_yes", "approved", None), ("pay_stopped", "approved", "deny"),
    ):  # fmt: skip
        asked(store, "approve", owner_id=owner)
        if then:
            asked(store, then, at=timedelta(minutes=9), owner_id=owner)
        people_said(store, owner, status)
    asked(store, "deny", at=timedelta(minutes=1))
    asked(store, "deny", at=timedelta(minutes=2))
    found = read(store)
    assert [(one.outcome, one.approved) for one in found] == [
        ("approve", True), ("approve", False), ("approve", False), ("approve", True), ("approve", False),
        ("deny", False), ("deny", False),
    ]  # fmt: skip
    assert {one.at for one in found[:5]} == {START}


def test_a_tighter_policy_is_told_in_money(store: Store) -> None:
    for hour, outcome in enumerate(["allow", "allow", "allow", "deny"]):
        asked(store, outcome, at=timedelta(hours=hour), owner_id=None if outcome == "deny" else f"pay_{hour}")
    asked(store, "deny", at=timedelta(hours=5), currency="EUR")
    tight = policy({"bot": capped("50.00 USD")})
    assert lines(store, tight) == ["allow → deny: 1, 20.00 USD"]
    parks = policy({"bot": asking("15.00 USD")}, approvers=PEOPLE)
    assert lines(store, parks) == ["allow → approve: 3, 60.00 USD", "deny → approve: 1, 20.00 USD"]
    assert lines(store, policy()) == ["deny → allow: 1, 20.00 USD"]
    assert lines(store, parks, START + timedelta(hours=2)) == [
        "allow → approve: 1, 20.00 USD", "deny → approve: 1, 20.00 USD",
    ]  # fmt: skip


def test_a_customer_who_is_not_known_is_a_new_one(store: Store) -> None:
    for number in range(3):
        asked(store, "deny", at=timedelta(hours=number), customer_id=None)
    each = policy({"bot": capped("20.00 USD", per="customer")})
    assert lines(store, each) == ["deny → allow: 3, 60.00 USD"]


def test_what_was_halted_stays_denied(store: Store) -> None:
    asked(store, "deny", violations=HALTED)
    asked(store, "deny", violations='[{"code": "LIMIT_EXCEEDED", "message": "HALTED"}]')
    assert lines(store, policy()) == ["deny → allow: 1, 20.00 USD"]


def test_it_is_bounded_and_needs_a_moment_with_its_zone(store: Store) -> None:
    for number in range(4):
        asked(store, at=timedelta(hours=number))
    assert len(read(store, most=4)) == 4
    with pytest.raises(ValidationError, match="more than 3") as caught:
        read(store, most=3)
    assert "--since" in caught.value.next_step
    assert len(read(store, START + timedelta(hours=1), most=3)) == 3
    with pytest.raises(ValidationError, match="no time zone"):
        read(store, datetime(2026, 1, 1))  # noqa: DTZ001
    assert read(store, datetime(2030, 1, 1, tzinfo=UTC)) == []


def test_what_the_gate_wrote_down_is_replayed(make_bench: MakeBench) -> None:
    """Allowed, denied, parked and run, parked and refused: each once, and the same policy moves nothing."""
    asks = policy({"bot": {**asking("25.00 USD"), **capped("100.00 USD")}}, approvers=PEOPLE)
    bench = make_bench(policy=asks)
    bench.enrol("alice")

    def charge(amount: str, key: str) -> Any:
        return bench.bot.charge("ana", amount, "USD", description="x", idempotency_key=key)

    charge("20.00", "small")
    assert code_of(lambda: charge("200.00", "large")) == "POLICY_DENIED"
    ran, refused = charge("30.00", "ran"), charge("40.00", "refused")
    bench.approve(ran.approval_id)
    assert charge("30.00", "ran").status == "succeeded"
    bench.manager.deny(str(refused.approval_id), approver="alice", secret=SECRET)
    charge("10.00", "last")
    same = bench.manager.backtest(asks)
    assert (same.replayed, same.lines) == (5, ())
    tight = policy({"bot": capped("55.00 USD")})
    assert [str(line) for line in bench.manager.backtest(tight).lines] == [
        "allow → deny: 1, 10.00 USD", "approve → allow: 1, 30.00 USD", "approve → deny: 1, 40.00 USD",
    ]  # fmt: skip
    bench.later(hours=1)
    assert bench.manager.backtest(tight, timedelta(minutes=5)).replayed == 0
    assert code_of(lambda: bench.manager.backtest({"version": 2})) == "POLICY_INVALID"
