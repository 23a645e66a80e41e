"""A limit of L accepts exactly L, a key counts once, and credits are never overdrawn: with many at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentpay.errors import CreditsExhausted, UsageLimitExceeded
from agentpay.plans.models import Feature
from integration.usage.shop import Shop
from support.parallel import run_threads, values

RunProcesses = Callable[..., list[Any]]


def accepted(attempt: Callable[[], object], times: int, refusal: type[Exception] = UsageLimitExceeded) -> int:
    count = 0
    for _ in range(times):
        try:
            attempt()
            count += 1
        except refusal:
            continue
    return count


def test_threads_at_a_quota_of_100_are_accepted_exactly_100_times(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=100)
    shop.subscribe("pro")
    assert sum(values(run_threads(8, lambda _: accepted(shop.use, 15)))) == 100
    assert (shop.check().used, shop.check().remaining) == (100, 0)


@pytest.mark.slow
def test_4_processes_of_8_threads_at_a_quota_of_100_are_accepted_exactly_100_times(
    shop: Shop, database: str, run_processes: RunProcesses
) -> None:
    shop.plan("free", "freemium", free_requests=100)  # for life: the processes go by the machine's clock
    results = run_processes(4, "integration.usage.jobs:use_up", (database, 8, 4))
    assert sum(values(results)) == 100
    assert shop.check().used == 100


def test_one_key_many_times_counts_once(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=1)
    shop.subscribe("pro")
    made = values(run_threads(20, lambda _: shop.usage.record("ana", "api", idempotency_key="k")))
    assert len({one.id for one in made}) == 1
    assert sum(not one.replayed for one in made) == 1


def test_customers_made_at_once_share_one_pool(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=5)
    assert sum(values(run_threads(8, lambda _: accepted(shop.use, 1)))) == 5


def test_quantities_over_several_pools_fill_them_exactly(shop: Shop) -> None:
    shop.plan("free", "freemium", free_requests=10)
    shop.plan("pro", requests_per_period=11)
    shop.subscribe("pro")
    assert sum(values(run_threads(6, lambda _: accepted(lambda: shop.use(quantity=3), 2)))) == 7
    assert shop.check().used == 21


def test_credits_are_never_overdrawn(shop: Shop) -> None:
    shop.plan("studio", features=[Feature("image", price="0.003")])
    shop.subscribe("studio")
    shop.grant("0.10")
    done = values(run_threads(6, lambda _: accepted(lambda: shop.use("image"), 7, CreditsExhausted)))
    assert sum(done) == 33  # 33 times 0.003 are 0.099
    assert shop.credits() == (1, 9_000_000)
    assert shop.unbilled() == 0


def test_metered_usage_draws_what_is_there_and_bills_the_rest_exactly(shop: Shop) -> None:
    shop.plan("meter", "pay_per_use", price_per_request="0.003")
    shop.activate(shop.begin("meter"), None)
    shop.grant("0.05")
    values(run_threads(6, lambda _: accepted(shop.use, 4)))
    assert shop.credits() == (0, 0)
    assert shop.unbilled() == 24 * 3_000_000 - 50_000_000


def test_reservations_and_records_at_once_share_the_limit(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=20)
    shop.subscribe("pro")

    def work(index: int) -> int:
        def reserve() -> None:
            shop.usage.reserve("ana", "api", 2, idempotency_key=shop.ids.new("key")).commit(1)

        return accepted(reserve if index % 2 else shop.use, 5)

    assert 10 <= sum(values(run_threads(6, work))) <= 20
    assert shop.check().used + (shop.check().remaining or 0) == 20


def test_committing_and_releasing_at_once_is_one_of_them(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=5)
    shop.subscribe("pro")
    held = shop.usage.reserve("ana", "api", 3, idempotency_key="k")
    run_threads(6, lambda index: held.commit() if index % 2 else held.release())
    assert shop.check().used in (0, 3)
    assert (shop.check().used or 0) + (shop.check().remaining or 0) == 5
