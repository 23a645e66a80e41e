"""Three decorators that put a function behind a plan: `paid_feature`, `subscription_required`, `usage_limit`.

The two that count reserve the units before the function runs, commit them when it returned, and release them when it
raised. All three take plain and async functions; an async one does not block the event loop. They take whatever has the
services: a `PaymentManager`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, ParamSpec, Protocol, TypeVar, cast

from agentpay.errors import ConfigurationError
from agentpay.ids import Ids, RandomIds
from agentpay.plans.models import BillingPeriod, feature_name, units
from agentpay.subscriptions.service import SubscriptionManager
from agentpay.usage.service import DEFAULT_LIFE, Reservation, UsageTracker
from agentpay.usage.taking import Cap

P = ParamSpec("P")
R = TypeVar("R")

Decorator = Callable[[Callable[P, R]], Callable[P, R]]
FromCall = Callable[..., Any]

_COUNTED: Final = "committed"


class Services(Protocol):
    """What the decorators need of a manager."""

    @property
    def usage(self) -> UsageTracker: ...

    @property
    def subscriptions(self) -> SubscriptionManager: ...


def paid_feature(
    manager: Services,
    feature: str,
    *,
    customer: str | FromCall,
    quantity: int | FromCall = 1,
    idempotency_key: FromCall | None = None,
    expires_in: timedelta = DEFAULT_LIFE,
    ids: Ids | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the function run only where the customer's plans allow the feature, and count it when it returned.

    `customer` is the name of the argument that holds the customer, or a function of the call's arguments; `quantity` is
    a number or such a function. `idempotency_key` is a function too: two calls with one key are counted once, although
    the function runs both times. Without it each call is counted. `expires_in` is the longest that a call may take.

    Raises (when called):
        PaymentRequired: one of its kinds, before the function has run.
        ReservationClosed: the function took longer than `expires_in`; it ran, and nothing was counted.
    """
    feature_name(feature)
    return _counting(
        _Meter(manager, feature, customer, quantity, idempotency_key, expires_in, ids or RandomIds(), None)
    )


def usage_limit(
    manager: Services,
    feature: str,
    limit: int,
    *,
    customer: str | FromCall,
    per: BillingPeriod | None = None,
    quantity: int | FromCall = 1,
    idempotency_key: FromCall | None = None,
    expires_in: timedelta = DEFAULT_LIFE,
    ids: Ids | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let each customer use the function so many times, for life or a period, whatever the plans say.

    The limit is the code's own, and exact. For what your plans meter use `paid_feature`; the other arguments are its.

    Raises (when called):
        UsageLimitExceeded: the limit is reached; the function has not run.
    """
    feature_name(feature)
    cap = Cap(units(limit, "limit"), per)
    return _counting(_Meter(manager, feature, customer, quantity, idempotency_key, expires_in, ids or RandomIds(), cap))


def subscription_required(
    manager: Services, plan: str | None = None, *, customer: str | FromCall
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the function run only for customers with a subscription: to that plan, or to any. Nothing is counted.

    Raises (when called):
        SubscriptionExpired, PaymentRequired: before the function has run.
    """

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        who = _reader(fn, customer)

        def allow(*args: P.args, **kwargs: P.kwargs) -> None:
            manager.subscriptions.require(who(*args, **kwargs), plan)

        if inspect.iscoroutinefunction(fn):

            @functools.wraps(fn)
            async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                await _off_loop(functools.partial(allow, *args, **kwargs))
                return await fn(*args, **kwargs)

            return cast(Callable[P, R], guarded_async)

        @functools.wraps(fn)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            allow(*args, **kwargs)
            return fn(*args, **kwargs)

        return guarded

    return decorate


@dataclass(frozen=True)
class _Meter:
    """What is counted for a call, and how its arguments say so."""

    manager: Services
    feature: str
    customer: str | FromCall
    quantity: int | FromCall
    key: FromCall | None
    expires_in: timedelta
    ids: Ids
    cap: Cap | None

    def reserve(self, who: FromCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Reservation:
        """Hold the units of one call."""
        quantity = self.quantity(*args, **kwargs) if callable(self.quantity) else self.quantity
        key = self.ids.new("call") if self.key is None else self.key(*args, **kwargs)
        return self.manager.usage.reserve(
            who(*args, **kwargs),
            self.feature,
            quantity,
            idempotency_key=key,
            expires_in=self.expires_in,
            cap=self.cap,
        )


def _counting(meter: _Meter) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        who = _reader(fn, meter.customer)
        if inspect.iscoroutinefunction(fn):
            return cast(Callable[P, R], _counted_async(meter, who, fn))

        @functools.wraps(fn)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            reservation = meter.reserve(who, args, kwargs)
            ran = False
            try:
                result = fn(*args, **kwargs)
                ran = True
            finally:
                if not ran:
                    _release(reservation)
            _commit(reservation)
            return result

        return counted

    return decorate


def _counted_async(meter: _Meter, who: FromCall, fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fn)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        reservation = await _off_loop(functools.partial(meter.reserve, who, args, kwargs))
        ran = False
        try:
            result = await fn(*args, **kwargs)
            ran = True
        finally:
            if not ran:
                await _off_loop(functools.partial(_release, reservation))
        await _off_loop(functools.partial(_commit, reservation))
        return result

    return counted


def _commit(reservation: Reservation) -> None:
    """Count the call; one whose key was counted before is not counted again."""
    if reservation.state != _COUNTED:
        reservation.commit()


def _release(reservation: Reservation) -> None:
    """Give the units back. One that another call with the same key made is left: that call may still be running."""
    if reservation.state != _COUNTED and not reservation.replayed:
        reservation.release()


async def _off_loop(fn: Callable[[], Any]) -> Any:
    """Run it in a thread, to its end also when the call is cancelled. What a cancelled call may still leave reserved is
    free again after `expires_in`."""
    import anyio  # only where it is used: importing it costs

    with anyio.CancelScope(shield=True):
        return await anyio.to_thread.run_sync(fn)


def _reader(fn: Callable[..., Any], customer: str | FromCall) -> FromCall:
    """How the customer is found in the arguments of a call.

    Raises:
        ConfigurationError: the function has no such argument, or is a generator: it would be counted before it runs.
    """
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise ConfigurationError(f"{fn.__qualname__} is a generator: decorate the function that consumes it.")
    if callable(customer):
        return customer
    signature = inspect.signature(fn)
    if customer not in signature.parameters:
        raise ConfigurationError(f"{fn.__qualname__} has no argument {customer!r} to take the customer from.")

    def read(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments[customer]

    return read
