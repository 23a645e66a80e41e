"""What a plan accepts, and that its content is what it was."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agentpay.errors import MoneyError, ValidationError
from agentpay.plans.models import BillingPeriod, Feature, PaymentPlan, PaymentType, price_nanos


def plan(**changed: Any) -> PaymentPlan:
    given = {
        "id": "pro",
        "name": "Pro",
        "payment_type": PaymentType.SUBSCRIPTION,
        "price": "10.00",
        "billing_period": BillingPeriod.MONTHLY,
        "features": ["premium_api"],
    }
    return PaymentPlan(**{**given, **changed})


def test_a_plan_reads_back_as_it_was_given() -> None:
    made = plan(price=10, features=["a", Feature("b", limit=3), Feature("c", price="0.002")])
    assert (made.price, str(made.price), made.currency, made.group, made.version) == (
        Decimal(10),
        "10.00",
        "USD",
        "default",
        0,
    )
    assert made.feature("b") == Feature("b", 3)
    assert made.feature("d") is None
    assert price_nanos(made.features[2], "USD") == 2_000_000
    assert PaymentPlan.from_content(made.content(), version=4) == made
    assert PaymentPlan.from_content(made.content(), version=4).version == 4


@pytest.mark.parametrize(("given", "same"), [(5.99, "5.99"), (10, "10.00"), (Decimal("1.5"), "1.50")])
def test_the_price_follows_the_rules_of_money(given: object, same: str) -> None:
    assert str(plan(price=given).price) == same


def test_the_price_for_a_request_goes_below_a_cent() -> None:
    made = plan(payment_type="pay_per_use", price=0, price_per_request="0.000000001")
    assert made.request_nanos == 1
    assert made.content()["price_per_request"] == "0.000000001"


def test_equal_prices_are_equal_content() -> None:
    one = plan(payment_type="pay_per_use", price=0, price_per_request="0.10", features=[Feature("a", price="1.0")])
    two = plan(payment_type="pay_per_use", price=0, price_per_request="0.1", features=[Feature("a", price=1)])
    assert one.content() == two.content()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": ""},
        {"id": "x" * 101},
        {"name": " "},
        {"payment_type": "weekly"},
        {"billing_period": "hourly"},
        {"billing_period": None},  # a subscription needs one
        {"requests_per_period": -1},
        {"requests_per_period": True},
        {"requests_per_period": 1.5},
        {"requests_per_period": 10**15 + 1},
        {"free_requests": "10"},
        {"features": "premium_api"},
        {"features": ["a", "a"]},
        {"features": ["*"]},
        {"features": [""]},
        {"group": ""},
        {"payment_type": "pay_per_use", "billing_period": None, "price_per_request": 1, "requests_per_period": 5},
        {"payment_type": "pay_per_use", "price_per_request": None},
        {"payment_type": "freemium"},  # its price is 10.00
        {"payment_type": "freemium", "price": 0, "free_requests": 5, "requests_per_period": 5},
    ],
)
def test_what_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"price": "19.999"},
        {"price": "-1"},
        {"price": "NaN"},
        {"price": True},
        {"price": "0.5", "currency": "JPY"},
        {"currency": "XXX1"},
        {"price_per_request": "0.0000000001"},
        {"features": [Feature("a", price="0.0000000001")]},
    ],
)
def test_what_is_no_money_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MoneyError):
        plan(**wrong)


@pytest.mark.parametrize("wrong", [{"limit": -1}, {"limit": True}, {"price": "abc"}, {"price": -1}])
def test_a_feature_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Feature("a", **wrong)


def test_ids_are_opaque() -> None:
    assert plan(id="it's & <b>'; DROP TABLE plans; 🎈").id.startswith("it's")
