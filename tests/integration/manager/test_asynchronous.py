"""`AsyncPaymentManager`: every verb, awaited, in bounded threads; cancelling lets the caller go, and nothing else."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

from agentpay import AgentHandle, AsyncPaymentManager, ConfigurationError, PaymentManager, PolicyDenied, paid_feature
from agentpay.errors import UsageLimitExceeded
from agentpay.manager.asynchronous import AsyncAgentHandle
from agentpay.manager.threads import Threads
from agentpay.plans.models import Feature, PaymentPlan, PaymentType
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside

pytestmark = pytest.mark.anyio

NOT_AWAITED = {"for_agent", "background", "close", "usage", "subscriptions", "on_approval"}
"""What is there under its name, and is no verb to await."""

NOT_FOR_A_LOOP = {"worker"}
"""A program of its own: `AsyncPaymentManager.sync` has it."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def verbs(cls: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(cls) if not name.startswith("_")}


def test_every_verb_of_the_manager_is_there() -> None:
    """A new verb gets its line in agentpay/manager/asynchronous.py."""
    assert verbs(PaymentManager) - verbs(AsyncPaymentManager) == NOT_FOR_A_LOOP
    for name in verbs(PaymentManager) - NOT_AWAITED - NOT_FOR_A_LOOP - {"reserve_usage"}:
        assert vars(AsyncPaymentManager)[name].verb is getattr(PaymentManager, name)
        assert vars(AsyncPaymentManager)[name].__doc__ == getattr(PaymentManager, name).__doc__


def test_every_verb_of_the_handle_is_there() -> None:
    assert verbs(AgentHandle) - verbs(AsyncAgentHandle) == set()
    for name in verbs(AgentHandle):
        assert vars(AsyncAgentHandle)[name].verb is getattr(AgentHandle, name)


async def test_the_same_answers_and_errors() -> None:
    async with await AsyncPaymentManager.open("memory://", provider="mock", policy="starter") as manager:
        assert inspect.iscoroutinefunction(manager.charge)
        paid = await manager.charge("alice", "5.00", "USD", idempotency_key="a")
        bot = manager.for_agent("support-bot")
        assert bot.agent == "support-bot"
        own = await bot.charge("alice", "6.00", "USD", description="x", idempotency_key="a")
        with pytest.raises(PolicyDenied):
            await bot.charge("alice", "51.00", "USD", description="x", idempotency_key="b")
        assert {one.id for one in await manager.list_payments("alice")} == {paid.id, own.id}
        assert manager.sync.get_payment(paid.id).status == "succeeded"
        async with manager.background():
            assert (await manager.doctor()).ok
    with pytest.raises(ConfigurationError, match="nothing was begun"):
        await manager.charge("alice", "5.00", "USD", idempotency_key="c")


async def test_a_manager_that_is_open_can_be_awaited() -> None:
    opened = PaymentManager("memory://", provider="mock")
    async with AsyncPaymentManager(opened) as manager:
        assert manager.sync is opened


async def test_reserving_and_the_decorators() -> None:
    async with await AsyncPaymentManager.open("memory://", provider="mock") as manager:
        await manager.create_plan(
            PaymentPlan(id="free", name="F", payment_type=PaymentType.FREEMIUM, features=[Feature("search", limit=2)])
        )
        held = await manager.reserve_usage("ana", "search", 2, idempotency_key="r")
        assert (held.quantity, held.id[:4], held.expires_at) == (2, "res_", held.sync.expires_at)
        with pytest.raises(UsageLimitExceeded):
            await manager.record_usage("ana", "search", idempotency_key="u")
        assert (await held.commit(1)).quantity == 1
        other = await manager.reserve_usage("ana", "search", idempotency_key="r2")
        await other.release()

        @paid_feature(manager, "search", customer="customer")
        async def search(customer: str) -> str:
            return "found"

        assert await search("ana") == "found"
        assert (await manager.check_access("ana", "search")).remaining == 0


async def test_a_start_that_fails_says_why() -> None:
    with pytest.raises(ConfigurationError):
        await AsyncPaymentManager.open("memory://", provider="mock", policy="no-such-policy")


# ---- the threads


async def test_at_most_so_many_run_at_once() -> None:
    threads, running, most, lock = Threads(3), 0, 0, threading.Lock()
    barrier = threading.Barrier(3)

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        barrier.wait(20)
        with lock:
            running -= 1

    await asyncio.gather(*(threads.run(work) for _ in range(12)))
    assert most == 3
    threads.close()


async def test_the_context_of_the_caller_goes_along() -> None:
    var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="none")
    var.set("mine")
    threads = Threads()
    assert await threads.run(var.get) == "mine"
    threads.close()


async def test_what_has_begun_ends_and_what_waits_is_not_begun() -> None:
    threads, begun, go_on, done = Threads(1), threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        assert go_on.wait(20)
        done.append("first")

    tasks = [asyncio.create_task(threads.run(first))]
    await asyncio.to_thread(begun.wait, 20)
    tasks.append(asyncio.create_task(threads.run(lambda: done.append("second"))))
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert done == []
    go_on.set()
    await asyncio.to_thread(threads.close)
    assert done == ["first"]


async def test_a_time_out_of_the_caller_leaves_the_payment_whole(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'agentpay.db'}"
    waited = threading.Event()

    def wait(_seconds: float) -> None:
        assert waited.wait(20)

    slow = MockProvider(books_beside(url), sleep=wait)
    async with await AsyncPaymentManager.open(url, provider=slow) as manager:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.charge("alice", "13.20", "USD", idempotency_key="slow"), 0.2)
        waited.set()
    with PaymentManager(url, provider="mock") as after:
        again = after.charge("alice", "13.20", "USD", idempotency_key="slow")
        assert (again.status, again.replayed) == ("succeeded", True)


@pytest.mark.parametrize("most", [0, -1, 1001, True, 1.5, "4"], ids=str)
def test_a_number_of_threads_is_one(most: Any) -> None:
    with pytest.raises(ConfigurationError):
        Threads(most)
