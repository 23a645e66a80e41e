"""The fake's books: the rules by which it takes requests. Its own idea of the money, for an auditor.

The caller holds one lock around each request.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

from agentpay.clock import Clock
from agentpay.errors import AgentPayError
from agentpay.testing.paypal_fake.records import JSON, Movement, Refusal, missing, unprocessable
from agentpay_policies.money import Money

PAGE: Final = "https://www.sandbox.paypal.com/checkoutnow?token="
SETUP_PAGE: Final = "https://www.sandbox.paypal.com/agreements/approve?approval_session_id="

_WHOLE: Final = {"HUF", "JPY", "TWD"}
_TAKEN: Final = _WHOLE | {"AUD", "BRL", "CAD", "CHF", "EUR", "GBP", "MXN", "SEK", "USD"}
_PAID: Final = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")


class Books:
    """Orders, captures, refunds, saved methods, payouts, events: each as PayPal shows it."""

    def __init__(self, clock: Clock, merchant_id: str) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self.merchant_id = merchant_id
        self.orders: dict[str, JSON] = {}
        self.captures: dict[str, JSON] = {}
        self.refunds: dict[str, JSON] = {}
        self.saved: dict[str, JSON] = {}
        self.setups: dict[str, JSON] = {}
        self.payouts: dict[str, JSON] = {}
        self.subscriptions: dict[str, JSON] = {}
        self.webhooks: dict[str, JSON] = {}
        self.events: list[JSON] = []
        self.movements: list[Movement] = []
        self.captures_as = "COMPLETED"
        self.refunds_as = "COMPLETED"
        self.captured_amount: JSON | None = None
        self.listing_lag = timedelta(0)
        self.longest_page = 300
        self.refusals: dict[str, str] = {}

    def new_id(self, kind: str) -> str:
        """An id as PayPal makes them: 17 capital letters and digits."""
        return f"{kind}{next(self._numbers):0{17 - len(kind)}d}"

    def now(self) -> str:
        """The present moment, as PayPal writes it."""
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- orders ----------------------------------------------------------------------------------------------------

    def create_order(self, body: Mapping[str, Any]) -> JSON:
        """Make an order; one with a saved method is captured at once, or not made."""
        (unit,) = body["purchase_units"]
        _checked(unit["amount"])
        ((wallet, source),) = body["payment_source"].items()
        order_id = self.new_id("5O")
        order: JSON = {
            "id": order_id,
            "intent": body["intent"],
            "status": "PAYER_ACTION_REQUIRED",
            "payment_source": {wallet: {}},
            "purchase_units": [{"payee": {"merchant_id": self.merchant_id}, **unit}],
            "create_time": self.now(),
            "links": [_link("self", f"/v2/checkout/orders/{order_id}"), _page(f"{PAGE}{order_id}")],
        }
        vault_id = source.get("vault_id")
        if vault_id is None:
            self.orders[order_id] = order
            return order
        saved = self.saved.get(vault_id)
        if saved is None or wallet not in saved["payment_source"]:
            raise unprocessable("TOKEN_ID_NOT_FOUND")
        if vault_id in self.refusals:
            raise unprocessable(self.refusals[vault_id])
        order["status"] = "APPROVED"
        order["links"] = order["links"][:1]
        self._capture(order)
        self.orders[order_id] = order
        return order

    def capture_order(self, order_id: str) -> JSON:
        """Take the money of an approved order. What PayPal answers has less in it than the order itself."""
        order = self.order(order_id)
        if order["status"] == "COMPLETED":
            raise unprocessable("ORDER_ALREADY_CAPTURED")
        if order["status"] == "VOIDED":
            raise unprocessable("ORDER_COMPLETED_OR_VOIDED")
        if order["status"] != "APPROVED":
            raise unprocessable("ORDER_NOT_APPROVED")
        if order_id in self.refusals:
            raise unprocessable(self.refusals[order_id])
        self._capture(order)
        (unit,) = order["purchase_units"]
        shown = {name: unit[name] for name in ("reference_id", "payments") if name in unit}
        return {
            **{name: order[name] for name in ("id", "status", "payment_source", "links")},
            "purchase_units": [shown],
        }

    def order(self, order_id: str) -> JSON:
        """An order."""
        return _found(self.orders, order_id)

    def _capture(self, order: JSON) -> None:
        (unit,) = order["purchase_units"]
        invoice = unit.get("invoice_id")
        if invoice is not None and any(one.get("invoice_id") == invoice for one in self.captures.values()):
            raise unprocessable("DUPLICATE_INVOICE_ID")
        capture_id = self.new_id("3C")
        capture: JSON = {
            "id": capture_id,
            "status": self.captures_as,
            "amount": self.captured_amount or unit["amount"],
            "final_capture": True,
            "create_time": self.now(),
            "supplementary_data": {"related_ids": {"order_id": order["id"]}},
            "links": [
                _link("self", f"/v2/payments/captures/{capture_id}"),
                _link("up", f"/v2/checkout/orders/{order['id']}"),
            ],
        }
        capture |= {name: unit[name] for name in ("custom_id", "invoice_id") if name in unit}
        self.captures[capture_id] = capture
        unit.setdefault("payments", {}).setdefault("captures", []).append(capture)
        order["status"] = "COMPLETED"
        self._captured(capture)

    def _captured(self, capture: JSON) -> None:
        if capture["status"] == "COMPLETED":
            self._move("charge", capture["custom_id"], capture["id"], _money(capture["amount"]))
        self.tell(f"PAYMENT.CAPTURE.{capture['status']}", capture)

    def end_capture(self, capture_id: str, status: str) -> None:
        """Let a pending capture come to its end."""
        capture = self.captures[capture_id]
        capture["status"] = status
        self._captured(capture)

    # -- refunds ---------------------------------------------------------------------------------------------------

    def refund(self, capture_id: str, body: Mapping[str, Any]) -> JSON:
        """Give money of a capture back."""
        capture = self.capture(capture_id)
        amount = body.get("amount") or capture["amount"]
        money, captured = _checked(amount), _money(capture["amount"])
        if capture["status"] not in _PAID:
            raise unprocessable("PENDING_CAPTURE")
        if money.currency != captured.currency:
            raise unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH")
        if capture_id in self.refusals:
            raise unprocessable(self.refusals[capture_id])
        left = captured.minor - self._refunded(capture_id)
        if left == 0:
            raise unprocessable("CAPTURE_FULLY_REFUNDED")
        if money.minor > left:
            raise unprocessable("REFUND_AMOUNT_EXCEEDED")
        refund_id = self.new_id("1R")
        refund: JSON = {
            "id": refund_id,
            "status": self.refunds_as,
            "amount": amount,
            "create_time": self.now(),
            "links": [
                _link("self", f"/v2/payments/refunds/{refund_id}"),
                _link("up", f"/v2/payments/captures/{capture_id}"),
            ],
        }
        refund |= {"custom_id": body["custom_id"]} if "custom_id" in body else {}
        self.refunds[refund_id] = refund
        order = self.orders[capture["supplementary_data"]["related_ids"]["order_id"]]
        order["purchase_units"][0]["payments"].setdefault("refunds", []).append(refund)
        self._refunded_now(refund, capture)
        return refund

    def capture(self, capture_id: str) -> JSON:
        """A capture."""
        return _found(self.captures, capture_id)

    def _refunded_now(self, refund: JSON, capture: JSON) -> None:
        if refund["status"] != "COMPLETED":
            self.tell(f"PAYMENT.REFUND.{refund['status']}", refund)
            return
        self._move("refund", refund.get("custom_id", ""), refund["id"], _money(refund["amount"]))
        whole = self._refunded(capture["id"]) == _money(capture["amount"]).minor
        capture["status"] = "REFUNDED" if whole else "PARTIALLY_REFUNDED"
        self.tell("PAYMENT.CAPTURE.REFUNDED", refund)

    def end_refund(self, refund_id: str, status: str) -> None:
        """Let a pending refund come to its end."""
        refund = self.refunds[refund_id]
        refund["status"] = status
        self._refunded_now(refund, self.captures[refund["links"][1]["href"].rpartition("/")[2]])

    def _refunded(self, capture_id: str) -> int:
        up = f"/v2/payments/captures/{capture_id}"
        counted = (one for one in self.refunds.values() if one["links"][1]["href"].endswith(up))
        return sum(_money(one["amount"]).minor for one in counted if one["status"] in ("COMPLETED", "PENDING"))

    # -- payouts ---------------------------------------------------------------------------------------------------

    def create_payout(self, body: Mapping[str, Any]) -> JSON:
        """Take a payout; its item comes to an end later."""
        sender, (item,) = body["sender_batch_header"], body["items"]
        for batch_id, known in self.payouts.items():
            if known["batch_header"]["sender_batch_header"]["sender_batch_id"] == sender["sender_batch_id"]:
                link = [_link("self", f"/v1/payments/payouts/{batch_id}")]
                issue = "Batch with given sender_batch_id already exists"
                raise Refusal(400, "USER_BUSINESS_ERROR", issue, links=link)
        _checked({"currency_code": item["amount"]["currency"], "value": item["amount"]["value"]})
        batch_id = self.new_id("BA")
        header = {"payout_batch_id": batch_id, "batch_status": "PENDING", "sender_batch_header": dict(sender)}
        self.payouts[batch_id] = {"batch_header": header, "items": [self._item(batch_id, sender, item)]}
        self.tell("PAYMENT.PAYOUTSBATCH.PROCESSING", {"batch_header": header})
        return {"batch_header": header, "links": [_link("self", f"/v1/payments/payouts/{batch_id}")]}

    def _item(self, batch_id: str, sender: Mapping[str, Any], item: Mapping[str, Any]) -> JSON:
        return {
            "payout_item_id": self.new_id("IT"),
            "payout_batch_id": batch_id,
            "sender_batch_id": sender["sender_batch_id"],
            "transaction_status": "PENDING",
            "payout_item": dict(item),
        }

    def end_payout(self, batch_id: str, status: str, issue: str | None = None) -> None:
        """Let the item of a payout come to a state: SUCCESS, UNCLAIMED, RETURNED, FAILED, …"""
        payout = self.payouts[batch_id]
        (item,) = payout["items"]
        item["transaction_status"] = status
        if issue is not None:
            item["errors"] = {"name": issue}
        payout["batch_header"]["batch_status"] = "SUCCESS"
        if status == "SUCCESS":
            amount = item["payout_item"]["amount"]
            self._move("send", item["sender_batch_id"], batch_id, Money(amount["value"], amount["currency"]))
        self.tell(f"PAYMENT.PAYOUTS-ITEM.{'SUCCEEDED' if status == 'SUCCESS' else status}", item)

    # -- saved methods ---------------------------------------------------------------------------------------------

    def save(self, wallet: str, customer: JSON | None = None) -> JSON:
        """A saved method of a payer."""
        vault_id = self.new_id("va").lower()
        saved = {"id": vault_id, "customer": customer or {"id": f"customer_{vault_id[-6:]}"}}
        self.saved[vault_id] = {**saved, "payment_source": {wallet: {"usage_type": "MERCHANT"}}}
        self.tell("VAULT.PAYMENT-TOKEN.CREATED", self.saved[vault_id])
        return self.saved[vault_id]

    def create_setup(self, body: Mapping[str, Any]) -> JSON:
        """Begin to save a method."""
        setup_id = self.new_id("5C")
        ((wallet, _),) = body["payment_source"].items()
        self.setups[setup_id] = {
            "id": setup_id,
            "status": "PAYER_ACTION_REQUIRED",
            "customer": dict(body.get("customer") or {}),
            "payment_source": {wallet: {}},
            "links": [{**_page(f"{SETUP_PAGE}{setup_id}"), "rel": "approve"}],
        }
        return self.setups[setup_id]

    def create_saved(self, body: Mapping[str, Any]) -> JSON:
        """Save a method whose owner approved."""
        token = body["payment_source"]["token"]
        setup = _found(self.setups, token["id"])
        if token["type"] != "SETUP_TOKEN" or setup["status"] != "APPROVED":
            raise unprocessable("CONSENT_NEEDED")
        ((wallet, _),) = setup["payment_source"].items()
        setup["status"] = "VAULTED"
        return self.save(wallet, setup["customer"])

    # -- what is listed --------------------------------------------------------------------------------------------

    def transactions(self, query: Mapping[str, str]) -> JSON:
        """The account's transactions of one amount, once PayPal lists them."""
        low, _, high = query.get("transaction_amount", "0 TO 999999999999").partition(" TO ")
        until = (self._clock.now() - self.listing_lag).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = [
            {"transaction_info": _transaction(one)}
            for one in self.captures.values()
            if one["create_time"] <= until
            and one["amount"]["currency_code"] == query.get("transaction_currency", one["amount"]["currency_code"])
            and int(low) <= _money(one["amount"]).minor <= int(high)
        ]
        size, page = int(query.get("page_size", "100")), int(query.get("page", "1"))
        pages = max(1, -(-len(found) // size))
        return {"transaction_details": found[size * (page - 1) : size * page], "page": page, "total_pages": pages}

    def tell(self, kind: str, resource: Mapping[str, Any]) -> JSON:
        """Write an event down."""
        event = {
            "id": f"WH-{self.new_id('EV')}",
            "event_version": "1.0",
            "create_time": self.now(),
            "resource_type": kind.partition(".")[0].lower(),
            "event_type": kind,
            "resource": _copied(resource),
        }
        self.events.append(event)
        return event

    def listed_events(self, query: Mapping[str, str]) -> JSON:
        """The events of a time, the newest first, a page of them: the next one is behind a link, where there is one."""
        earliest, latest = query.get("start_time", ""), query.get("end_time", "9")
        found = [one for one in reversed(self.events) if earliest <= str(one.get("create_time", earliest)) <= latest]
        size, begin = min(int(query.get("page_size", "10")), self.longest_page), int(query.get("offset", "0"))
        listed: JSON = {"events": found[begin : begin + size], "count": len(found[begin : begin + size])}
        if begin + size < len(found):
            further = urlencode({**query, "move_to": "next", "offset": begin + size})
            listed["links"] = [_link("next", f"/v1/notifications/webhooks-events?{further}")]
        return listed

    def _move(self, kind: Any, key: str, reference: str, money: Money) -> None:
        self.movements.append(Movement(kind, key, reference, money))


def _found(things: Mapping[str, JSON], identifier: str) -> JSON:
    if identifier not in things:
        raise missing()
    return things[identifier]


def _checked(amount: Mapping[str, str]) -> Money:
    """An amount that PayPal takes."""
    currency, value = amount["currency_code"], amount["value"]
    if currency not in _TAKEN:
        raise unprocessable("INVALID_CURRENCY_CODE")
    if currency in _WHOLE and not value.isdigit():
        raise unprocessable("DECIMALS_NOT_SUPPORTED")
    try:
        money = Money(value, currency)
    except AgentPayError:
        raise unprocessable("DECIMAL_PRECISION") from None
    if money.minor == 0:
        raise unprocessable("CANNOT_BE_ZERO_OR_NEGATIVE")
    return money


def _money(amount: Mapping[str, str]) -> Money:
    return Money(amount["value"], amount["currency_code"])


def _transaction(capture: JSON) -> JSON:
    known = {"COMPLETED": "S", "PARTIALLY_REFUNDED": "S", "REFUNDED": "V", "PENDING": "P"}
    return {
        "transaction_id": capture["id"],
        "transaction_status": known.get(capture["status"], "D"),
        "transaction_amount": capture["amount"],
        "custom_field": capture.get("custom_id"),
        "invoice_id": capture.get("invoice_id"),
    }


def _link(rel: str, path: str) -> JSON:
    return {"rel": rel, "href": f"https://api-m.sandbox.paypal.com{path}", "method": "GET"}


def _page(href: str) -> JSON:
    return {"rel": "payer-action", "href": href, "method": "GET"}


def _copied(value: Any) -> Any:
    """As it was at that moment."""
    if isinstance(value, Mapping):
        return {name: _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
