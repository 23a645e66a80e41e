"""The mock provider: no network, real books, and faults on demand. It is faithful enough to find faults of ours.

Its books are its own (`mock_store`), with real idempotency: a key and its request have one answer for ever, and a
second delivery moves nothing. It collects and it sends: a collect brings money to the operator's clearing, or to the
payee; a send takes it from a wallet that has no bottom. It takes every payee and currency. It never sleeps unless told.

What it does is scripted by amount or customer: `mock_script.SCRIPT`, with `decline-…` or 13.01, `pending-…` or 13.10,
and so on. A network fault (time-out after the money moved, status 500, …) meets the first delivery of a request; a
second delivery of it gets the stored answer, as at a real provider. A request that never arrived leaves nothing.

The key of one request with another request is the caller's fault: it raises `ProviderError`, which the engine takes as
Unknown, since it says nothing about the request that the key belongs to.

Within the lease (1 s) a request is taken or never: the books check its age under their lock. So a look-up that finds
nothing after the lease proves that nothing was done and nothing will be.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, get_args
from urllib.parse import quote

from agentpay.clock import Clock, SystemClock
from agentpay.errors import ConfigurationError, StorageError, ValidationError
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Found,
    Health,
    Mode,
    NotFound,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    SetupOrder,
    SetupPage,
    Steps,
)
from agentpay.providers.events import WebhookEvent
from agentpay.providers.mock_books import ORDER_PREFIX, Books, TooLate
from agentpay.providers.mock_outside import Elsewhere
from agentpay.providers.mock_records import Answer, Completion, MockCharge, MockRefund, Movement, Reply
from agentpay.providers.mock_script import (
    SCRIPT,
    Fault,
    Scenario,
    Script,
    for_charge,
    for_refund,
    named,
    no_script,
    script_from_environment,
)
from agentpay.providers.mock_store import books_beside
from agentpay.providers.mock_webhooks import SECRET, SignedEvent, parsed, secret_from_environment, signed
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay_policies.money import Money
from agentpay_policies.payees import PayeeKind

__all__ = ["SCRIPT", "MockCharge", "MockProvider", "MockRefund", "Movement", "from_settings"]

LEASE: Final = timedelta(seconds=1)
METHODS: Final = frozenset({"card", "bank_transfer", "wallet", "stablecoin:usdc", "stablecoin:usdt"})
NOBODY: Final = "nobody-"
"""A reference that begins so is no customer of the mock's: `link_customer` is refused."""

_MEMO: Final = 140
_SLOW_SECONDS: Final = 0.2


class MockProvider(Plain):
    """The provider of section "mock"; see the module. Safe to share between threads, and over processes by its books.

    `books_url` is the URL of the books themselves; `from_settings` derives it from the engine's database. `script` is
    called at named points (`mock_script.Point`), `sleep` only by the scenario "slow".
    """

    def __init__(
        self,
        books_url: str,
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
        script: Script | None = None,
        slow_seconds: float = _SLOW_SECONDS,
        webhook_secret: str = SECRET,
    ) -> None:
        self._clock = clock or SystemClock()
        self._books = Books(books_url, self._clock)
        self._sleep = sleep
        self._script = script or no_script
        self._slow_seconds = slow_seconds
        self._webhook_secret = webhook_secret
        self.elsewhere = Elsewhere(self._books, self._clock)
        self._forced: deque[Scenario] = deque()
        self._forcing = threading.Lock()

    # -- the protocol ----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "mock"

    @property
    def account(self) -> str:
        return "mock"

    @property
    def mode(self) -> Mode:
        return "test"

    def capabilities(self) -> Capabilities:
        return Capabilities(
            currencies="any",
            payees=frozenset(get_args(PayeeKind)),
            methods=METHODS,
            checkout=True,
            saved_methods=True,
            key_life=None,
            lease=LEASE,
            consistent_lookup=True,
            longest_memo=_MEMO,
            webhooks=True,
        )

    def health(self) -> Health:
        try:
            self._books.ping()
        except StorageError as exc:
            return Health(False, exc.message)
        return Health(True, "The mock's books answer.")

    def prepare(self, order: Order) -> Request:
        several = for_charge(order.customer, order.money).steps > 1
        page = {} if order.checkout is None else {"page": order.checkout.success}
        return {
            **page,
            "op": "create" if several and not page else "charge",
            "payment_id": order.payment_id,
            "customer": order.customer,
            "amount": str(order.money.amount),
            "currency": order.money.currency,
            "payee": order.payee.canonical,
            "method": order.method,
            "memo": order.memo,
        }

    def prepare_refund(self, order: RefundOrder) -> Request:
        return {
            "op": "refund",
            "refund_id": order.refund_id,
            "charge": order.charge_reference,
            "amount": str(order.money.amount),
            "currency": order.money.currency,
        }

    def prepare_resume(self, reference: str) -> Request | None:
        return {"op": "capture", "charge": reference} if reference.startswith(ORDER_PREFIX) else None

    def charge(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002 - what is sent is what was stored
        return self._run(steps)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:  # noqa: ARG002
        return self._run(steps)

    def checkout(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002
        return self._run(steps)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        if self.prepare_resume(reference) is not None:
            return self._run(steps)
        answer = self._books.state(reference)
        return Unknown("The mock does not know it.", reference) if answer is None else _outcome(answer)

    def lookup(self, reference: Reference) -> Finding:
        answer = self._books.find(reference.key)
        return NotFound() if answer is None else Found(_outcome(answer))

    def link(self, customer: str, reference: str) -> None:  # noqa: ARG002
        if reference.startswith(NOBODY):
            raise ValidationError(f"The mock has no customer {reference[:60]!a}.")

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:  # noqa: ARG002 - the same key, the same page
        reference = "mset_" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        return SetupPage(reference, f"https://mock.invalid/save/{reference}")

    def portal(self, customer: str, return_url: str) -> str:  # noqa: ARG002
        """The address of a page that is none."""
        return f"https://mock.invalid/portal/{quote(customer, safe='')}"

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
        return parsed(body, headers, now, secret=self._webhook_secret, account=self.account)

    def close(self) -> None:
        self._books.close()

    # -- for tests and demonstrations ----------------------------------------------------------------------------------

    def force(self, scenario: str, *, times: int = 1) -> None:
        """Let the next first requests of this object go by a scenario, whatever their amount and customer.

        Raises:
            ConfigurationError: no such scenario, or one of several requests, which only an order can ask for.
        """
        found = named(scenario)
        if found.steps > 1:
            raise ConfigurationError(f"{scenario!r} takes several requests: use its amount or its customer.")
        with self._forcing:
            self._forced.extend([found] * times)

    def complete(self, reference: str, status: Completion) -> None:
        """Let a pending charge or refund end: `succeeded` or `declined`. From any process.

        Raises:
            NotFound: no such reference.
            Conflict: it is not pending.
        """
        self._books.complete(reference, status)

    def customer_acts(self, reference: str, *, approve: bool = True) -> None:
        """Let the customer approve, or refuse, what a charge waits for. From any process.

        Raises:
            NotFound: no such reference.
            Conflict: it does not wait for its customer.
        """
        self._books.customer_acts(reference, approve=approve)

    def webhook(self, reference: str, *, key: bool = True) -> SignedEvent:
        """The webhook that the mock would send now of a charge, refund, dispute or reversal: what it is at this moment.
        Without `key`, it does not give our own key back. Kept, it can be delivered late, twice, or out of order.

        Raises:
            NotFound: no such reference.
        """
        event = self.elsewhere.event(reference, key=key)
        return signed(event, secret=self._webhook_secret, at=self._clock.now())

    def movements(self) -> list[Movement]:
        """Every movement of money, oldest first: the independent auditor's source."""
        return self._books.movements()

    def charges(self) -> list[MockCharge]:
        """Every charge and send that the books hold."""
        return self._books.charges()

    def refunds(self) -> list[MockRefund]:
        """Every refund that the books hold."""
        return self._books.refunds()

    def requests(self) -> list[tuple[str, Request]]:
        """Every request that was taken, as (key, request)."""
        return list(self._books.requests())

    def balance(self, account: str, currency: str) -> int:
        """What an account of the books has gained, in minor units: `clearing`, `wallet`, `customer:…` or a payee."""
        moved = [movement for movement in self.movements() if movement.money.currency == currency]
        gained = sum(movement.money.minor for movement in moved if movement.target == account)
        return gained - sum(movement.money.minor for movement in moved if movement.source == account)

    # -- sending -----------------------------------------------------------------------------------------------------

    def _run(self, steps: Steps) -> Outcome:
        """Send the stored request, and each that has to follow it, once it is recorded."""
        while True:
            reply = self._deliver(steps.key, steps.request)
            if not isinstance(reply, Reply):
                return reply
            answer = reply.answer
            if answer.next is None:
                return _outcome(answer)
            steps.record(answer.next, {"op": answer.next, "charge": answer.reference}, reference=answer.reference)

    def _deliver(self, key: str, request: Request) -> Reply | Outcome:
        """One request over a network that the scenario may break."""
        sent_at = self._clock.now()
        scenario = self._scenario(request)
        fault = scenario.fault_for(str(request["op"]))
        if fault == "unreachable":
            return NotSent("Connection refused: nothing was sent.")
        if fault == "timeout_before":
            return Unknown("Timed out waiting for an answer.", _charge_of(request))
        if fault == "slow":
            self._sleep(self._slow_seconds)
        self._script("before_move", key, request)
        try:
            reply = self._books.submit(key, dict(request), scenario=scenario, sent_at=sent_at, wait=LEASE)
            if fault == "duplicate":
                self._books.submit(key, dict(request), scenario=scenario, sent_at=sent_at, wait=LEASE)
        except TooLate:
            return Unknown("Timed out: the request was not taken in time.", _charge_of(request))
        if reply.moved:
            self._script("after_move", key, request)
        self._script("before_answer", key, request)
        return reply if reply.replayed else _received(reply, fault, request)

    def _scenario(self, request: Request) -> Scenario:
        if request["op"] in ("confirm", "capture"):
            return self._books.scenario_of(str(request["charge"]))
        with self._forcing:
            if self._forced:
                return self._forced.popleft()
        money = Money(str(request["amount"]), str(request["currency"]))
        return for_refund(money) if request["op"] == "refund" else for_charge(str(request["customer"]), money)


def _received(reply: Reply, fault: Fault | None, request: Request) -> Reply | Outcome:
    """What is left of an answer after its way back."""
    if fault == "timeout_after":
        return Unknown("Timed out waiting for an answer.", _charge_of(request))
    if fault == "error_after":
        return Unknown("Status 500.", _charge_of(request))
    if fault == "malformed":
        return Unknown("The answer is no JSON.", _charge_of(request))
    if fault == "raises":
        raise RuntimeError("the mock was told to raise")
    return reply


def _charge_of(request: Request) -> str | None:
    """The provider's id of the charge that a later request of it names already."""
    return str(request["charge"]) if request["op"] in ("confirm", "capture") else None


def _outcome(answer: Answer) -> Outcome:
    if answer.status == "succeeded":
        return Succeeded(answer.reference)
    if answer.status == "pending":
        return Pending(answer.reference)
    if answer.status == "declined":
        code = answer.code or "generic_decline"
        return Declined(code, f"The mock declined: {code}.", answer.reference)
    if answer.status in ("created", "confirmed"):
        return RequiresAction(answer.reference, instructions="It was begun and not captured: continue the payment.")
    return RequiresAction(answer.reference, url=answer.url, instructions=answer.instructions)


def from_settings(
    *,
    database_url: str | None = None,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
    script: Script | None = None,
) -> MockProvider:
    """The mock for an engine's database: its books lie beside it, found by every process on that database.

    `database_url` is required. For `memory://` pass the URL of the temporary file that the engine made. Where no
    script is given, AGENTPAY_MOCK_CRASH may ask for one that ends the process: only the mock reads it, and the mock
    is never live.

    Raises:
        ConfigurationError: no database URL, or one that is none; a bad AGENTPAY_MOCK_CRASH.
    """
    if database_url is None:
        raise ConfigurationError("The mock keeps its books beside the engine's database: give it database_url.")
    script = script or script_from_environment()
    secret = secret_from_environment()
    return MockProvider(books_beside(database_url), clock=clock, sleep=sleep, script=script, webhook_secret=secret)
