"""The three decorators, sync and async: reserve, run, commit; and release whenever the function raised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import anyio
import pytest

from agentpay.clock import FixedClock
from agentpay.errors import (
    ConfigurationError,
    FeatureNotAvailable,
    PaymentRequired,
    ReservationClosed,
    SubscriptionExpired,
    UsageLimitExceeded,
    ValidationError,
)
from agentpay.plans.models import BillingPeriod
from agentpay.usage.decorators import paid_feature, subscription_required, usage_limit
from integration.usage.shop import Shop, utc


class Broken(Exception):
    """What a decorated function raises."""


@pytest.fixture
def two(shop: Shop) -> Shop:
    """Two units of `api` for everyone, for life."""
    shop.plan("free", "freemium", free_requests=2)
    return shop


def remaining(shop: Shop, name: str = "ana") -> int | None:
    return shop.check(name=name).remaining


def test_it_runs_and_is_counted(two: Shop) -> None:
    @paid_feature(two, "api", customer="user")
    def ask(question: str, user: str = "ana") -> str:
        """Ask."""
        assert remaining(two, user) == 1  # held while it runs
        return f"{user}: {question}"

    assert ask("why") == "ana: why"
    assert ask.__name__ == "ask"
    assert (remaining(two), two.check().used) == (1, 1)


def test_it_does_not_run_where_it_is_not_allowed(two: Shop) -> None:
    ran = []

    @paid_feature(two, "api", customer="user", quantity=3)
    def ask(user: str) -> None:
        ran.append(user)

    with pytest.raises(UsageLimitExceeded):
        ask("ana")
    assert ran == []
    two.plan("pro", features=["extra"])
    with pytest.raises(FeatureNotAvailable):
        paid_feature(two, "extra", customer="user")(lambda user: ran.append(user))("ana")
    assert ran == []


def test_what_raised_is_released(two: Shop) -> None:
    @paid_feature(two, "api", customer="user")
    def ask(user: str) -> None:
        raise Broken

    for _ in range(5):
        with pytest.raises(Broken):
            ask("ana")
    assert (remaining(two), two.check().used) == (2, 0)


def test_an_exit_is_released_too(two: Shop) -> None:
    @paid_feature(two, "api", customer="user")
    def ask(user: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask("ana")
    assert remaining(two) == 2


def test_customer_and_quantity_may_be_functions_of_the_call(two: Shop) -> None:
    @paid_feature(two, "api", customer=lambda job: job["who"], quantity=lambda job: job["units"])
    def run(job: dict[str, object]) -> str:
        return "done"

    assert run({"who": "bob", "units": 2}) == "done"
    assert remaining(two, "bob") == 0


def test_one_key_is_counted_once_and_runs_each_time(two: Shop) -> None:
    ran = []

    @paid_feature(two, "api", customer="user", idempotency_key=lambda user, request: request)
    def ask(user: str, request: str) -> None:
        ran.append(request)

    ask("ana", "r1")
    ask("ana", "r1")
    assert (ran, remaining(two)) == (["r1", "r1"], 1)


def test_a_key_whose_call_failed_may_be_tried_again(two: Shop) -> None:
    outcomes = iter([Broken(), None])

    @paid_feature(two, "api", customer="user", idempotency_key=lambda user: "r1")
    def ask(user: str) -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    with pytest.raises(Broken):
        ask("ana")
    ask("ana")
    assert two.check().used == 1


def test_one_that_takes_longer_than_it_may_is_not_counted_and_says_so(two: Shop, clock: FixedClock) -> None:
    @paid_feature(two, "api", customer="user", expires_in=timedelta(seconds=30))
    def ask(user: str) -> None:
        clock.advance(timedelta(seconds=30))

    with pytest.raises(ReservationClosed):
        ask("ana")
    assert two.check().used == 0


def test_an_async_function_is_counted(two: Shop) -> None:
    @paid_feature(two, "api", customer="user")
    async def ask(user: str, *, fail: bool = False) -> str:
        await anyio.sleep(0)
        assert remaining(two) == 1
        if fail:
            raise Broken
        return user

    async def calls() -> None:
        with pytest.raises(Broken):
            await ask("ana", fail=True)
        assert await ask("ana") == "ana"

    anyio.run(calls)
    assert (remaining(two), two.check().used) == (1, 1)


@pytest.mark.parametrize("cancel", ["task", "scope"])
def test_an_async_call_that_is_cancelled_is_released(two: Shop, cancel: str) -> None:
    @paid_feature(two, "api", customer="user")
    async def ask(user: str) -> None:
        await anyio.sleep(30)

    async def by_task() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask("ana"), 0.5)

    async def by_scope() -> None:
        with anyio.move_on_after(0.5) as scope:
            await ask("ana")
        assert scope.cancelled_caught

    anyio.run(by_task if cancel == "task" else by_scope)
    assert remaining(two) == 2


def test_a_subscription_may_be_required(shop: Shop) -> None:
    shop.plan("pro")
    shop.plan("storage", group="storage")

    @subscription_required(shop, customer="user")
    def anything(user: str) -> str:
        return "in"

    @subscription_required(shop, "pro", customer="user")
    async def only_pro(user: str) -> str:
        return "in"

    with pytest.raises(PaymentRequired):
        anything("ana")
    shop.subscribe("storage")
    assert anything("ana") == "in"
    with pytest.raises(PaymentRequired):
        anyio.run(only_pro, "ana")
    shop.subscribe("pro")
    assert anyio.run(only_pro, "ana") == "in"
    shop.cancel("pro", at_period_end=False)
    with pytest.raises(SubscriptionExpired):
        anyio.run(only_pro, "ana")


def test_a_usage_limit_is_the_codes_own(shop: Shop, clock: FixedClock) -> None:
    @usage_limit(shop, "export", 2, customer="user", per=BillingPeriod.DAILY)
    def export(user: str) -> None:
        return None

    shop.customer()
    export("ana")
    export("ana")
    with pytest.raises(UsageLimitExceeded) as refused:
        export("ana")
    assert refused.value.retry_at == utc(2026, 2, 1)
    export("bob")
    clock.advance(timedelta(days=1))
    export("ana")


def test_a_usage_limit_for_life_counts_what_was_recorded_too(shop: Shop) -> None:
    @usage_limit(shop, "trial", 2, customer="user")
    async def try_it(user: str) -> None:
        return None

    shop.use("trial")
    anyio.run(try_it, "ana")
    with pytest.raises(UsageLimitExceeded):
        anyio.run(try_it, "ana")


def generator(user: str) -> Iterator[str]:
    yield user


async def async_generator(user: str) -> AsyncIterator[str]:
    yield user


@pytest.mark.parametrize("streams", [generator, async_generator])
def test_a_generator_is_refused_where_it_is_decorated(shop: Shop, streams: Callable[[str], object]) -> None:
    with pytest.raises(ConfigurationError):
        paid_feature(shop, "api", customer="user")(streams)


def test_an_argument_that_is_not_there_is_refused_where_it_is_decorated(shop: Shop) -> None:
    with pytest.raises(ConfigurationError):
        paid_feature(shop, "api", customer="nobody")(lambda user: user)
    with pytest.raises(ValidationError):
        usage_limit(shop, "api", -1, customer="user")
