"""What the fake answers to which path, and what each kind of request may have in it: what the SDK's own types have."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from agentpay.testing.stripe_fake import shapes
from agentpay.testing.stripe_fake.books import Books
from agentpay.testing.stripe_fake.pages import Pages
from agentpay.testing.stripe_fake.refusals import invalid, missing
from agentpay.testing.stripe_fake.shapes import Json

_PATHS: Final = (
    ("POST", r"/v1/payment_intents", "create"),
    ("POST", r"/v1/payment_intents/([^/]+)", "touch"),
    ("POST", r"/v1/payment_intents/([^/]+)/confirm", "confirm"),
    ("POST", r"/v1/payment_intents/([^/]+)/cancel", "cancel"),
    ("POST", r"/v1/checkout/sessions", "page"),
    ("POST", r"/v1/refunds", "refund"),
    ("POST", r"/v1/customers", "customer_new"),
    ("POST", r"/v1/billing_portal/sessions", "portal"),
    ("POST", r"/v1/billing/meter_events", "meter"),
    ("GET", r"/v1/payment_intents", "intents"),
    ("GET", r"/v1/payment_intents/([^/]+)", "intent"),
    ("GET", r"/v1/checkout/sessions", "pages"),
    ("GET", r"/v1/checkout/sessions/([^/]+)", "page_read"),
    ("GET", r"/v1/refunds", "refunds"),
    ("GET", r"/v1/refunds/([^/]+)", "refund_read"),
    ("GET", r"/v1/customers/([^/]+)", "customer"),
    ("GET", r"/v1/customers/([^/]+)/payment_methods", "methods"),
    ("GET", r"/v1/balance", "balance"),
    ("GET", r"/v1/account", "account"),
)
_COMPILED: Final = tuple((verb, re.compile(path + r"\Z"), op) for verb, path, op in _PATHS)


TEST_METHODS: Final = {
    "pm_card_visa": "ok",
    "pm_card_chargeDeclined": "decline:generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "decline:insufficient_funds",
    "pm_card_authenticationRequired": "authenticate",
}
"""What Stripe's own names for test methods do."""


def route(verb: str, path: str) -> tuple[str, str | None] | None:
    """The kind of a request, and the id in its path."""
    for wanted, pattern, op in _COMPILED:
        found = pattern.match(path) if wanted == verb else None
        if found:
            return op, found[1] if pattern.groups else None
    return None


def kind_of(op: str, params: Json) -> str:
    """The kind as the provider names it: a page may save a method, and a wallet's intent is confirmed at once."""
    if op == "page" and params.get("mode") == "setup":
        return "setup"
    return "crypto" if op == "create" and params.get("confirm") == "true" else op


def _allowed() -> dict[str, frozenset[str]]:
    from stripe import params
    from stripe.params import billing, billing_portal, checkout

    types: dict[str, Any] = {
        "create": params.PaymentIntentCreateParams,
        "touch": params.PaymentIntentUpdateParams,
        "confirm": params.PaymentIntentConfirmParams,
        "cancel": params.PaymentIntentCancelParams,
        "page": checkout.SessionCreateParams,
        "refund": params.RefundCreateParams,
        "customer_new": params.CustomerCreateParams,
        "portal": billing_portal.SessionCreateParams,
        "meter": billing.MeterEventCreateParams,
    }
    return {op: frozenset(kind.__annotations__) for op, kind in types.items()}


@dataclass(frozen=True)
class Routes:
    """Answers requests by the books."""

    books: Books
    pages: Pages
    account: str

    def check(self, op: str, params: Json) -> None:
        """Refuse what Stripe has no parameter for."""
        unknown = set(params) - _allowed().get(op, frozenset(params))
        if unknown:
            name = min(unknown)
            raise invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")

    def answer(self, op: str, about: str | None, params: Json, key: str | None) -> Json:
        """What a request comes to."""
        with self.books.lock:
            self.check(op, params)
            return copy.deepcopy(self._ways()[op](about or "", params, key))

    def another(self, answer: Json) -> bytes:
        """The first object of the kind of an answer: not the one that was asked for, where there were others."""
        kinds = {
            "payment_intent": self.books.intents,
            "refund": self.books.refunds,
            "checkout.session": self.pages.pages,
        }
        with self.books.lock:
            return json.dumps(next(iter(kinds[answer["object"]].values()))).encode()

    def _ways(self) -> dict[str, Callable[[str, Json, str | None], Json]]:
        books, pages = self.books, self.pages
        return {
            "create": lambda _about, params, _key: books.create_intent(params),
            "touch": lambda about, params, _key: books.update_intent(about, params),
            "confirm": books.confirm,
            "cancel": lambda about, params, _key: books.cancel(about, params),
            "page": lambda _about, params, _key: pages.create(params),
            "refund": lambda _about, params, key: books.create_refund(params, key),
            "customer_new": lambda _about, params, _key: self._new_customer(params),
            "portal": lambda _about, params, _key: self._portal(params),
            "meter": lambda _about, params, _key: self._meter(params),
            "intents": lambda _about, params, _key: _listed(books.intents.values(), params),
            "intent": lambda about, params, _key: self._intent(about, params),
            "pages": lambda _about, params, _key: self._pages(params),
            "page_read": lambda about, params, _key: pages.shown(pages.page(about), "expand" in params),
            "refunds": lambda _about, params, _key: _listed(books.refunds.values(), params),
            "refund_read": lambda about, _params, _key: self._refund(about),
            "customer": lambda about, _params, _key: self._customer(about),
            "methods": lambda about, params, _key: self._methods(about, params),
            "balance": lambda _about, _params, _key: shapes.balance(),
            "account": lambda _about, _params, _key: {"id": self.account, "object": "account"},
        }

    def _intent(self, intent_id: str, params: Json) -> Json:
        shown = copy.deepcopy(self.books.intent(intent_id))
        if "latest_charge" in params.get("expand", ()) and shown["latest_charge"] is not None:
            shown["latest_charge"] = copy.deepcopy(self.books.charges[shown["latest_charge"]])
        return shown

    def _pages(self, params: Json) -> Json:
        found = _listed(self.pages.pages.values(), params)
        return {**found, "data": [self.pages.shown(page, "expand" in params) for page in found["data"]]}

    def _refund(self, refund_id: str) -> Json:
        if refund_id not in self.books.refunds:
            raise missing(f"refund: '{refund_id}'", "id", status=404)
        return self.books.refunds[refund_id]

    def _new_customer(self, params: Json) -> Json:
        made = self.books.add_customer()
        token = params.get("payment_method")
        if token is not None:
            if token not in TEST_METHODS:
                raise missing(f"PaymentMethod: '{token}'", "payment_method")
            self.books.add_method(made, TEST_METHODS[token])
        return self.books.customers[made]

    def _customer(self, customer_id: str) -> Json:
        shown = copy.deepcopy(self.books.customer(customer_id, param="id", status=404))
        if shown.get("deleted"):
            return {"id": customer_id, "object": "customer", "deleted": True}
        default = shown["invoice_settings"]["default_payment_method"]
        if default is not None:
            shown["invoice_settings"]["default_payment_method"] = copy.deepcopy(self.books.methods[default])
        return shown

    def _methods(self, customer_id: str, params: Json) -> Json:
        self.books.customer(customer_id, status=404)
        return _listed((one for one in self.books.methods.values() if one["customer"] == customer_id), params)

    def _portal(self, params: Json) -> Json:
        self.books.customer(params.get("customer", ""))
        return shapes.portal(self.books.new_id("bps_"), self.books.now(), params["customer"], params["return_url"])

    def _meter(self, params: Json) -> Json:
        """A meter counts an identifier once."""
        if params["identifier"] in self.books.metered:
            raise invalid("An event already exists with this identifier.", code="duplicate_meter_event")
        payload = params["payload"]
        self.books.metered[params["identifier"]] = (payload["stripe_customer_id"], int(payload["value"]))
        return shapes.meter_event(self.books.now(), params["event_name"], params["identifier"], payload)


_FILTERS: Final = ("customer", "payment_intent")


def _listed(objects: Iterable[Json], params: Json) -> Json:
    """A page of a list, the newest first."""
    created = params.get("created", {})
    earliest, latest = int(created.get("gte", 0)), int(created.get("lte", 2**62))
    found = [one for one in objects if earliest <= one["created"] <= latest]
    for name in _FILTERS:
        if name in params:
            found = [one for one in found if one[name] == params[name]]
    found.reverse()
    after = params.get("starting_after")
    if after is not None:
        ids = [one["id"] for one in found]
        found = found[ids.index(after) + 1 :]
    limit = int(params.get("limit", 10))
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": "/v1/list"}
