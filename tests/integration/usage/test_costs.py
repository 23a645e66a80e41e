"""What usage costs: metered below a cent, from credits first, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentpay.errors import CreditsExhausted, MoneyError, UsageLimitExceeded
from agentpay.ledger.service import balance
from agentpay.plans.models import Feature
from agentpay.usage.service import UsageTracker
from integration.usage.shop import Shop, minor_nanos


def metered(shop: Shop, price: str = "0.0015", **fields: Any) -> None:
    shop.plan("meter", "pay_per_use", price_per_request=price, **fields)
    shop.activate(shop.begin("meter"), None)


def test_pay_per_use_needs_a_subscription_or_to_be_the_default(shop: Shop) -> None:
    shop.plan("meter", "pay_per_use", price_per_request="0.01")
    assert shop.check().reason == "no_plan"
    shop.default_plan = "meter"
    assert shop.check().reason == "metered"
    assert shop.use().cost == Decimal("0.01")


def test_each_event_is_priced_exactly_below_a_cent(shop: Shop) -> None:
    metered(shop, "0.000000001")
    made = shop.use(quantity=3)
    assert (made.cost, made.currency, made.plan, made.remaining) == (Decimal("0.000000003"), "USD", "meter", None)
    assert shop.unbilled() == 3
    assert str(shop.usage.get("ana").unbilled[0]) == "0.000000003 USD"


def test_the_free_part_comes_first_and_for_life(shop: Shop) -> None:
    metered(shop, "0.01", free_requests=2)
    made = shop.use(quantity=5)
    assert made.cost == Decimal("0.03")


def test_a_limit_stops_what_is_metered_too(shop: Shop) -> None:
    metered(shop, features=[Feature("api", 2)])
    shop.use(quantity=2)
    with pytest.raises(UsageLimitExceeded):
        shop.use()


def test_beyond_its_included_part_a_subscription_may_be_metered(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=3, price_per_request="0.01")
    shop.subscribe("pro")
    assert shop.use(quantity=3).cost is None
    assert shop.check().reason == "metered"
    assert shop.use(quantity=2).cost == Decimal("0.02")


def test_beyond_the_free_part_a_freemium_plan_bills_only_who_subscribed(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2, price_per_request="0.01")
    shop.use(quantity=2)
    assert shop.check().reason == "limit_reached"
    with pytest.raises(UsageLimitExceeded):
        shop.use()
    shop.activate(shop.begin("free"), None)
    assert shop.check().reason == "metered"
    assert shop.use().cost == Decimal("0.01")
    assert shop.unbilled() == minor_nanos(1)


def test_credits_are_drawn_first_and_the_rest_is_unbilled(shop: Shop) -> None:
    metered(shop, "0.30")
    shop.grant("1.00")
    for _ in range(4):
        shop.use()
    assert shop.credits() == (0, 0)
    assert shop.unbilled() == minor_nanos(20)


def test_below_a_cent_credits_are_carried_and_posted_in_whole_cents(shop: Shop) -> None:
    metered(shop, "0.004")
    shop.grant("0.02")
    seen = []
    for _ in range(6):
        shop.use()
        seen.append((*shop.credits(), shop.unbilled()))
    unit = minor_nanos(1) // 10
    assert seen == [
        (2, 4 * unit, 0),
        (2, 8 * unit, 0),
        (1, 2 * unit, 0),
        (1, 6 * unit, 0),
        (0, 0, 0),
        (0, 0, 4 * unit),  # nothing is left: the sixth is for the bill
    ]


def test_what_is_drawn_is_revenue(shop: Shop) -> None:
    metered(shop, "0.50")
    shop.grant("2.00")
    shop.use(quantity=3)
    # giving 2.00 away lowered the revenue, using 1.50 of it raised it: a credit is negative
    assert shop.store.read(lambda tx: balance(tx, "revenue", "USD")) == 200 - 150


def test_a_prepaid_feature_needs_credits_for_its_whole_price(shop: Shop) -> None:
    shop.plan("studio", features=[Feature("image", price="0.04")])
    shop.subscribe("studio")
    assert (shop.check("image").allowed, shop.check("image").reason) == (False, "credits_exhausted")
    with pytest.raises(CreditsExhausted):
        shop.use("image")
    shop.grant("0.10")
    access = shop.check("image", 2)
    assert (access.allowed, access.reason, access.plan, access.unlimited) == (True, "credits", "studio", False)
    assert not shop.check("image", 3)
    with pytest.raises(CreditsExhausted):
        shop.use("image", 3)
    assert shop.use("image", 2).cost == Decimal("0.08")
    with pytest.raises(CreditsExhausted):
        shop.use("image")
    assert (shop.credits(), shop.unbilled()) == ((2, 0), 0)


def test_credits_of_another_currency_pay_nothing(shop: Shop) -> None:
    shop.plan("studio", currency="EUR", features=[Feature("image", price="0.04")])
    shop.subscribe("studio")
    shop.grant("5.00", "USD")
    assert shop.check("image").reason == "credits_exhausted"
    shop.grant("5.00", "EUR")
    assert shop.use("image").currency == "EUR"
    assert shop.credits("USD") == (500, 0)


def test_what_credits_do_not_reach_is_metered_where_a_plan_says_so(shop: Shop) -> None:
    shop.plan("studio", features=[Feature("image", price="0.04")])
    shop.plan("meter", "pay_per_use", price_per_request="0.05", features=["image"], group="meter")
    shop.subscribe("studio")
    shop.activate(shop.begin("meter"), None)
    shop.grant("0.05")
    assert shop.use("image", 2).cost == Decimal("0.09")
    # 0.04 in advance; of the 0.05 afterwards one cent was there still
    assert (shop.credits(), shop.unbilled()) == ((0, 0), minor_nanos(4))


def test_a_cost_of_ones_own_replaces_the_computed_price(shop: Shop) -> None:
    metered(shop, "0.01")
    assert shop.use(quantity=5, cost="0.002").cost == Decimal("0.002")
    assert shop.use(cost=0).cost == Decimal(0)
    assert shop.unbilled() == 2_000_000


def test_a_cost_of_ones_own_is_unbilled_on_what_is_included_too(shop: Shop) -> None:
    shop.plan("pro", currency="EUR", requests_per_period=5)
    shop.subscribe("pro")
    made = shop.use(cost="0.01")
    assert (made.cost, made.currency, made.remaining) == (Decimal("0.01"), "EUR", 4)  # in the plan's currency
    assert shop.use(cost="0.02", currency="USD").currency == "USD"
    assert shop.use("unheard of", cost="0.03").currency == "USD"
    assert (shop.unbilled("EUR"), shop.unbilled("USD")) == (minor_nanos(1), minor_nanos(5))


def test_a_cost_of_ones_own_is_drawn_from_credits_first(shop: Shop) -> None:
    shop.grant("0.02")
    shop.use("unheard of", cost="0.05")
    assert (shop.credits(), shop.unbilled()) == ((0, 0), minor_nanos(3))


def test_a_cost_of_ones_own_on_a_prepaid_feature_is_prepaid(shop: Shop) -> None:
    shop.plan("studio", features=[Feature("image", price="0.04")])
    shop.subscribe("studio")
    shop.grant("0.10")
    with pytest.raises(CreditsExhausted):
        shop.use("image", cost="0.11")
    assert shop.use("image", cost="0.10").cost == Decimal("0.10")


@pytest.mark.parametrize("cost", ["-1", "NaN", "1e400", "1,000", True, "0.0000000001"])
def test_what_is_no_cost_is_refused(shop: Shop, cost: Any) -> None:
    with pytest.raises(MoneyError):
        shop.use(cost=cost)


def test_what_is_no_currency_is_refused(shop: Shop) -> None:
    with pytest.raises(MoneyError):
        shop.use(currency="ZZZ")
    with pytest.raises(MoneyError):
        shop.use(cost="0.01", currency="usd")


def test_a_cost_too_large_to_be_money_is_refused(shop: Shop) -> None:
    metered(shop, "1000")
    with pytest.raises(MoneyError):
        shop.use(quantity=10**15)
    assert shop.unbilled() == 0


def test_in_yen_credits_have_no_decimals_and_prices_do(shop: Shop) -> None:
    shop.plan("meter", "pay_per_use", currency="JPY", price_per_request="0.4")
    shop.activate(shop.begin("meter"), None)
    shop.grant("1", "JPY")
    for _ in range(3):
        shop.use()
    assert (shop.credits("JPY"), shop.unbilled("JPY")) == ((0, 0), 200_000_000)


def test_the_tracker_is_what_the_manager_shows(shop: Shop) -> None:
    assert isinstance(shop.usage, UsageTracker)
    assert shop.usage.default_plan is None
