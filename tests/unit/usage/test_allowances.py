"""What each kind of plan gives of a feature."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agentpay.plans.models import BillingPeriod, Feature, PaymentPlan
from agentpay.usage.allowances import LIFETIME, Offer

ANCHOR = datetime(2026, 1, 31, tzinfo=UTC)
NOW = datetime(2026, 3, 1, tzinfo=UTC)

Shown = tuple[str, str, int | None, int]


def offer(source: str, *, subscribed: bool, **fields: Any) -> Offer:
    plan = PaymentPlan(id="p", name="P", **{"features": ["api"], **fields})
    return Offer(plan, source, ANCHOR, subscribed)  # type: ignore[arg-type]


def given(made: Offer, feature: str = "api") -> list[Shown]:
    return [(one.pool.name, one.kind, one.limit, one.unit_nanos) for one in made.allowances(feature, NOW)]


def subscription(**fields: Any) -> Offer:
    fields = {"billing_period": "monthly", "price": 10, **fields}
    return offer("subscription", subscribed=True, payment_type="subscription", **fields)


def metered(**fields: Any) -> Offer:
    fields = {"price_per_request": "0.01", **fields}
    return offer("subscription", subscribed=True, payment_type="pay_per_use", **fields)


def freemium(*, subscribed: bool = False, **fields: Any) -> Offer:
    return offer("freemium", subscribed=subscribed, payment_type="freemium", **fields)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        # features without a limit of their own share the period's requests; with neither there is no limit
        (subscription(requests_per_period=100), [("*", "included", 100, 0)]),
        (subscription(), [("api", "included", None, 0)]),
        (subscription(features=[Feature("api", 5)], requests_per_period=100), [("api", "included", 5, 0)]),
        (
            subscription(requests_per_period=100, price_per_request="0.01"),
            [("*", "included", 100, 0), ("*paid", "metered", None, 10_000_000)],
        ),
        (subscription(features=[Feature("api", 5)], price_per_request="0.01"), [("api", "included", 5, 0)]),
        (
            subscription(requests_per_period=100, free_requests=5),
            [("*", "included", 100, 0), ("*free", "free", 5, 0)],
        ),
        # credits: the whole price in advance, and no part of the shared requests
        (
            subscription(features=[Feature("api", price="0.5")], requests_per_period=9),
            [("api", "credits", None, 500_000_000)],
        ),
        (subscription(features=[Feature("api", 2, "0.5")]), [("api", "credits", 2, 500_000_000)]),
        # metered
        (metered(), [("*", "metered", None, 10_000_000)]),
        (metered(free_requests=3), [("*free", "free", 3, 0), ("*", "metered", None, 10_000_000)]),
        (metered(features=[Feature("api", 7)]), [("api", "metered", 7, 10_000_000)]),
        (metered(requests_per_period=50, billing_period="daily"), [("*", "metered", 50, 10_000_000)]),
        # freemium: billed beyond the free part only to who subscribed
        (freemium(free_requests=10), [("*", "free", 10, 0)]),
        (freemium(free_requests=10, price_per_request="0.01"), [("*", "free", 10, 0)]),
        (
            freemium(free_requests=10, price_per_request="0.01", subscribed=True),
            [("*", "free", 10, 0), ("*paid", "metered", None, 10_000_000)],
        ),
        (freemium(price_per_request="0.01"), [("*", "free", 0, 0)]),
        (freemium(), [("api", "free", None, 0)]),
        (freemium(requests_per_period=4, billing_period="weekly"), [("*", "free", 4, 0)]),
        (freemium(features=[Feature("api", 2)], free_requests=10), [("api", "free", 2, 0)]),
        (
            freemium(features=[Feature("api", price="0.5")], free_requests=10),
            [("*", "free", 10, 0), ("api", "credits", None, 500_000_000)],
        ),
    ],
)
def test_what_a_plan_gives(made: Offer, expected: list[Shown]) -> None:
    assert given(made) == expected


def test_a_plan_gives_nothing_of_what_it_does_not_name() -> None:
    assert given(subscription(), "other") == []


def test_windows_are_counted_from_the_anchor() -> None:
    (one,) = subscription(requests_per_period=5).allowances("api", NOW)
    assert one.pool.window_start == datetime(2026, 2, 28, tzinfo=UTC)
    assert one.resets_at == datetime(2026, 3, 31, tzinfo=UTC)
    assert one.covers(NOW)
    assert not one.covers(one.resets_at)


def test_without_a_billing_period_it_is_for_life() -> None:
    (one,) = freemium(free_requests=5).allowances("api", NOW)
    assert (one.pool.window_start, one.resets_at) == (LIFETIME, None)
    (other,) = freemium(free_requests=5, billing_period=BillingPeriod.DAILY).allowances("api", NOW)
    assert other.resets_at == datetime(2026, 3, 2, tzinfo=UTC)
