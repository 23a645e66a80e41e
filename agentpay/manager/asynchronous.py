"""The manager for an event loop: the same verbs, awaited. The engine runs in threads of its own."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, overload

from agentpay.clock import Clock
from agentpay.ids import Ids
from agentpay.manager.agent import AgentHandle
from agentpay.manager.manager import PaymentManager
from agentpay.manager.threads import MOST, Threads
from agentpay.providers.base import PaymentProvider
from agentpay.spending.cards import Card
from agentpay.storage.choices import Storage
from agentpay.subscriptions.service import SubscriptionManager
from agentpay.usage.models import UsageRecord
from agentpay.usage.service import DEFAULT_LIFE, Reservation, UsageTracker
from agentpay_policies.policy import Policy

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


class _Awaiting(Generic[S]):
    """Something synchronous, and the threads that its verbs run in."""

    def __init__(self, sync: S, threads: Threads) -> None:
        self._sync = sync
        self._threads = threads

    @property
    def sync(self) -> S:
        """What runs in the threads: for code that may block."""
        return self._sync


class _Awaited(Generic[S, P, R]):
    """A verb, to be awaited: it runs in the threads of the object that it is asked of."""

    def __init__(self, verb: Callable[Concatenate[S, P], R]) -> None:
        self.verb = verb
        self.__doc__ = verb.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: _Awaiting[Any], owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, instance: _Awaiting[Any] | None, owner: type) -> Self | Callable[P, Coroutine[Any, Any, R]]:
        if instance is None:
            return self
        sync, threads, verb = instance._sync, instance._threads, self.verb

        @functools.wraps(verb)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return await threads.run(lambda: verb(sync, *args, **kwargs))

        return call


class AsyncReservation(_Awaiting[Reservation]):
    """Units that are held; see `Reservation`."""

    commit = _Awaited[Reservation, [int | None], UsageRecord](Reservation.commit)
    release = _Awaited(Reservation.release)

    @property
    def id(self) -> str:
        """Its id."""
        return self._sync.id

    @property
    def quantity(self) -> int:
        """How many units are held."""
        return self._sync.quantity

    @property
    def expires_at(self) -> datetime:
        """Until when they are held."""
        return self._sync.expires_at


class AsyncAgentHandle(_Awaiting[AgentHandle]):
    """One agent's verbs, awaited; see `AgentHandle`."""

    @property
    def agent(self) -> str:
        """Who it is."""
        return self._sync.agent

    check_access = _Awaited(AgentHandle.check_access)
    charge = _Awaited(AgentHandle.charge)
    subscribe = _Awaited(AgentHandle.subscribe)
    record_usage = _Awaited(AgentHandle.record_usage)
    refund = _Awaited(AgentHandle.refund)
    cancel_subscription = _Awaited(AgentHandle.cancel_subscription)
    get_payment = _Awaited(AgentHandle.get_payment)
    get_approval = _Awaited(AgentHandle.get_approval)
    get_subscription = _Awaited(AgentHandle.get_subscription)
    list_payments = _Awaited(AgentHandle.list_payments)
    list_plans = _Awaited(AgentHandle.list_plans)
    get_budget = _Awaited(AgentHandle.get_budget)


class AsyncPaymentManager(_Awaiting[PaymentManager]):
    """`PaymentManager` for an event loop (asyncio): every verb is awaited, with the same arguments, answers and errors.

    >>> async with await AsyncPaymentManager.open("sqlite:///agentpay.db", provider="mock") as manager:
    ...     await manager.charge("alice", "5.00", "USD", idempotency_key="order-42")

    Not more than `threads` calls run at once. Cancelling a call lets its caller go; what has begun runs to its end, and
    closing waits for it: after a cancelled call look its key up, or repeat it with the same key.
    """

    def __init__(self, manager: PaymentManager, *, threads: int = MOST) -> None:
        """Await an open manager's verbs; `close` closes it too. To open one, see `open`."""
        super().__init__(manager, Threads(threads))

    @classmethod
    async def open(
        cls,
        storage: str | Storage | None = None,
        *,
        provider: str | PaymentProvider | Sequence[str | PaymentProvider] | None = None,
        policy: str | Path | Mapping[str, object] | Policy | Literal[False] | None = None,
        default_plan: str | None = None,
        throttle: str | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        threads: int = MOST,
    ) -> Self:
        """Open a manager without blocking the loop; the arguments and errors are those of `PaymentManager`."""
        opening = Threads(1)
        try:
            manager = await opening.run(
                lambda: PaymentManager(
                    storage,
                    provider=provider,
                    policy=policy,
                    default_plan=default_plan,
                    throttle=throttle,
                    clock=clock,
                    ids=ids,
                )
            )
        finally:
            opening.close()
        return cls(manager, threads=threads)

    def for_agent(self, agent: str) -> AsyncAgentHandle:
        """The verbs of one agent, behind the active policy; see `PaymentManager.for_agent`."""
        return AsyncAgentHandle(self._sync.for_agent(agent), self._threads)

    @property
    def usage(self) -> UsageTracker:
        """For the decorators, which run it beside the loop. It blocks where it is called otherwise."""
        return self._sync.usage

    @property
    def subscriptions(self) -> SubscriptionManager:
        """For the decorators, as `usage`."""
        return self._sync.subscriptions

    def on_approval(self, callback: Callable[[Card], None]) -> None:
        """Tell `callback`, in the thread of the call, of every approval that is asked for: see `PaymentManager`."""
        self._sync.on_approval(callback)

    async def reserve_usage(
        self,
        customer: str,
        feature: str,
        quantity: int = 1,
        *,
        idempotency_key: str,
        expires_in: timedelta = DEFAULT_LIFE,
    ) -> AsyncReservation:
        """Take a quantity before it is used; see `PaymentManager.reserve_usage`."""
        made = await self._threads.run(
            lambda: self._sync.reserve_usage(
                customer, feature, quantity, idempotency_key=idempotency_key, expires_in=expires_in
            )
        )
        return AsyncReservation(made, self._threads)

    @asynccontextmanager
    async def background(self) -> AsyncIterator[None]:
        """For a server: see `PaymentManager.background`."""
        running = self._sync.background()
        running.__enter__()
        try:
            yield
        finally:
            await self._threads.run(lambda: running.__exit__(None, None, None))

    async def close(self) -> None:
        """Wait for what has begun, then let go of providers and of the database."""
        last = Threads(1)
        try:
            await last.run(self._threads.close)
            await last.run(self._sync.close)
        finally:
            last.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    create_plan = _Awaited(PaymentManager.create_plan)
    list_plans = _Awaited(PaymentManager.list_plans)
    check_access = _Awaited(PaymentManager.check_access)
    record_usage = _Awaited(PaymentManager.record_usage)
    get_usage = _Awaited(PaymentManager.get_usage)
    grant_credits = _Awaited(PaymentManager.grant_credits)
    credits_of = _Awaited(PaymentManager.credits_of)
    bill_usage = _Awaited(PaymentManager.bill_usage)
    report_usage = _Awaited(PaymentManager.report_usage)

    charge = _Awaited(PaymentManager.charge)
    create_checkout = _Awaited(PaymentManager.create_checkout)
    refund = _Awaited(PaymentManager.refund)
    continue_payment = _Awaited(PaymentManager.continue_payment)
    get_payment = _Awaited(PaymentManager.get_payment)
    list_payments = _Awaited(PaymentManager.list_payments)
    recent_payments = _Awaited(PaymentManager.recent_payments)
    refunds_of = _Awaited(PaymentManager.refunds_of)
    speed_up = _Awaited(PaymentManager.speed_up)
    unallocated_transfers = _Awaited(PaymentManager.unallocated_transfers)
    resolve_payment = _Awaited(PaymentManager.resolve_payment)
    verify_payment = _Awaited(PaymentManager.verify_payment)
    link_customer = _Awaited(PaymentManager.link_customer)
    setup_payment_method = _Awaited(PaymentManager.setup_payment_method)
    customer_portal = _Awaited(PaymentManager.customer_portal)
    list_customers = _Awaited(PaymentManager.list_customers)
    erase_customer = _Awaited(PaymentManager.erase_customer)
    receive_webhook = _Awaited(PaymentManager.receive_webhook)
    webhook_events = _Awaited(PaymentManager.webhook_events)
    poll = _Awaited(PaymentManager.poll)
    retry_webhook = _Awaited(PaymentManager.retry_webhook)
    retry_webhooks = _Awaited(PaymentManager.retry_webhooks)
    disputes = _Awaited(PaymentManager.disputes)

    subscribe = _Awaited(PaymentManager.subscribe)
    cancel_subscription = _Awaited(PaymentManager.cancel_subscription)
    renew_subscription = _Awaited(PaymentManager.renew_subscription)
    renew_due = _Awaited(PaymentManager.renew_due)
    get_subscription = _Awaited(PaymentManager.get_subscription)
    is_subscribed = _Awaited(PaymentManager.is_subscribed)

    enrol_approver = _Awaited(PaymentManager.enrol_approver)
    rotate_approver = _Awaited(PaymentManager.rotate_approver)
    approvers = _Awaited(PaymentManager.approvers)
    approve = _Awaited(PaymentManager.approve)
    deny = _Awaited(PaymentManager.deny)
    get_approval = _Awaited(PaymentManager.get_approval)
    approval_card = _Awaited(PaymentManager.approval_card)
    list_approvals = _Awaited(PaymentManager.list_approvals)
    active_policy = _Awaited(PaymentManager.active_policy)
    policy_document = _Awaited(PaymentManager.policy_document)
    policy_differences = _Awaited(PaymentManager.policy_differences)
    explain = _Awaited(PaymentManager.explain)
    simulate = _Awaited(PaymentManager.simulate)
    backtest = _Awaited(PaymentManager.backtest)
    apply_policy = _Awaited(PaymentManager.apply_policy)
    agents = _Awaited(PaymentManager.agents)
    enrol_agent = _Awaited(PaymentManager.enrol_agent)
    withdraw_agent = _Awaited(PaymentManager.withdraw_agent)
    enrolled_agents = _Awaited(PaymentManager.enrolled_agents)
    halt = _Awaited(PaymentManager.halt)
    resume = _Awaited(PaymentManager.resume)
    halts = _Awaited(PaymentManager.halts)
    tools_for = _Awaited(PaymentManager.tools_for)
    note_refusal = _Awaited(PaymentManager.note_refusal)

    reconcile = _Awaited(PaymentManager.reconcile)
    capabilities = _Awaited(PaymentManager.capabilities)
    health = _Awaited(PaymentManager.health)
    verify_audit = _Awaited(PaymentManager.verify_audit)
    doctor = _Awaited(PaymentManager.doctor)
    accept_clock = _Awaited(PaymentManager.accept_clock)
    declare_restored = _Awaited(PaymentManager.declare_restored)
