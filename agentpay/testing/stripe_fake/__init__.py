"""A Stripe of our own, for tests and demonstrations: a real socket, driven through the real SDK; no money, no key.

    with StripeFake() as fake:
        provider = fake.provider()
        customer = fake.customer()             # with a saved card that pays; `fake.customer("decline:expired_card")`
        fake.fail("timeout_after", op="confirm")
        ...
        assert len(fake.effects()) == 1

It keeps what the real one promises: a key and its request have one answer, a key with another request is refused,
nothing is refunded twice, an intent is paid once. Where they differ: it knows only what our provider asks, its lists
never lag, and its cards do what they are told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentpay.clock import Clock, SystemClock
from agentpay.providers.base import Request
from agentpay.testing.stripe_fake.books import Books, Effect
from agentpay.testing.stripe_fake.faults import FaultName
from agentpay.testing.stripe_fake.pages import Pages
from agentpay.testing.stripe_fake.routes import Routes
from agentpay.testing.stripe_fake.server import Front, Seen, Server

if TYPE_CHECKING:
    from agentpay.providers.stripe import StripeProvider

__all__ = ["Effect", "FaultName", "StripeFake"]

API_KEY = "sk_test_fake0000000000000000"
WEBHOOK_SECRET = "whsec_fake0000000000000000"  # noqa: S105 - it opens nothing but the fake
ACCOUNT = "acct_fake00000000000"


class StripeFake:
    """A server with books. Close it, or use it in a `with`."""

    def __init__(self, *, clock: Clock | None = None, account: str = ACCOUNT) -> None:
        self.books = Books(clock or SystemClock())
        self.pages = Pages(self.books)
        self._front = Front(Routes(self.books, self.pages, account), {API_KEY})
        self._server = Server(self._front)
        self.account = account

    @property
    def url(self) -> str:
        """Where it answers."""
        return self._server.url

    def provider(self, **options: Any) -> StripeProvider:
        """A provider that asks this server; see `agentpay.providers.stripe.from_settings`."""
        from agentpay.providers.stripe import from_settings

        given = {"api_key": API_KEY, "webhook_secret": WEBHOOK_SECRET, "api_base": self.url, "clock": self.books.clock}
        return from_settings(**{**given, **options})

    # -- who is there ----------------------------------------------------------------------------------------------

    def customer(self, act: str | None = "ok", *, customer_id: str | None = None, **method: Any) -> str:
        """A customer, with a saved method that acts so: ok, decline:<code>, error:<code>, authenticate, slow. None:
        nothing is saved."""
        with self.books.lock:
            made = self.books.add_customer(customer_id)
            if act is not None:
                self.books.add_method(made, act, **method)
            return made

    def connected(self, account: str) -> None:
        """An account that payments may go to."""
        self.books.accounts[account] = {}

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which another process asks this server."""
        return {"STRIPE_API_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET, "STRIPE_API_BASE": self.url}

    def accept(self, api_key: str) -> None:
        """Let another key in."""
        self._front.api_keys.add(api_key)

    # -- what happens ----------------------------------------------------------------------------------------------

    def customer_acts(self, reference: str, *, approve: bool = True) -> None:
        """The customer pays on the page, or by the wallet, that a payment waits for; or does not."""
        with self.books.lock:
            if reference.startswith("cs_"):
                self.pages.act(reference, "card" if approve else "turn_back")
            else:
                self.books.end_intent(reference, paid=approve)

    def fail(
        self, name: FaultName, *, op: str | None = None, key: str | None = None, times: int = 1, skip: int = 0
    ) -> None:
        """Let requests fail: of a kind (create, confirm, cancel, touch, crypto, page, setup, refund; intent, intents, …
        for reading), or of a key; `skip` of them pass before."""
        self._front.faults.add(name, op=op, key=key, times=times, skip=skip)

    def heal(self) -> None:
        """No fault waits any more."""
        self._front.faults.clear()

    def forget_keys(self) -> None:
        """What Stripe does after a day: an old key is new again."""
        self._front.forget_keys()

    # -- what was done ---------------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """Every movement of money, the first first: the independent auditor's source."""
        with self.books.lock:
            return list(self.books.effects)

    def seen(self) -> list[Seen]:
        """Every request with a key that was taken, as it arrived."""
        return list(self._front.seen)

    def requests(self) -> Sequence[tuple[str, Request]]:
        """The same, as (key, the request that our provider stored)."""
        return [(str(one.key), _as_stored(one)) for one in self.seen()]

    def events(self) -> list[dict[str, Any]]:
        """Every event, the first first."""
        with self.books.lock:
            return list(self.books.events)

    def signed(
        self, event: dict[str, Any], *, secret: str = WEBHOOK_SECRET, at: datetime | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """An event as it is delivered: its body, and its headers with a signature."""
        import stripe

        body = json.dumps(event)
        sent = int((at or self.books.clock.now()).timestamp())
        return body.encode(), {
            "stripe-signature": stripe.WebhookSignature.generate_signature_header(body, secret, sent)
        }

    def close(self) -> None:
        """Stop answering."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _as_stored(seen: Seen) -> Request:
    from agentpay.providers.stripe_requests import without_key

    about = {} if seen.about is None else {"intent": seen.about}
    return {"op": seen.op, **about, "params": without_key(_typed(seen.params))}


def _typed(value: Any) -> Any:
    """What a form made text, as it was: numbers and truths."""
    if isinstance(value, dict):
        return {name: _typed(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_typed(one) for one in value]
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isascii() and value.isdigit() else value
