"""The answers of an access check: the words, the numbers, and what to do next."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import ValidationError
from agentpay.plans.models import Feature
from integration.usage.shop import Shop, utc


def test_nothing_has_it(shop: Shop) -> None:
    access = shop.check()
    assert (bool(access), access.reason, access.plan) == (False, "unknown_feature", None)
    assert access.next_step


def test_a_plan_that_the_customer_lacks(shop: Shop) -> None:
    shop.plan("pro")
    assert (shop.check().reason, shop.check().next_step.startswith("Offer")) == ("no_plan", True)


def test_included(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=10)
    shop.subscribe("pro")
    shop.use(quantity=4)
    access = shop.check()
    assert access
    assert (access.reason, access.plan, access.used, access.limit, access.remaining, access.unlimited) == (
        "included",
        "pro",
        4,
        10,
        6,
        False,
    )
    assert (access.resets_at, access.next_step) == (utc(2026, 2, 28), "")


def test_the_limit_is_reached(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=2)
    shop.subscribe("pro")
    shop.use(quantity=2)
    access = shop.check()
    assert (access.allowed, access.reason, access.plan, access.remaining) == (False, "limit_reached", "pro", 0)
    assert access.resets_at == utc(2026, 2, 28)


def test_a_quantity_is_asked_for_as_a_whole(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=2)
    shop.subscribe("pro")
    assert shop.check(quantity=2)
    assert shop.check(quantity=3).reason == "limit_reached"


def test_free(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    assert (shop.check().reason, shop.check().plan) == ("free", "free")


def test_the_reason_is_that_of_the_last_unit(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2, price_per_request="0.01")
    shop.activate(shop.begin("free"), None)
    assert shop.check(quantity=2).reason == "free"
    assert shop.check(quantity=3).reason == "metered"


def test_credits(shop: Shop) -> None:
    shop.plan("studio", features=[Feature("api", price="1")])
    shop.subscribe("studio")
    assert shop.check().reason == "credits_exhausted"
    shop.grant("1.00")
    assert shop.check().reason == "credits"


def test_checking_is_what_recording_does(shop: Shop) -> None:
    """Whatever access says, recording does: allowed is recorded, and refused is refused."""
    shop.plan("free", "freemium", free_requests=3)
    shop.plan("studio", features=[Feature("api", 2, "0.04")])
    shop.subscribe("studio")
    shop.grant("0.05")
    for quantity in (5, 4, 3, 1, 1):
        allowed = shop.check(quantity=quantity).allowed
        try:
            shop.use(quantity=quantity)
        except Exception:
            assert not allowed
        else:
            assert allowed


def test_a_reservation_that_is_over_bars_nobody(shop: Shop, clock: FixedClock) -> None:
    shop.plan("free", "freemium", free_requests=3)
    shop.usage.reserve("ana", "api", 3, idempotency_key="k")
    assert not shop.check()
    clock.advance(timedelta(minutes=15))
    assert shop.check()


@pytest.mark.parametrize("wrong", [("", "api", 1), ("ana", "", 1), ("ana", "*", 1), ("ana", "api", 0)])
def test_what_is_no_argument_is_refused(shop: Shop, wrong: tuple[str, str, int]) -> None:
    with pytest.raises(ValidationError):
        shop.access.check(*wrong)


def test_a_check_takes_few_statements(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=3)
    shop.plan("pro", requests_per_period=10)
    shop.subscribe("pro")
    shop.use()
    statements: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(shop.store.engine, "before_cursor_execute", note)
    shop.check()
    sa.event.remove(shop.store.engine, "before_cursor_execute", note)
    assert len([text for text in statements if text.startswith("SELECT")]) <= 6, statements
