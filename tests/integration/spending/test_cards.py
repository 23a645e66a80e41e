"""The card: everything that a person needs to decide, by the counters that decide, and nothing that hides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentpay.spending.cards import Card
from support.bench import PEOPLE, SECRET, Bench, asking, code_of, policy
from support.bench_fixtures import MakeBench

WINDOW = {"rolling": "24h"}
HOSTILE = "ok\u202e ev\u200bil\n\x1b[1A [bold]"
POLICY = policy(
    {
        "bot": {
            "budget": "team",
            "payees": {"allow": ["self", "paypal:ana@example.com"], "new": "approve"},
            "charge": {
                "directions": ["collect", "send"],
                "limits": [
                    {"id": "day", "amount": "150.00 USD", "window": WINDOW},
                    {"id": "few", "count": 9, "window": WINDOW},
                ],
            },
            "refund": {"allow": "own_charges", "limits": [{"id": "backs", "count": 3, "window": WINDOW}]},
            "approvals": [
                *asking("25.00 USD", quorum=2)["approvals"],
                {"id": "stranger", "when": {"payee": "new"}, "approvers": "bosses", "expires": "2h"},
                {"id": "back", "when": {"operation": ["refund"]}, "approvers": "bosses"},
            ],
        },
        "other": {"budget": "team"},
    },
    approvers={**PEOPLE, "bosses": {"members": ["dora"]}},
    budgets={"team": {"limits": [{"id": "pot", "amount": "300.00 USD", "window": WINDOW}]}},
)


@pytest.fixture
def desk(make_bench: MakeBench) -> Bench:
    """An engine whose agent spent 20 and collected, sent 7, and shares a pot of which another agent took 40."""
    bench = make_bench(policy=POLICY)
    bench.enrol("alice", "bob", "dora")
    pay(bench, "20.00", "k1")
    pay(bench, "7.00", "k2", payee="paypal:ana@example.com")
    bench.manager.for_agent("other").charge("ana", "40.00", "USD", description="x", idempotency_key="k")
    return bench


def pay(bench: Bench, amount: str, key: str, **more: Any) -> Any:
    return bench.bot.charge("ana", amount, "USD", description=more.pop("description", "x"), idempotency_key=key, **more)


def card_of(bench: Bench, approval_id: str | None) -> Card:
    return bench.manager.approval_card(str(approval_id))


def figures(card: Card) -> dict[str, tuple[str, str, str, str]]:
    return {one.rule.rpartition(".")[2]: (one.used, one.held, one.remaining, one.asked) for one in card.limits}


def test_it_says_what_for_whom_to_whom_and_why(desk: Bench) -> None:
    parked = pay(desk, "30.00", "k3", payee="stripe:acct_1New", description=HOSTILE)
    card = card_of(desk, parked.approval_id)
    assert (card.operation, card.direction, card.agent, card.customer) == ("charge", "collect", "bot", "ana")
    assert (card.payee, card.payee_is_new, str(card.amount), card.currency) == (
        "stripe:acct_1New", True, "30.00", "USD",
    )  # fmt: skip
    assert (card.provider, card.account, card.mode, card.payment_id) == ("mock", "mock", "test", parked.id)
    assert [(one.rule, one.members, one.quorum, one.approved_by) for one in card.asked_by] == [
        ("big", ("alice", "bob", "carol"), 2, ()),
        ("stranger", ("dora",), 1, ()),
    ]
    assert card.asked_by[0].sentence.startswith("2 of alice, bob and carol must approve within 30m when")
    assert (card.votes, card.needed, card.status, card.policy_changed) == (0, 2, "pending", False)
    assert card.expires_at == parked.expires_at
    assert card.description == r"ok\u202e ev\u200bil\n\x1b[1A [bold]"
    text = json.dumps(card.as_data())
    assert json.loads(text)["description"] == card.description
    assert json.loads(text)["limits"][0]["remaining"] == "130.00 USD"
    assert json.loads(text)["today"]["collected"] == {"amount": "20.00", "currency": "USD"}


def test_it_says_what_was_spent_and_is_left_without_itself(desk: Bench) -> None:
    first = pay(desk, "30.00", "k3")
    assert figures(card_of(desk, first.approval_id)) == {
        "day": ("20.00 USD", "0.00 USD", "130.00 USD", "30.00 USD"),
        "few": ("1", "0", "8", "1"),
        "pot": ("60.00 USD", "0.00 USD", "240.00 USD", "30.00 USD"),
    }
    second = pay(desk, "45.00", "k4")
    card = card_of(desk, second.approval_id)
    assert figures(card)["day"] == ("20.00 USD", "30.00 USD", "100.00 USD", "45.00 USD")
    assert [str(one) for one in (card.today.collected, card.today.sent, card.today.waiting)] == [
        "20.00 USD", "7.00 USD", "30.00 USD",
    ]  # fmt: skip
    assert figures(card_of(desk, first.approval_id))["day"] == ("20.00 USD", "45.00 USD", "85.00 USD", "30.00 USD")
    out = card_of(desk, pay(desk, "26.00", "k5", payee="paypal:ana@example.com").approval_id)
    assert (out.direction, figures(out)["day"]) == ("send", ("7.00 USD", "0.00 USD", "143.00 USD", "26.00 USD"))
    desk.later(hours=15)
    card = card_of(desk, pay(desk, "30.00", "k6").approval_id)
    assert str(card.today.collected) == "0.00 USD" and figures(card)["day"][0] == "20.00 USD"


def test_votes_and_a_new_policy_stand_on_it(desk: Bench) -> None:
    parked = pay(desk, "30.00", "k3")
    desk.approve(parked.approval_id, "bob")
    card = card_of(desk, parked.approval_id)
    assert (card.votes, card.asked_by[0].approved_by, card.status) == (1, ("bob",), "pending")
    tighter = policy({"bot": {**POLICY["agents"]["bot"], "approvals": None, "payees": {"allow": ["self"]}}},
                     budgets=POLICY["budgets"])  # fmt: skip
    desk.manager.apply_policy(tighter)
    card = card_of(desk, parked.approval_id)
    assert card.policy_changed and card.asked_by[0].sentence == "" and card.asked_by[0].members
    desk.manager.deny(str(parked.approval_id), approver="alice", secret=SECRET)
    card = card_of(desk, parked.approval_id)
    assert (card.status, figures(card)["day"][1:3]) == ("denied", ("0.00 USD", "130.00 USD"))


def test_a_refund_has_a_card_too(desk: Bench) -> None:
    paid = pay(desk, "9.00", "k3")
    refund = desk.bot.refund(paid.id, "4.00", reason="late\u200b", idempotency_key="r")
    card = card_of(desk, refund.approval_id)
    assert (card.operation, card.refund_of, card.payment_id, str(card.amount)) == ("refund", paid.id, refund.id, "4.00")
    assert (card.description, figures(card)) == (r"late\u200b", {"backs": ("0", "0", "3", "1")})

    assert code_of(lambda: card_of(desk, "apr_none")) == "NOT_FOUND"
