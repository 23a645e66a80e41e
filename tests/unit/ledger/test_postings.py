"""One posting table per event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.ledger import postings
from agentpay.ledger.postings import (
    Entry,
    charge_captured,
    constrained,
    credits_granted,
    credits_used,
    refunded,
    reversal,
    taken_back,
)
from agentpay_policies.names import Direction

ADDRESS = "eip155:1:0x52908400098527886E0F7030069857D2E4169EE7"
CONNECTED = "stripe:acct_1A2b3C"
MERCHANT = "paypal:ABCDEFGH23456"


def sides(entries: Sequence[Entry]) -> dict[str, int]:
    assert {entry.currency for entry in entries} == {"USD"}
    assert sum(entry.amount_minor for entry in entries) == 0
    return {entry.account: entry.amount_minor for entry in entries}


@pytest.mark.parametrize(
    ("direction", "payee", "expected"),
    [
        ("collect", "self", {"clearing:mock": 500, "revenue": -500}),
        ("collect", CONNECTED, {"clearing:mock": 500, f"connected:{CONNECTED}": -500}),
        ("collect", MERCHANT, {"clearing:mock": 500, f"connected:{MERCHANT}": -500}),
        ("send", ADDRESS, {"payouts": 500, "wallet:eip155:1": -500}),
        ("send", "paypal:ana@example.com", {"payouts": 500, "clearing:mock": -500}),
    ],
)
def test_a_captured_charge(direction: Direction, payee: str, expected: dict[str, int]) -> None:
    made = charge_captured(direction=direction, payee=payee, provider_account="mock", money_minor=500, currency="USD")
    assert sides(made) == expected


@pytest.mark.parametrize(
    ("direction", "payee", "expected"),
    [
        ("collect", "self", {"disputes": 500, "clearing:mock": -500}),
        ("collect", CONNECTED, {"disputes": 500, "clearing:mock": -500}),
        ("send", ADDRESS, {"wallet:eip155:1": 500, "payouts": -500}),
        ("send", "paypal:ana@example.com", {"clearing:mock": 500, "payouts": -500}),
    ],
)
def test_money_that_was_taken_back(direction: Direction, payee: str, expected: dict[str, int]) -> None:
    """A dispute or reversal; won or restored, it is undone entry by entry."""
    made = taken_back(direction=direction, payee=payee, provider_account="mock", money_minor=500, currency="USD")
    assert sides(made) == expected
    assert sides(reversal(made)) == {account: -minor for account, minor in expected.items()}


def test_a_captured_top_up() -> None:
    made = charge_captured(
        direction="collect",
        payee="self",
        provider_account="mock",
        money_minor=500,
        currency="USD",
        purpose="credits",
        customer_id="cus_1",
    )
    assert sides(made) == {"clearing:mock": 500, "customer_credit:cus_1": -500}


@pytest.mark.parametrize(
    ("direction", "payee", "customer"), [("collect", "self", None), ("collect", CONNECTED, "c"), ("send", ADDRESS, "c")]
)
def test_a_top_up_is_of_a_customer_and_for_us(direction: Direction, payee: str, customer: str | None) -> None:
    with pytest.raises(ValueError, match="credits"):
        charge_captured(
            direction=direction,
            payee=payee,
            provider_account="mock",
            money_minor=1,
            currency="USD",
            purpose="credits",
            customer_id=customer,
        )


@pytest.mark.parametrize(
    ("payee", "expected"),
    [
        ("self", {"refunds": 200, "clearing:mock": -200}),
        (CONNECTED, {f"connected:{CONNECTED}": 200, "clearing:mock": -200}),
    ],
)
def test_a_refund(payee: str, expected: dict[str, int]) -> None:
    assert sides(refunded(payee=payee, provider_account="mock", money_minor=200, currency="USD")) == expected


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (0, {"refunds": 200, "clearing:mock": -200}),
        (50, {"customer_credit:cus_1": 50, "refunds": 150, "clearing:mock": -200}),
        (200, {"customer_credit:cus_1": 200, "clearing:mock": -200}),
        (900, {"customer_credit:cus_1": 200, "clearing:mock": -200}),
    ],
)
def test_a_refund_of_a_top_up_takes_back_the_credits_that_are_left(left: int, expected: dict[str, int]) -> None:
    made = refunded(
        payee="self",
        provider_account="mock",
        money_minor=200,
        currency="USD",
        purpose="credits",
        customer_id="cus_1",
        credits_left_minor=left,
    )
    assert sides(made) == expected


@pytest.mark.parametrize(("payee", "customer", "left"), [("self", None, 0), (CONNECTED, "c", 0), ("self", "c", -1)])
def test_a_refund_of_a_top_up_is_to_a_customer_and_by_us(payee: str, customer: str | None, left: int) -> None:
    with pytest.raises(ValueError, match="credits"):
        refunded(
            payee=payee,
            provider_account="mock",
            money_minor=1,
            currency="USD",
            purpose="credits",
            customer_id=customer,
            credits_left_minor=left,
        )


def test_credits_given_and_used_earn_nothing() -> None:
    given_away, used = credits_granted("cus_1", 300, "USD"), credits_used("cus_1", 300, "USD")
    assert sides(given_away) == {"revenue": 300, "customer_credit:cus_1": -300}
    assert sides(used) == {"customer_credit:cus_1": 300, "revenue": -300}
    total = Counter(sides(given_away))
    total.update(sides(used))
    assert set(total.values()) == {0}


@pytest.mark.parametrize("minor", [0, -1])
def test_an_amount_is_more_than_nothing(minor: int) -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        credits_used("cus_1", minor, "USD")
    with pytest.raises(ValueError, match="more than nothing"):
        refunded(
            payee="self",
            provider_account="mock",
            money_minor=minor,
            currency="USD",
            purpose="credits",
            customer_id="cus_1",
        )


@given(minor=st.integers(1, 10**15), left=st.integers(0, 10**15))
def test_a_reversal_undoes(minor: int, left: int) -> None:
    made = refunded(
        payee="self",
        provider_account="mock",
        money_minor=minor,
        currency="USD",
        purpose="credits",
        customer_id="cus_1",
        credits_left_minor=left,
    )
    total = Counter(sides(made))
    total.update(sides(reversal(made)))
    assert set(total.values()) == {0}


def test_constrained_accounts_are_credits_and_wallets() -> None:
    assert constrained(postings.customer_credit("cus_1")) and constrained(postings.wallet(1))
    others = (postings.clearing("mock"), postings.connected(CONNECTED), "revenue", "payouts", "fees", "refunds")
    assert not any(map(constrained, (*others, postings.DISPUTES, postings.UNALLOCATED)))
