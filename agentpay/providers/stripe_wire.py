"""The way to Stripe: the SDK's own client, one request at a time, and what came back as a value.

Nothing is sent twice by itself: the client makes no retries, follows no redirect, and takes no password from `.netrc`.
So each attempt's key is sent once, and the lease is what one call can last at the most: a connection is tried at each
address of Stripe's in turn, then the answer is waited for.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import requests
import stripe
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from agentpay.errors import ProviderError
from agentpay.providers.base import Request, Steps
from agentpay.providers.stripe_errors import Fault
from agentpay.providers.stripe_requests import is_answer, with_key

CONNECT_SECONDS: Final = 4.0
READ_SECONDS: Final = 25.0
LEASE: Final = timedelta(seconds=60)
"""Eight addresses at 4 s, then 25 s for the answer, are 57 s."""

_POOL: Final = 32
_PAGES: Final = 20
_PAGE: Final = 100

Object = Mapping[str, Any]
"""An object of Stripe's as plain data: the SDK's own are no mappings."""


class TooMany(Exception):
    """A list is longer than we read: what was not found may still be there."""


@dataclass(frozen=True)
class Timeouts:
    """How long to wait for a connection, and then for an answer."""

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS


class Wire:
    """A client of one account. Safe to share between threads, and with processes that are forked off."""

    def __init__(self, api_key: str, *, base_url: str | None = None, timeouts: Timeouts | None = None) -> None:
        timeouts = timeouts or Timeouts()
        self._session = _Session()
        client = stripe.RequestsClient(timeout=(timeouts.connect, timeouts.read), session=self._session)
        addresses = {} if base_url is None else dict.fromkeys(("api", "files", "connect", "meter_events"), base_url)
        self._client = stripe.StripeClient(
            api_key, base_addresses=cast(Any, addresses), max_network_retries=0, http_client=client
        )
        self._ways = _ways(self._client)

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    # -- requests of ours -------------------------------------------------------------------------------------------

    def send(self, steps: Steps) -> Object | Fault:
        """Send the current request with its key, exactly as it was stored. An answer about another object is none."""
        key = steps.key
        answer = self.post(steps.request, key)
        if isinstance(answer, Fault) or is_answer(steps.request, key, answer):
            return answer
        return Fault(200, kind="another_object")

    def post(self, request: Request, key: str) -> Object | Fault:
        """Send a request with a key."""
        way = self._ways[str(request["op"])]
        try:
            return _plain(way(request, with_key(request, key), {"idempotency_key": key}))
        except stripe.StripeError as error:
            return fault_of(error)

    def new_customer(self, params: Mapping[str, object], key: str) -> Object | Fault:
        """A customer."""
        try:
            return _plain(self._client.v1.customers.create(cast(Any, params), {"idempotency_key": key}))
        except stripe.StripeError as error:
            return fault_of(error)

    def portal(self, customer: str, return_url: str) -> Object | Fault:
        """A page on which a customer sees their own methods."""
        try:
            made = self._client.v1.billing_portal.sessions.create({"customer": customer, "return_url": return_url})
        except stripe.StripeError as error:
            return fault_of(error)
        return _plain(made)

    def meter(self, name: str, customer: str, quantity: int, identifier: str) -> Fault | None:
        """Tell a billing meter of usage, which counts an identifier once."""
        payload = {"stripe_customer_id": customer, "value": str(quantity)}
        try:
            self._client.v1.billing.meter_events.create(
                {"event_name": name, "payload": payload, "identifier": identifier}, {"idempotency_key": identifier}
            )
        except stripe.StripeError as error:
            return fault_of(error)
        return None

    # -- reading ----------------------------------------------------------------------------------------------------

    def intent(self, intent_id: str) -> Object | Fault:
        """An intent, with its last charge, by its id: what Stripe has, at once."""
        return _read(lambda: self._client.v1.payment_intents.retrieve(intent_id, {"expand": ["latest_charge"]}))

    def page(self, session_id: str) -> Object | Fault:
        """A page, with its intent."""
        return _read(lambda: self._client.v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent"]}))

    def refund(self, refund_id: str) -> Object | Fault:
        """A refund."""
        return _read(lambda: self._client.v1.refunds.retrieve(refund_id))

    def customer(self, customer_id: str) -> Object | Fault:
        """A customer, with the method that is the default."""
        expand = ["invoice_settings.default_payment_method"]
        return _read(lambda: self._client.v1.customers.retrieve(customer_id, {"expand": expand}))

    def methods(self, customer_id: str) -> Object | Fault:
        """The newest methods of a customer: a page of them."""
        return _read(lambda: self._client.v1.customers.payment_methods.list(customer_id, {"limit": _PAGE}))

    def balance(self) -> Object | Fault:
        """What the account holds: asked to see that Stripe answers."""
        return _read(self._client.v1.balance.retrieve)

    def account(self) -> Object | Fault:
        """The account that the key belongs to."""
        return _read(self._client.v1.accounts.retrieve_current)

    def intents(self, filters: Mapping[str, object]) -> Iterator[Object]:
        """The intents that a filter finds, the newest first. Raises `stripe.StripeError` or `TooMany`."""
        return _listed(self._client.v1.payment_intents.list, filters)

    def pages(self, filters: Mapping[str, object]) -> Iterator[Object]:
        """The pages that a filter finds, likewise, each with its intent."""
        return _listed(self._client.v1.checkout.sessions.list, {**filters, "expand": ["data.payment_intent"]})

    def refunds(self, intent_id: str) -> Iterator[Object]:
        """The refunds of an intent, likewise."""
        return _listed(self._client.v1.refunds.list, {"payment_intent": intent_id})


class _Session(requests.Session):
    """A session that shares no connection with the process that this one was forked from: each would get the other's
    answers."""

    def __init__(self) -> None:
        super().__init__()
        self.max_redirects = 0
        self.auth = _keep_key
        self.adapters, self._pid = _adapters(), os.getpid()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, on connections of this process's own."""
        if self._pid != os.getpid():
            self.adapters, self._pid = _adapters(), os.getpid()  # at once: other threads may be looking one up
        return super().send(request, **kwargs)


def _adapters() -> OrderedDict[str, BaseAdapter]:
    schemes = ("https://", "http://")
    return OrderedDict(
        (scheme, HTTPAdapter(pool_connections=4, pool_maxsize=_POOL, max_retries=0)) for scheme in schemes
    )


def _keep_key(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Without this, what `.netrc` has for the host would replace the key."""
    return request


Way = Callable[[Request, Any, Any], stripe.StripeObject]


def _ways(client: stripe.StripeClient) -> dict[str, Way]:
    """How each kind of request is sent."""
    intents, pages, refunds = client.v1.payment_intents, client.v1.checkout.sessions, client.v1.refunds
    return {
        "create": lambda _, params, options: intents.create(params, options),
        "crypto": lambda _, params, options: intents.create(params, options),
        "confirm": lambda request, params, options: intents.confirm(str(request["intent"]), params, options),
        "cancel": lambda request, params, options: intents.cancel(str(request["intent"]), params, options),
        "touch": lambda request, params, options: intents.update(str(request["intent"]), params, options),
        "page": lambda _, params, options: pages.create(params, options),
        "setup": lambda _, params, options: pages.create(params, options),
        "refund": lambda _, params, options: refunds.create(params, options),
    }


def _read(call: Callable[[], stripe.StripeObject]) -> Object | Fault:
    try:
        return _plain(call())
    except stripe.StripeError as error:
        return fault_of(error)


def _plain(answer: stripe.StripeObject) -> Object:
    return answer.to_dict()


def _listed(call: Callable[[Any], Any], filters: Mapping[str, object]) -> Iterator[Object]:
    """Every object of a list, a page at a time, up to a bound."""
    after: dict[str, object] = {}
    for _ in range(_PAGES):
        found = _plain(call({"limit": _PAGE, **filters, **after}))
        yield from found["data"]
        if not found["has_more"] or not found["data"]:
            return
        after = {"starting_after": found["data"][-1]["id"]}
    raise TooMany


def fault_of(error: stripe.StripeError) -> Fault:
    """What the SDK raised, as a value. The text of it, which could have anything in it, is left behind."""
    body = error.json_body if isinstance(error.json_body, dict) else {}
    said = body.get("error")
    said = said if isinstance(said, dict) else {}
    intent = said.get("payment_intent")
    return Fault(
        status=None if isinstance(error, stripe.APIConnectionError) else error.http_status,
        kind=_word(said.get("type")),
        code=_word(said.get("code")),
        decline_code=_word(said.get("decline_code")),
        param=_word(said.get("param")),
        intent_status=_word(intent.get("status")) if isinstance(intent, dict) else "",
        request_id=_word(error.request_id),
        connected=not _never_connected(error),
    )


def _word(value: object) -> str:
    """A code of Stripe's: short, plain text. Anything else is none."""
    return value if isinstance(value, str) and value.isascii() and value.isprintable() and len(value) <= 80 else ""


def _never_connected(error: stripe.StripeError) -> bool:
    """Whether it is proved that no connection was made, so that nothing can have been sent."""
    cause = error.__cause__
    if isinstance(cause, requests.exceptions.ConnectTimeout):
        return True
    reason = (
        getattr(cause.args[0], "reason", None) if isinstance(cause, requests.ConnectionError) and cause.args else None
    )
    return isinstance(reason, urllib3.exceptions.NewConnectionError)


def unanswered(fault: Fault) -> ProviderError:
    """The error for a question that moves no money."""
    return ProviderError(f"{fault.evidence}. No money moved.")
