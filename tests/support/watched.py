"""Clients of the servers in `support.served` that call the places of the provider, in their own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agentpay.clock import Clock, SystemClock
from agentpay.providers.base import Finding, Order, Reference, RefundOrder, Request, Steps
from agentpay.providers.outcomes import Outcome
from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.stripe import StripeProvider
from agentpay.providers.stripe_settings import stripe_config
from agentpay.providers.stripe_wire import Timeouts
from agentpay_policies.money import Money
from support.failing import Place
from support.served import ask

_SECONDS: Final = 5.0

SCRIPT: Final[Mapping[int, str]] = {
    1: "decline",
    21: "timeout_before",
    22: "timeout_after",
    23: "error_after",
    26: "malformed",
}
"""How a charge of 13.<number>, or a refund of 14.<number>, ends when it is first sent: the mock's numbers, for random
runs."""


@dataclass
class Watch:
    """Calls the places around the requests that move money. `lost`: the next of them does not arrive.

    A client cannot see when its server takes a request: `before_provider` is right before it is sent, `after_move`
    before the engine hears of a call by which money moved.
    """

    kind: str
    url: str
    clock: Clock
    reached: Callable[[Place], None]
    moving: frozenset[str]
    lost: bool = False

    def sent(self, steps: Steps, call: Callable[[Steps], Outcome], money: Money | None = None) -> Outcome:
        """A call that may move money."""
        ending = _scripted(money)
        if ending is not None and ask(self.kind, self.url, "is_first", steps.key):
            self.arrange(ending)
        before = self.moved()
        try:
            return call(WatchedSteps(steps, self))
        finally:
            if self.moved() > before:
                self.reached("after_move")
            if ending is not None:
                self.arrange("ok")

    def arrange(self, ending: str) -> None:
        """Let the next request that moves money end so."""
        self.lost = ending == "timeout_before"
        ask(self.kind, self.url, "arrange", ending)

    def moved(self) -> int:
        """How often money moved at the server, whose clock goes by this one's."""
        found: int = ask(self.kind, self.url, "at", self.clock.now())
        return found

    def sending(self, request: Request) -> None:
        """A request is about to be sent."""
        if request["op"] in self.moving and not self.lost:
            self.reached("before_provider")


def _scripted(money: Money | None) -> str | None:
    whole, number = divmod(0 if money is None else money.minor, 100)
    return SCRIPT.get(number) if whole in (13, 14) else None


class WatchedSteps:
    """Steps whose key is read once the request is about to be sent."""

    def __init__(self, inner: Steps, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch
        self._told: str | None = None

    @property
    def key(self) -> str:
        key = self._inner.key
        if key != self._told:
            self._told = key
            self._watch.sending(self._inner.request)
        return key

    @property
    def request(self) -> Request:
        return self._inner.request

    def record(self, name: str, request: Request, *, reference: str) -> None:
        self._inner.record(name, request, reference=reference)


class WatchedStripe(StripeProvider):
    """Stripe's client, watched."""

    def __init__(self, url: str, clock: Clock | None, reached: Callable[[Place], None]) -> None:
        config, lease = stripe_config(**ask("stripe", url, "settings")), timedelta(seconds=2)
        super().__init__(config, clock=clock, timeouts=Timeouts(connect=1.0, read=_SECONDS), lease=lease)
        self.watch = Watch("stripe", url, clock or SystemClock(), reached, frozenset({"confirm", "refund"}))

    def charge(self, order: Order, steps: Steps) -> Outcome:
        return self.watch.sent(steps, lambda watched: super(WatchedStripe, self).charge(order, watched), order.money)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        return self.watch.sent(steps, lambda watched: super(WatchedStripe, self).resume(reference, watched))

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:
        return self.watch.sent(steps, lambda watched: super(WatchedStripe, self).refund(order, watched), order.money)

    def lookup(self, reference: Reference) -> Finding:
        self.watch.moved()
        return super().lookup(reference)


class WatchedPayPal(PayPalProvider):
    """PayPal's client, watched."""

    def __init__(self, url: str, clock: Clock | None, reached: Callable[[Place], None]) -> None:
        super().__init__(**ask("paypal", url, "settings"), timeout=_SECONDS, clock=clock)
        self.watch = Watch("paypal", url, clock or SystemClock(), reached, frozenset({"charge", "refund"}))

    def charge(self, order: Order, steps: Steps) -> Outcome:
        return self.watch.sent(steps, lambda watched: super(WatchedPayPal, self).charge(order, watched), order.money)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:
        return self.watch.sent(steps, lambda watched: super(WatchedPayPal, self).refund(order, watched), order.money)

    def lookup(self, reference: Reference) -> Finding:
        self.watch.moved()
        return super().lookup(reference)
