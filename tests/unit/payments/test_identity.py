"""What must be the same for ever: the digest of an effect, the hash of a body, the key of an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from agentpay.ids import RandomIds
from agentpay.manager.agent import charge_ask, plain, refund_ask
from agentpay.payments.asks import effect_digest
from agentpay.payments.attempts import Attempts
from agentpay.principal import agent
from agentpay.storage.keys import body_hash
from agentpay_policies.money import parse_decimal
from support.scripted import ScriptedProvider

FACTS: dict[str, Any] = {
    "principal_kind": "agent", "principal_id": "bot", "operation": "charge", "direction": "collect",
    "customer_id": "cus_1", "payee": "self", "method": None, "amount_minor": 500, "currency": "USD", "plan": None,
}  # fmt: skip
OTHERS: dict[str, Any] = {
    "principal_id": "two", "operation": "subscribe", "direction": "send", "customer_id": "cus_2",
    "payee": "stripe:acct_1A2b3C", "method": "card", "amount_minor": 501, "currency": "JPY", "plan": "pro@1",
    "payment_id": "pay_1",
}  # fmt: skip


def test_the_digest_of_an_effect_is_a_golden_value() -> None:
    """An approval given before an upgrade is good after it."""
    first = effect_digest(FACTS, ScriptedProvider())
    assert first == effect_digest(dict(reversed(FACTS.items())), ScriptedProvider())
    assert len(first) == 64 and int(first, 16)


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_changes_the_effect_changes_its_digest(name: str) -> None:
    first = effect_digest(FACTS, ScriptedProvider())
    assert effect_digest({**FACTS, name: OTHERS[name]}, ScriptedProvider()) != first


@pytest.mark.parametrize("provider", [
    ScriptedProvider(name="other"), ScriptedProvider(account="other"), ScriptedProvider(mode="live"),
])  # fmt: skip
def test_the_digest_binds_provider_account_and_mode(provider: ScriptedProvider) -> None:
    assert effect_digest(FACTS, provider) != effect_digest(FACTS, ScriptedProvider())


def ask(**changes: Any) -> str:
    given: dict[str, Any] = {
        "description": "x", "key": "k", "payee": "self", "provider": None, "method": None, "distinct_from": None,
        "customer": "ana", "amount": "5.00", "currency": "USD", **changes,
    }  # fmt: skip
    made = charge_ask(agent("bot"), given.pop("customer"), given.pop("amount"), given.pop("currency"), **given)
    return body_hash("charge", made.body)


def test_equal_amounts_are_one_body_and_distinct_from_is_no_part_of_it() -> None:
    assert ask() == ask(amount="5") == ask(amount="5.0") == ask(distinct_from="pay_1") == ask(key="other")
    assert len({ask(), ask(amount="5.01"), ask(customer="ben"), ask(description="y"), ask(currency="EUR")}) == 5


@pytest.mark.parametrize(("one", "other"), [("2", "2.00"), ("100", "100.0"), ("0.10", "0.1"), ("1000", "1000")])
def test_plain_is_one_text_for_equal_numbers(one: str, other: str) -> None:
    assert plain(parse_decimal(one)) == plain(parse_decimal(other))
    assert "E" not in plain(parse_decimal(one))


def test_a_refund_of_all_that_is_left_is_another_body_than_of_an_amount() -> None:
    def body(amount: str | None) -> str:
        return body_hash("refund", refund_ask(agent("bot"), "pay_1", amount, reason="r", key="k").body)

    assert body(None) != body("5.00") == body("5")


@pytest.fixture
def attempts() -> Iterator[Attempts]:
    yield Attempts(RandomIds(), "inst_1", "secret", lambda: 0.0)


def subject(**changes: Any) -> Any:
    return SimpleNamespace(**{"principal_kind": "agent", "principal_id": "bot", "idempotency_key": "k", **changes})


def test_an_attempts_key_is_derived_so_that_a_restored_database_sends_the_same_one(attempts: Attempts) -> None:
    first = attempts._key(subject(), "charge", 1)
    assert first == replace(attempts, ids=RandomIds())._key(subject(), "charge", 1)
    others = {
        first,
        attempts._key(subject(), "charge", 2),
        attempts._key(subject(), "subscribe", 1),
        attempts._key(subject(principal_id="two"), "charge", 1),
        attempts._key(subject(principal_kind="operator"), "charge", 1),
        attempts._key(subject(idempotency_key="k2"), "charge", 1),
        replace(attempts, installation="inst_2")._key(subject(), "charge", 1),
        replace(attempts, secret="other")._key(subject(), "charge", 1),
    }
    assert len(others) == 8
    assert all(key.startswith("agentpay_") and len(key) == 73 for key in others)


def test_parts_of_a_key_cannot_run_into_each_other(attempts: Attempts) -> None:
    assert attempts._key(subject(principal_id="a", idempotency_key="bc"), "charge", 1) != attempts._key(
        subject(principal_id="ab", idempotency_key="c"), "charge", 1
    )
