"""Limits: what accepts how much, when it resets, and what never resets it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from agentpay.clock import FixedClock
from agentpay.errors import FeatureNotAvailable, PaymentRequired, SubscriptionExpired, UsageLimitExceeded
from agentpay.plans.models import Feature
from agentpay.storage.types import table
from agentpay.usage.models import FeatureUsage
from agentpay.usage.tables import UsageAllocationRow
from conftest import OpenStore
from integration.usage.shop import Shop, utc


def used(shop: Shop, feature: str = "api") -> FeatureUsage:
    found = shop.usage.get("ana", feature).feature(feature)
    assert found is not None
    return found


def use_up(shop: Shop, count: int, feature: str = "api") -> None:
    """Exactly so many are accepted."""
    for _ in range(count):
        shop.use(feature)
    with pytest.raises(UsageLimitExceeded):
        shop.use(feature)


def test_a_limit_accepts_exactly_itself(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=3)
    shop.subscribe("pro")
    assert [shop.use().remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(UsageLimitExceeded) as refused:
        shop.use()
    assert refused.value.retry_at == utc(2026, 2, 28)
    assert (refused.value.customer, refused.value.feature) == ("ana", "api")
    assert (used(shop).used, used(shop).limit, used(shop).remaining) == (3, 3, 0)


def test_what_does_not_fit_is_not_recorded_in_part(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=5)
    shop.subscribe("pro")
    shop.use(quantity=3)
    with pytest.raises(UsageLimitExceeded):
        shop.use(quantity=3)
    assert used(shop).used == 3
    assert shop.use(quantity=2).remaining == 0


def test_features_share_what_the_period_gives_unless_they_have_a_limit_of_their_own(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=3, features=["a", "b", Feature("c", 2)])
    shop.subscribe("pro")
    shop.use("a")
    shop.use("b")
    assert shop.use("c").remaining == 1
    use_up(shop, 1, "a")
    with pytest.raises(UsageLimitExceeded):
        shop.use("b")
    use_up(shop, 1, "c")


def test_without_a_number_there_is_no_limit(shop: Shop) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    made = shop.use(quantity=10**9)
    assert (made.remaining, made.cost, made.plan) == (None, None, "pro")
    access = shop.check(quantity=10**9)
    assert (access.unlimited, access.used, access.limit, access.remaining) == (True, 10**9, None, None)


def test_a_limit_of_nothing_accepts_nothing(shop: Shop) -> None:
    shop.plan("pro", features=[Feature("api", 0)])
    shop.subscribe("pro")
    use_up(shop, 0)


def test_the_next_period_begins_with_a_full_limit(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro", requests_per_period=2)
    made = shop.subscribe("pro")
    use_up(shop, 2)
    clock.set(utc(2026, 2, 28))
    shop.renew(made, shop.begin_renewal(made))
    use_up(shop, 2)


def test_free_requests_are_for_life(shop: Shop, clock: FixedClock) -> None:
    shop.plan("free", "freemium", free_requests=2)
    use_up(shop, 2)
    clock.set(utc(2036, 1, 1))
    use_up(shop, 0)
    assert shop.check().resets_at is None


def test_with_a_billing_period_they_return_counted_from_the_customers_creation(shop: Shop, clock: FixedClock) -> None:
    shop.plan("free", "freemium", free_requests=2, billing_period="monthly")
    shop.customer()  # on the 31st of January
    clock.set(utc(2026, 2, 27))
    use_up(shop, 2)
    clock.set(utc(2026, 2, 28))
    use_up(shop, 2)
    assert shop.check().resets_at == utc(2026, 3, 31)


def test_a_freemium_plan_serves_everyone_in_its_newest_version(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    assert shop.use().plan == "free"
    shop.plan("free", "freemium", free_requests=3)
    use_up(shop, 2)
    shop.plan("free", "freemium", free_requests=1)  # lowered below what was used: nothing is left, nothing breaks
    use_up(shop, 0)
    shop.plan("free", "freemium", free_requests=4)
    use_up(shop, 1)


def test_a_paying_subscriber_is_never_stopped_by_a_free_tier(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    shop.plan("pro", requests_per_period=3)
    use_up(shop, 2)
    shop.subscribe("pro")
    use_up(shop, 3)
    assert shop.check().plan in ("free", "pro")


def test_what_resets_soonest_is_used_first_and_what_is_for_life_last(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    shop.plan("daily", "freemium", free_requests=1, billing_period="daily")
    shop.plan("pro", requests_per_period=1)
    shop.subscribe("pro")
    assert [shop.use().plan for _ in range(4)] == ["daily", "pro", "free", "free"]


def test_a_quantity_may_come_from_several_pools(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=2)
    shop.plan("pro", requests_per_period=3)
    shop.subscribe("pro")
    assert shop.use(quantity=4).remaining == 1
    use_up(shop, 1)


def test_a_free_tier_that_is_used_up_is_not_reopened_by_subscribing_to_it(shop: Shop, clock: FixedClock) -> None:
    shop.plan("free", "freemium", free_requests=2)
    shop.plan("month", "freemium", free_requests=2, billing_period="monthly", features=["b"], group="b")
    shop.customer()
    use_up(shop, 2)
    use_up(shop, 2, "b")
    clock.advance(timedelta(days=3))
    for plan in ("free", "month"):
        shop.activate(shop.begin(plan), None)
    use_up(shop, 0)
    use_up(shop, 0, "b")
    clock.set(utc(2026, 2, 28))
    use_up(shop, 2, "b")


def test_subscribing_again_never_resets_a_quota(shop: Shop, clock: FixedClock) -> None:
    shop.plan("gift", price=0, requests_per_period=3)
    for day in (1, 2, 27):
        clock.set(utc(2026, 2, day))
        shop.activate(shop.begin("gift"), None)
        if day == 1:
            use_up(shop, 3)
        use_up(shop, 0)
        shop.cancel(at_period_end=False)
    clock.set(utc(2026, 3, 2))  # the first window ended on the 1st of March
    shop.activate(shop.begin("gift"), None)
    use_up(shop, 3)


def test_a_quota_returns_once_a_period_however_often_one_subscribes(shop: Shop, clock: FixedClock) -> None:
    """Resubscribing on the second day must not make two windows out of one: the first keeps its ends."""
    shop.plan("gift", price=0, requests_per_period=3)
    clock.set(utc(2026, 2, 1))
    shop.activate(shop.begin("gift"), None)
    use_up(shop, 3)
    clock.set(utc(2026, 2, 2))
    shop.cancel(at_period_end=False)
    shop.activate(shop.begin("gift"), None)
    clock.set(utc(2026, 3, 1))
    use_up(shop, 3)
    clock.set(utc(2026, 3, 2))  # the second subscription's own period ends here
    use_up(shop, 0)


def test_going_to_another_plan_and_back_resets_nothing(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro", requests_per_period=3)
    shop.plan("max", requests_per_period=5)
    shop.subscribe("pro")
    use_up(shop, 3)
    clock.advance(timedelta(days=1))
    shop.subscribe("max")
    use_up(shop, 5)
    clock.advance(timedelta(days=1))
    shop.subscribe("pro")
    use_up(shop, 0)
    clock.set(utc(2026, 2, 28))
    use_up(shop, 3)


def test_a_new_version_of_the_plan_resets_nothing(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=3)
    shop.subscribe("pro")
    use_up(shop, 3)
    shop.cancel(at_period_end=False)
    shop.plan("pro", requests_per_period=4)
    shop.subscribe("pro")
    use_up(shop, 1)


def test_the_default_plan_serves_who_has_no_subscription(shop: Shop) -> None:
    shop.plan("basic", price=0, requests_per_period=2)
    shop.plan("pro", features=["other"])
    with pytest.raises(FeatureNotAvailable):
        shop.use()
    shop.default_plan = "basic"
    assert shop.check().reason == "included"
    use_up(shop, 2)
    shop.activate(shop.begin("basic"), None)  # what served before keeps its window
    use_up(shop, 0)
    shop.subscribe("pro")
    with pytest.raises(PaymentRequired):
        shop.use()
    shop.use("other")


def test_an_ended_subscription_falls_back_to_the_default_plan(shop: Shop) -> None:
    shop.plan("basic", price=0, requests_per_period=1)
    shop.plan("pro")
    shop.default_plan = "basic"
    shop.subscribe("pro")
    assert shop.use().plan == "pro"
    shop.cancel(at_period_end=False)
    assert shop.use().plan == "basic"


def test_what_no_plan_names_is_recorded_without_a_limit(shop: Shop) -> None:
    shop.plan("pro")
    for _ in range(3):
        made = shop.use("unheard of")
    assert (made.remaining, made.plan) == (None, None)
    assert (shop.check("unheard of").allowed, shop.check("unheard of").reason) == (False, "unknown_feature")
    assert used(shop, "unheard of").used == 3


def test_what_only_other_plans_name_is_not_available(shop: Shop) -> None:
    shop.plan("pro")
    shop.plan("max", features=["extra"])
    shop.subscribe("pro")
    with pytest.raises(FeatureNotAvailable):
        shop.use("extra")
    assert shop.check("extra").reason == "no_plan"
    shop.plan("max", features=["other"])  # also where only a version that was replaced names it
    with pytest.raises(FeatureNotAvailable):
        shop.use("extra")


def test_what_an_ended_subscription_named_has_expired(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    shop.cancel()
    clock.set(utc(2026, 2, 28))
    with pytest.raises(SubscriptionExpired):
        shop.use()
    assert shop.check().reason == "expired"
    shop.expire()
    with pytest.raises(SubscriptionExpired):
        shop.use()
    assert shop.check().reason == "expired"


class Ticking:
    """A clock that goes on by a second whenever somebody looks."""

    def __init__(self, start: datetime) -> None:
        self._next = start

    def now(self) -> datetime:
        now, self._next = self._next, self._next + timedelta(seconds=1)
        return now


@pytest.mark.parametrize("seconds", range(1, 6))
def test_a_window_that_ends_while_its_lock_is_waited_for_counts_nothing_more(
    shop: Shop, open_store: OpenStore, seconds: int
) -> None:
    shop.plan("free", "freemium", free_requests=1, billing_period="daily")
    shop.customer()
    late = Shop(open_store(clock=Ticking(utc(2026, 2, 1) - timedelta(seconds=seconds))), shop.ids)
    made = late.use()
    (start,) = late.store.read(lambda tx: [row.window_start for row in tx.all(sa.select(table(UsageAllocationRow)))])
    assert start <= made.recorded_at < start + timedelta(days=1)


def test_nothing_is_left_to_renew_though_no_job_has_run(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    clock.set(utc(2026, 3, 30))
    assert shop.check().reason == "past_due"
    clock.set(utc(2026, 3, 31))
    assert shop.check().reason == "expired"
