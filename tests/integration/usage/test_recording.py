"""Recording is once a key; a refusal uses none; what nobody can see is refused."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.audit import queries as audit
from agentpay.customers import service as customers
from agentpay.errors import IdempotencyConflict, UsageLimitExceeded, ValidationError
from agentpay.principal import agent
from agentpay.storage import Store
from integration.usage.shop import Shop


def test_the_same_key_records_once(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=3)
    shop.subscribe("pro")
    first = shop.usage.record("ana", "api", cost="0.01", idempotency_key="k")
    again = shop.usage.record("ana", "api", cost="0.01", idempotency_key="k")
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.id, again.cost, again.recorded_at) == (first.id, first.cost, first.recorded_at)
    assert shop.use().remaining == 1
    assert shop.usage.record("ana", "api", cost="0.01", idempotency_key="k").remaining == 1  # what is left now


def test_equal_costs_are_the_same_operation(shop: Shop) -> None:
    shop.usage.record("ana", "x", cost="0.10", idempotency_key="k")
    assert shop.usage.record("ana", "x", cost=0.1, idempotency_key="k").replayed


@pytest.mark.parametrize(
    "other",
    [{"customer": "bob"}, {"feature": "y"}, {"quantity": 2}, {"cost": "0.02"}, {"cost": None}, {"currency": "EUR"}],
)
def test_the_same_key_for_something_else_is_a_conflict(shop: Shop, other: dict[str, Any]) -> None:
    body: dict[str, Any] = {"customer": "ana", "feature": "x", "quantity": 1, "cost": "0.01", "currency": "USD"}
    shop.usage.record(**body, idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        shop.usage.record(**{**body, **other}, idempotency_key="k")


def test_keys_are_per_principal(shop: Shop) -> None:
    for who in ("a", "b"):
        shop.usage.record("ana", "x", idempotency_key="k", principal=agent(who))
    assert shop.use("x").quantity == 1
    assert [one.recorded for one in shop.usage.get("ana").features] == [3]


def test_a_refusal_does_not_use_the_key(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=0, features=["api"], price_per_request="0.01")
    with pytest.raises(UsageLimitExceeded):
        shop.usage.record("ana", "api", idempotency_key="k")
    shop.activate(shop.begin("free"), None)
    assert not shop.usage.record("ana", "api", idempotency_key="k").replayed


@pytest.mark.parametrize("customer", ["it's", "a & b", "Robert'); DROP TABLE usage_events;--", "🎈 ана"])
def test_ids_are_opaque(shop: Shop, customer: str) -> None:
    shop.plan("free", "freemium", free_requests=5, features=["a feature's name"])
    made = shop.use("a feature's name", name=customer)
    assert (made.customer, made.remaining) == (customer, 4)
    assert shop.check("a feature's name", name=customer).used == 1
    assert shop.usage.get(customer).customer == customer


@pytest.mark.parametrize(
    "wrong",
    [
        {"customer": ""},
        {"customer": "x" * 10_000},
        {"customer": "a\x00"},
        {"customer": None},
        {"feature": ""},
        {"feature": "*"},
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": True},
        {"quantity": "1"},
        {"quantity": 10**15 + 1},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 201},
    ],
)
def test_what_is_no_argument_is_refused(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        shop.usage.record(**{"customer": "ana", "feature": "x", "idempotency_key": "k", **wrong})


def test_reading_makes_no_customer(shop: Shop, store: Store) -> None:
    shop.plan("free", "freemium", free_requests=5, billing_period="daily")
    access = shop.check(name="nobody")
    assert (access.allowed, access.remaining) == (True, 5)
    usage = shop.usage.get("nobody")
    assert (usage.customer, [one.remaining for one in usage.features], usage.unbilled) == ("nobody", [5], ())
    assert store.read(lambda tx: customers.known(tx, "nobody")) is None


def test_an_event_is_audited_without_names(shop: Shop, store: Store) -> None:
    made = shop.usage.record("ana", "ana's secret", cost="0.01", idempotency_key="k", principal=agent("bot"))
    (row,) = store.read(lambda tx: audit.history(tx, made.id))
    assert (row.action, row.principal) == ("usage.recorded", "agent:bot")
    assert '"cost":"0.01 USD"' in row.body
    assert "ana" not in row.body


def test_all_features_are_reported(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=5, features=["a", "b"])
    shop.plan("pro", features=["c"])
    shop.subscribe("pro")
    shop.use("a", 2)
    shop.use("unheard of")
    usage = shop.usage.get("ana")
    assert {one.feature: (one.recorded, one.used, one.remaining) for one in usage.features} == {
        "a": (2, 2, 3),
        "b": (0, 2, 3),  # it shares the five
        "c": (0, 0, None),
        "unheard of": (1, 1, None),
    }
    assert usage.feature("nothing") is None


def test_what_was_recorded_can_be_bounded_in_time(shop: Shop, clock: Any) -> None:
    from datetime import timedelta

    begin = clock.now()
    for _ in range(3):
        shop.use("x")
        clock.advance(timedelta(hours=1))
    shown = shop.usage.get("ana", "x", since=begin + timedelta(hours=1), until=begin + timedelta(hours=2)).feature("x")
    assert shown is not None
    assert shown.recorded == 1
