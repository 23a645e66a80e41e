"""The requests of a charge, a payout and a refund, as they are stored; and what PayPal is sent of them. Pure.

A stored request has `op`, `body` and the ids that it needs. What is sent is that body with the attempt's own key in it
(`custom_id`, `sender_batch_id`), which exists only once the request is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from agentpay.errors import ProviderUnsupported, ValidationError
from agentpay.providers.base import Order, RefundOrder, Request, ReturnUrls, SetupOrder
from agentpay.providers.paypal_ids import WALLETS, Mark, Wallet, request_id, split, vaulted
from agentpay.providers.paypal_money import read, value_of, wire
from agentpay_policies.money import Money

LONGEST_MEMO: Final = 127

_STEPS: Final = {"create": 2, "charge": 1, "refund": 0}


def charge(order: Order, urls: ReturnUrls | None) -> Request:
    """The first request of a charge: `charge` where the payer has a saved method, `create` where they must approve, and
    `payout` where money is sent.

    Raises:
        ProviderUnsupported: PayPal cannot do it.
    """
    if order.payee.direction == "send":
        return {"op": "payout", "body": _payout(order)}
    wallet, vault_id = _source(order)
    unit: dict[str, Any] = {
        "reference_id": order.payment_id,
        "invoice_id": order.payment_id,  # PayPal takes no second payment of one invoice
        "amount": wire(order.money),
    }
    if order.payee.kind == "paypal_merchant":
        unit["payee"] = {"merchant_id": order.payee.canonical.partition(":")[2]}
    if order.memo is not None:
        unit["description"] = order.memo
    source: dict[str, object] = (
        {"vault_id": vault_id} if vault_id else {"experience_context": _experience(wallet, urls)}
    )
    body = {"intent": "CAPTURE", "purchase_units": [unit], "payment_source": {wallet: source}}
    return {"op": "charge" if vault_id else "create", "body": body}


def capture(reference: str) -> Request | None:
    """The request that takes the money of an approved order; None where the reference is none of an order."""
    thing, order_id = split(reference)
    return {"op": "capture", "order": order_id} if thing == "order" else None


def refund(order: RefundOrder) -> Request:
    """The request of a refund.

    Raises:
        ProviderUnsupported: PayPal does not take the amount.
    """
    thing, capture_id = split(order.charge_reference)
    known = capture_id if thing == "capture" else order.charge_reference  # of the latter PayPal says that there is none
    return {"op": "refund", "capture": known, "body": {"amount": wire(order.money)}}


def setup(order: SetupOrder) -> dict[str, Any]:
    """The request that begins to save a method.

    Raises:
        ProviderUnsupported: no wallet of that name.
    """
    wallet = _wallet(order.method)
    context = {"return_url": order.urls.success, "cancel_url": order.urls.cancel}
    source: dict[str, Any] = {"usage_type": "MERCHANT", "experience_context": context}
    return {"payment_source": {wallet: source}, "customer": {"merchant_customer_id": order.setup_id}}


def payment_token(setup_token: str) -> dict[str, Any]:
    """The request that saves a method whose owner approved."""
    return {"payment_source": {"token": {"id": setup_token, "type": "SETUP_TOKEN"}}}


def sent(request: Request, key: str) -> dict[str, Any]:
    """What PayPal is sent of a stored request, under an attempt's key."""
    body: dict[str, Any] = deepcopy(dict(_mapping(request["body"])))
    op = request["op"]
    if op == "payout":
        (item,) = body["items"]
        item["sender_item_id"] = request_id(key)
        body["sender_batch_header"]["sender_batch_id"] = key
    else:
        marked = body if op == "refund" else body["purchase_units"][0]
        marked["custom_id"] = str(Mark(key, _STEPS[str(op)], asked(request)))
    return body


def asked(request: Request) -> Money:
    """The amount of a stored request."""
    body = _mapping(request["body"])
    match request["op"]:
        case "payout":
            amount = body["items"][0]["amount"]
        case "refund":
            amount = body["amount"]
        case _:
            amount = body["purchase_units"][0]["amount"]
    money = read(amount)
    if money is None:
        raise ValidationError("The stored request has no amount.")
    return money


def _source(order: Order) -> tuple[Wallet, str | None]:
    """The wallet that pays, and the saved method's id where the payer need not approve."""
    saved = None if order.checkout is not None else vaulted(order.customer)
    wallet = _wallet(order.method) if order.method or saved is None else saved[0]
    if wallet == "venmo" and order.money.currency != "USD":
        raise ProviderUnsupported(f"Venmo takes USD only, not {order.money.currency}.")
    return wallet, saved[1] if saved is not None and saved[0] == wallet else None


def _wallet(method: str | None) -> Wallet:
    if method is not None and method not in WALLETS:
        raise ProviderUnsupported(f"paypal has no method {method[:60]!a}; it has paypal and venmo.")
    return "venmo" if method == "venmo" else "paypal"


def _experience(wallet: Wallet, urls: ReturnUrls | None) -> dict[str, str]:
    """What the payer meets on PayPal's page. Venmo's own app knows no addresses to come back to."""
    context = {"shipping_preference": "NO_SHIPPING"}
    if wallet == "paypal":
        context["user_action"] = "PAY_NOW"
        if urls is not None:
            context |= {"return_url": urls.success, "cancel_url": urls.cancel}
    return context


def _payout(order: Order) -> dict[str, Any]:
    if order.method not in (None, "paypal"):
        raise ProviderUnsupported("PayPal sends to its own accounts only: the method is paypal.")
    item: dict[str, Any] = {
        "recipient_type": "EMAIL",
        "receiver": order.payee.canonical.partition(":")[2],
        "amount": {"currency": order.money.currency, "value": value_of(order.money)},
    }
    if order.memo is not None:
        item["note"] = order.memo
    return {"sender_batch_header": {}, "items": [item]}


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError("The stored request has no body.")
    return value
