"""PayPal and Venmo: orders, refunds, saved methods, payouts, webhooks.

| charge of | is |
|---|---|
| a customer without a saved method | two requests: an order, whose link the payer approves; then `resume` captures it |
| a customer with one (`link_customer`: `paypal:<vault id>`) | one request, which takes the money |
| `paypal:<merchant id>` | either, and that merchant is paid |
| `paypal:<e-mail>` | a payout, which is pending until its item has come to its end |

Each request is sent once, under a PayPal-Request-Id made from its own attempt's key. An order that was approved is not
paid: only a capture that is COMPLETED, of the amount that was asked for, is. What PayPal says and our tables do not
know is Unknown.

Look-ups go by PayPal's ids. Where an answer was lost: a capture is seen in its order, a refund in the order of its
capture, a charge of a saved method in PayPal's list of transactions (up to three hours later), a payout in the events
that PayPal keeps. An order whose own answer was lost can never be paid, since nobody has its link and only our capture
takes money: it counts as not sent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from agentpay.clock import Clock, SystemClock
from agentpay.errors import ConfigurationError, ProviderError, ValidationError
from agentpay.providers import paypal_errors as errors
from agentpay.providers import paypal_reading as reading
from agentpay.providers import paypal_requests as requests
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Health,
    Mode,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    ReturnUrls,
    SetupOrder,
    SetupPage,
    Steps,
)
from agentpay.providers.events import WebhookEvent
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, Unknown
from agentpay.providers.paypal_client import Answer, Client, Credentials, Lost, NotTaken, Reply
from agentpay.providers.paypal_events import EVENTS, webhook_event, webhook_events
from agentpay.providers.paypal_ids import WALLETS, request_id, split, vaulted
from agentpay.providers.paypal_lookups import Lookups
from agentpay.providers.paypal_money import CURRENCIES
from agentpay.providers.paypal_settings import ENDPOINTS, PayPalSettings, checked_endpoint, checked_mode
from agentpay.providers.paypal_webhooks import Verifier

if TYPE_CHECKING:
    import paypalrestsdk

logger = logging.getLogger(__name__)

KEY_LIFE: Final = timedelta(hours=6)
"""How long PayPal remembers the request id of an order; that of a refund it remembers for 45 days."""

EXCHANGES: Final = 4
"""For how many times `timeout` all exchanges of one call may last together: a token and a request, each once more. The
lease is a quarter longer, for what no time-out measures: the look-up of a name, the last read."""

_POLLED: Final = timedelta(hours=6)
_POLL_EVERY: Final = timedelta(minutes=15)
_POLLED_PAGES: Final = 20


@dataclass(frozen=True)
class PayPalSubscription:
    """A subscription of PayPal's own, as it stands there."""

    id: str
    status: str
    plan_id: str | None
    next_billing_at: str | None


class PayPalProvider(Plain):
    """PayPal, for one account in one mode. Safe to share between threads; opens no connection until it is used.

    `endpoint` is PayPal's own where it is not given. Without a `verifier` no webhook is believed.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        mode: Mode = "test",
        endpoint: str | None = None,
        verifier: Verifier | None = None,
        urls: ReturnUrls | None = None,
        timeout: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        if not client_id or not client_secret:
            raise ConfigurationError("PayPal needs PAYPAL_CLIENT_ID and PAYPAL_CLIENT_SECRET.")
        address = checked_endpoint(endpoint or ENDPOINTS[mode], mode)
        self._client = Client(Credentials(client_id, client_secret, mode, address), timeout=timeout)
        self._lookups = Lookups(self._client, clock or SystemClock())
        self._verifier = verifier
        self._urls = urls
        self._polled_at: datetime | None = None
        self._longest = timeout * EXCHANGES

    @classmethod
    def from_paypalrestsdk(cls, api: paypalrestsdk.Api, **options: Any) -> PayPalProvider:
        """PayPal as a `paypalrestsdk.Api` is configured for it: credentials, mode, endpoint. The object itself is not
        used: it has no time-outs.

        Raises:
            ModeMismatch: it is live without AGENTPAY_LIVE=1, or of the sandbox with it.
            ConfigurationError: its endpoint is none that is encrypted, or of the other mode.
        """
        return cls(
            client_id=api.client_id,
            client_secret=api.client_secret,
            mode=checked_mode(api.mode, live=_live()),
            endpoint=str(api.endpoint),
            **options,
        )

    def __repr__(self) -> str:
        return f"<PayPalProvider {self.account} ({self.mode})>"

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "paypal"

    @property
    def account(self) -> str:
        return self._client.credentials.client_id

    @property
    def mode(self) -> Mode:
        return self._client.credentials.mode

    def capabilities(self) -> Capabilities:
        return Capabilities(
            currencies=CURRENCIES,
            payees=frozenset({"self", "paypal_merchant", "paypal_email"}),
            checkout=True,
            saved_methods=True,
            methods=WALLETS,
            key_life=KEY_LIFE,
            lease=timedelta(seconds=self._longest * 1.25),
            consistent_lookup=False,
            replay=True,
            longest_memo=requests.LONGEST_MEMO,
            webhooks=self._verifier is not None,
        )

    def health(self) -> Health:
        answer = self._client.authenticate()
        if not isinstance(answer, Reply):
            return Health(False, f"PayPal does not answer: {answer.why}.")
        if answer.status == 200:
            return Health(True, f"PayPal answers ({self.mode}).")
        problem = errors.problem(answer.status, answer.body)
        why = errors.CREDENTIALS if problem.status == 401 else f"PayPal answered {problem.status}"
        return Health(False, f"{why} ({problem.issue}).")

    # -- money -----------------------------------------------------------------------------------------------------

    def prepare(self, order: Order) -> Request:
        return requests.charge(order, order.checkout or self._urls)

    def prepare_refund(self, order: RefundOrder) -> Request:
        return requests.refund(order)

    def prepare_resume(self, reference: str) -> Request | None:
        return requests.capture(reference)

    def charge(self, order: Order, steps: Steps) -> Outcome:  # noqa: ARG002
        with self._client.within(self._longest):
            return self._payout(steps) if steps.request["op"] == "payout" else self._order(steps)

    def _order(self, steps: Steps) -> Outcome:
        saved = steps.request["op"] == "charge"
        body = requests.sent(steps.request, steps.key)
        answer = self._client.create_order(body, request_id(steps.key))
        if isinstance(answer, Reply) and answer.good:
            return reading.order(answer.body, key=steps.key, expected=reading.mark_of(body))
        return _refused(answer, gone="saved_method_gone" if saved else None)

    def checkout(self, order: Order, steps: Steps) -> Outcome:
        return self.charge(order, steps)

    def resume(self, reference: str, steps: Steps) -> Outcome:
        """Capture an approved order. One that was captured before answers with that capture; one that is not approved
        still waits; one that is gone, or is not ours, is declined, and nothing is taken."""
        with self._client.within(self._longest):
            return self._captured(reference, str(steps.request["order"]), steps.key)

    def _captured(self, reference: str, order_id: str, key: str) -> Outcome:
        before = self._client.order(order_id)
        if not (isinstance(before, Reply) and before.good):
            return _unread(before, reference)
        stands = reading.order(before.body)
        if not reading.is_ours(before.body) and not reading.has_captures(before.body):
            return Declined(
                "order_mismatch", "PayPal's order is not what was ordered: nothing was captured.", reference
            )
        if stands != Pending(reference):
            return stands
        answer = self._client.capture_order(order_id, request_id(key))
        if isinstance(answer, Reply) and answer.good:
            return reading.order(answer.body, expected=reading.mark_of(before.body))
        if isinstance(answer, Reply) and errors.problem(answer.status, answer.body).means in ("done", "not_approved"):
            return self._lookups.order(order_id) or Unknown("the order could not be read", reference)
        return _refused(answer, gone="order_expired", reference=reference)

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:  # noqa: ARG002 - what is sent is what was stored
        body = requests.sent(steps.request, steps.key)
        with self._client.within(self._longest):
            answer = self._client.refund(str(steps.request["capture"]), body, request_id(steps.key))
        if isinstance(answer, Reply) and answer.good:
            return reading.refund(answer.body, expected=requests.asked(steps.request), key=steps.key)
        return _refused(answer, gone="charge_unknown")

    def _payout(self, steps: Steps) -> Outcome:
        money = requests.asked(steps.request)
        answer = self._client.create_payout(requests.sent(steps.request, steps.key), request_id(steps.key))
        if isinstance(answer, Reply) and answer.good:
            return reading.payout(answer.body, expected=money, key=steps.key)
        first = _batch_in(answer)  # the same payout again: PayPal names the one that it made first
        if first is not None:
            return self._lookups.payout(first, money, steps.key) or Unknown("the first payout could not be read")
        return _refused(answer)

    def lookup(self, reference: Reference) -> Finding:
        with self._client.within(self._longest):
            return self._lookups.find(reference)

    # -- customers and their methods -------------------------------------------------------------------------------

    def link(self, customer: str, reference: str) -> None:  # noqa: ARG002 - a saved method names its own
        saved = vaulted(reference)
        if saved is None:
            raise ValidationError("A saved method of PayPal's is written paypal:<vault id> or venmo:<vault id>.")
        answer = self._client.payment_token(saved[1])
        if isinstance(answer, Reply) and answer.status == 404:
            raise ValidationError(f"This account of PayPal's has no saved method {reference}.")
        source = _good(answer, "read the saved method").get("payment_source")
        if not isinstance(source, Mapping) or saved[0] not in source:
            raise ValidationError(f"The saved method {saved[1]} is none of {saved[0]}.")

    def setup_method(self, order: SetupOrder, key: str) -> SetupPage:
        """Begin to save a method. Once its owner approved on the page, `save_method` keeps it."""
        found = _good(
            self._client.create_setup_token(requests.setup(order), request_id(key)), "begin to save the method"
        )
        page = reading.page_of(found)
        if page is None or split(f"order:{found.get('id')}")[0] is None:
            raise ProviderError("PayPal named no page on which the method is saved. No money moved.")
        return SetupPage(str(found["id"]), page)

    def save_method(self, setup: str) -> str:
        """Keep a method whose owner approved on its page; `setup` is the page's `reference`. The answer is what
        `link_customer` takes. Safe to repeat.

        Raises:
            ProviderError: it was not approved, is not known, or PayPal does not answer. No money moved.
        """
        body = requests.payment_token(setup)
        found = _good(self._client.create_payment_token(body, request_id(f"save\n{setup}")), "save the method")
        source = found.get("payment_source")
        wallet = next((one for one in sorted(WALLETS) if isinstance(source, Mapping) and one in source), None)
        kept = f"{wallet}:{found.get('id')}"
        if wallet is None or vaulted(kept) is None:
            raise ProviderError("PayPal saved no method of a wallet. No money moved.")
        return kept

    def subscription(self, subscription_id: str) -> PayPalSubscription | None:
        """How a subscription of PayPal's own stands, for those who bring some along; None where there is none.

        Raises:
            ProviderError: PayPal does not answer.
        """
        answer = self._client.subscription(subscription_id)
        if isinstance(answer, Reply) and answer.status == 404:
            return None
        found = _good(answer, "read the subscription")
        billing = found.get("billing_info")
        following = billing.get("next_billing_time") if isinstance(billing, Mapping) else None
        return PayPalSubscription(
            id=str(found.get("id")),
            status=str(found.get("status")).lower(),
            plan_id=_text(found.get("plan_id")),
            next_billing_at=_text(following),
        )

    # -- webhooks --------------------------------------------------------------------------------------------------

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> WebhookEvent:
        if self._verifier is None:
            raise self._unsupported("webhooks while PAYPAL_WEBHOOK_ID is not set")
        told = self._verifier.verified(body, headers, now, self._client)
        return webhook_event(told, self.account)

    def poll(self, now: datetime) -> Sequence[WebhookEvent]:
        """The events of the last hours as PayPal keeps them, for those whose delivery failed: asked for every 15
        minutes at most, whoever calls this how often. PayPal keeps events only for accounts that have a webhook.

        Raises:
            ProviderError: PayPal does not answer.
        """
        if self._verifier is None or (self._polled_at is not None and now < self._polled_at + _POLL_EVERY):
            return ()
        self._polled_at = now
        since = (now - _POLLED).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = f"page_size=300&start_time={since}&end_time={now:%Y-%m-%dT%H:%M:%SZ}"
        with self._client.within(self._longest):
            told = self._told(query)
        return list(webhook_events(told, self.account))

    def _told(self, query: str | None) -> list[object]:
        """The pages of a list of events, the newest first. Where a later one is not answered, those before it count."""
        told: list[object] = []
        for _ in range(_POLLED_PAGES):
            if query is None:
                return told
            answer = self._client.events(query)
            if told and not (isinstance(answer, Reply) and answer.good):
                break
            page = _good(answer, "list its events")
            listed = page.get("events")
            told += listed if isinstance(listed, list) else []
            query = reading.next_of(page) if listed else None
        logger.warning("PayPal has more events of the last hours than could be read: the newest were")
        return told

    def refetch_event(self, event_id: str) -> WebhookEvent:
        """An event as PayPal keeps it, by PayPal's id.

        Raises:
            ProviderError: there is none, or PayPal does not answer.
        """
        return webhook_event(_good(self._client.event(event_id), "give the event"), self.account)

    def register_webhook(self, url: str) -> str:
        """Have the events that mean something here sent to an address; the answer is PAYPAL_WEBHOOK_ID.

        Raises:
            ProviderError: PayPal refused, or does not answer.
        """
        body = {"url": url, "event_types": [{"name": name} for name in EVENTS]}
        return str(_good(self._client.create_webhook(body), "register the webhook").get("id"))

    def close(self) -> None:
        self._client.close()


def from_settings(
    *,
    client_id: str | None = None,
    client_secret: str | None = None,
    mode: str | None = None,
    webhook_id: str | None = None,
    webhook_verification: str | None = None,
    return_url: str | None = None,
    cancel_url: str | None = None,
    timeout: float | None = None,
    endpoint: str | None = None,
    clock: Clock | None = None,
) -> PayPalProvider:
    """PayPal by its settings; see `paypal_settings`. What is given wins over them.

    Raises:
        ConfigurationError: a setting is missing or wrong.
        ModeMismatch: live without AGENTPAY_LIVE=1, or the sandbox with it.
    """
    from agentpay.settings import load

    settings = load(
        PayPalSettings,
        client_id=client_id,
        client_secret=client_secret,
        mode=mode,
        webhook_id=webhook_id,
        webhook_verification=webhook_verification,
        return_url=return_url,
        cancel_url=cancel_url,
        timeout=timeout,
    )
    verifier = None
    if settings.webhook_id is not None:
        verifier = Verifier(settings.webhook_id, by_endpoint=settings.webhook_verification == "endpoint")
    return PayPalProvider(
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        mode=checked_mode(settings.mode, live=_live()),
        endpoint=endpoint,
        verifier=verifier,
        urls=settings.urls,
        timeout=settings.timeout,
        clock=clock,
    )


def _live() -> bool:
    from agentpay.settings import load_settings

    return load_settings().live


def _refused(answer: Answer, *, gone: str | None = None, reference: str | None = None) -> Outcome:
    """What an answer that is no success proves. `gone`: the code where what the request names is not there."""
    if isinstance(answer, NotTaken):
        return NotSent(f"PayPal was not reached: {answer.why}.")
    if isinstance(answer, Lost):
        return Unknown(f"PayPal's answer was lost: {answer.why}", reference)
    if 200 <= answer.status < 300:
        return Unknown("PayPal's answer makes no sense", reference)
    problem = errors.problem(answer.status, answer.body)
    if problem.means == "gone" and gone is not None:
        return Declined(gone, f"PayPal does not have it: {problem.issue}.", reference)
    if problem.means == "not_approved":
        return Declined("payer_action_required", "PayPal wants the payer to approve it, who is not there.", reference)
    return errors.outcome_of(problem, reference)


def _unread(answer: Answer, reference: str) -> Outcome:
    """An order could not be read, so its capture was not sent."""
    if isinstance(answer, Reply) and answer.status == 404:
        return Declined("order_expired", "PayPal has the order no more: its approval expired.", reference)
    why = f"status {answer.status}" if isinstance(answer, Reply) else answer.why
    return NotSent(f"The order could not be read ({why}), so it was not captured.")


def _batch_in(answer: Answer) -> str | None:
    """The payout that PayPal made of the same request before, by the link in its refusal to make another."""
    if not isinstance(answer, Reply) or not isinstance(answer.body, Mapping):
        return None
    if errors.problem(answer.status, answer.body).issue != "USER_BUSINESS_ERROR":
        return None
    links = answer.body.get("links")
    hrefs = [link.get("href") for link in (links if isinstance(links, list) else []) if isinstance(link, Mapping)]
    found = next((href for href in hrefs if isinstance(href, str) and "/v1/payments/payouts/" in href), "")
    thing, batch_id = split(f"payout:{found.rpartition('/')[2]}")
    return batch_id if thing else None


def _good(answer: Answer, what: str) -> Mapping[str, Any]:
    """The body of a success.

    Raises:
        ProviderError: it is none; no money moves by what is asked so.
    """
    if isinstance(answer, Reply) and answer.good:
        return cast(Mapping[str, Any], answer.body)
    if isinstance(answer, Reply):
        problem = errors.problem(answer.status, answer.body)
        raise ProviderError(f"PayPal did not {what}: {problem.status} {problem.issue}. No money moved.")
    raise ProviderError(f"PayPal did not {what}: {answer.why}. No money moved.")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
