"""Reservations: held, then committed or released; over in time."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agentpay.audit import queries as audit
from agentpay.clock import FixedClock
from agentpay.errors import (
    CreditsExhausted,
    IdempotencyConflict,
    NotFound,
    ReservationClosed,
    UsageLimitExceeded,
    ValidationError,
)
from agentpay.plans.models import Feature
from agentpay.storage import Store
from agentpay.usage.service import Reservation
from integration.usage.shop import Shop, minor_nanos


@pytest.fixture
def five(shop: Shop) -> Shop:
    """Five units of `api`."""
    shop.plan("pro", requests_per_period=5)
    shop.subscribe("pro")
    return shop


def reserve(shop: Shop, quantity: int = 1, feature: str = "api", key: str | None = None, **more: Any) -> Reservation:
    return shop.usage.reserve("ana", feature, quantity, idempotency_key=key or shop.ids.new("key"), **more)


def test_what_is_held_nobody_else_gets(five: Shop) -> None:
    held = reserve(five, 4)
    assert (held.state, held.quantity, held.replayed) == ("open", 4, False)
    assert (five.check().used, five.check().remaining) == (0, 1)
    with pytest.raises(UsageLimitExceeded):
        five.use(quantity=2)
    with pytest.raises(UsageLimitExceeded):
        reserve(five, 2)
    five.use()
    assert held.commit().remaining == 0
    assert five.check().used == 5


def test_less_may_be_committed_and_never_more(five: Shop) -> None:
    held = reserve(five, 4)
    for wrong in (5, 0, -1):
        with pytest.raises(ValidationError):
            held.commit(wrong)
    made = held.commit(1)
    assert (made.quantity, made.remaining) == (1, 4)


def test_committing_is_once(five: Shop) -> None:
    held = reserve(five, 3)
    first = held.commit(2)
    again = held.commit(2)
    assert (again.id, again.replayed) == (first.id, True)
    for other in (None, 1):
        with pytest.raises(ReservationClosed):
            held.commit(other)
    with pytest.raises(ReservationClosed):
        held.release()
    assert five.check().used == 2


def test_releasing_gives_back_once(five: Shop) -> None:
    held = reserve(five, 5)
    held.release()
    held.release()
    assert five.check().remaining == 5
    with pytest.raises(ReservationClosed):
        held.commit()


def test_when_its_time_is_over_it_is_refused_and_its_part_is_free(five: Shop, clock: FixedClock, store: Store) -> None:
    held = reserve(five, 5, expires_in=timedelta(minutes=1))
    assert not five.check()
    clock.advance(timedelta(minutes=1))
    assert five.check().remaining == 5  # though nothing was written yet
    with pytest.raises(ReservationClosed):
        held.commit()
    five.use(quantity=5)  # the next write frees it
    with pytest.raises(ReservationClosed):
        held.commit()
    held.release()
    assert five.check().used == 5
    actions = [row.action for row in store.read(lambda tx: audit.history(tx, held.id))]
    assert actions == ["usage.reserved", "usage.reservation_expired"]


def test_a_commit_counts_in_the_window_in_which_it_was_reserved(five: Shop, clock: FixedClock) -> None:
    held = reserve(five, 5, expires_in=timedelta(days=7))
    clock.advance(timedelta(days=6))
    held.commit(3)
    assert five.check().used == 3


def test_the_same_key_finds_the_same_reservation(five: Shop) -> None:
    held = reserve(five, 3, key="k")
    again = reserve(five, 3, key="k")
    assert (again.id, again.state, again.replayed) == (held.id, "open", True)
    again.commit()
    assert reserve(five, 3, key="k").state == "committed"
    assert five.check().used == 3
    with pytest.raises(IdempotencyConflict):
        reserve(five, 2, key="k")


def test_the_same_key_holds_anew_what_was_released_or_has_expired(five: Shop, clock: FixedClock) -> None:
    first = reserve(five, 3, key="k")
    first.release()
    second = reserve(five, 3, key="k")
    assert (second.id, second.state, second.replayed) == (first.id, "open", False)
    clock.advance(timedelta(minutes=15))
    third = reserve(five, 3, key="k")
    assert five.check().remaining == 2
    third.commit()
    assert five.check().used == 3


def test_what_is_not_left_is_not_held_anew(five: Shop) -> None:
    reserve(five, 3, key="k").release()
    five.use(quantity=3)
    with pytest.raises(UsageLimitExceeded):
        reserve(five, 3, key="k")


def test_credits_are_held_with_the_units(shop: Shop, clock: FixedClock) -> None:
    shop.plan("studio", features=[Feature("image", price="0.04")])
    shop.subscribe("studio")
    shop.grant("0.10")
    held = reserve(shop, 2, "image")
    assert shop.check("image").reason == "credits_exhausted"
    with pytest.raises(CreditsExhausted):
        shop.use("image")
    assert held.commit(1).cost == Decimal("0.04")
    assert (shop.credits(), shop.unbilled()) == ((6, 0), 0)
    reserve(shop, 1, "image").release()
    reserve(shop, 1, "image", expires_in=timedelta(seconds=1))
    assert not shop.check("image")
    clock.advance(timedelta(seconds=1))
    assert shop.check("image")
    shop.use("image")
    assert shop.credits() == (2, 0)


def test_a_split_reservation_is_used_in_its_order(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    shop.plan("meter", "pay_per_use", price_per_request="0.01")
    shop.activate(shop.begin("meter"), None)
    held = reserve(shop, 5)
    made = held.commit(3)
    assert (made.quantity, made.cost, made.plan) == (3, Decimal("0.01"), "meter")
    assert shop.unbilled() == minor_nanos(1)


def test_what_no_plan_names_can_be_reserved(shop: Shop) -> None:
    assert reserve(shop, 2, "unheard of").commit().plan is None


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=8), 60])
def test_its_life_is_bounded(shop: Shop, life: Any) -> None:
    with pytest.raises(ValidationError):
        reserve(shop, expires_in=life)


def test_there_is_no_other_reservation(shop: Shop) -> None:
    with pytest.raises(NotFound):
        shop.usage.commit("res_none")
    with pytest.raises(NotFound):
        shop.usage.release("res_none")
