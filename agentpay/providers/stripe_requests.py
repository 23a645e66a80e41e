"""What Stripe is asked: requests as JSON data, made purely, stored before they are sent, and sent as they were stored.

A request is `{"op": …, "params": {…}}`, with the id of the object it is about where there is one. `params` has the type
of the SDK's own parameters, so that the type check proves its shape. Beside them goes only our key, in the metadata.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from agentpay.errors import ProviderUnsupported
from agentpay.providers.base import Order, RefundOrder, Request, ReturnUrls, SetupOrder
from agentpay.providers.stripe_money import to_units
from agentpay.providers.stripe_settings import StripeConfig
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee

if TYPE_CHECKING:
    from stripe.params import (
        PaymentIntentCancelParams,
        PaymentIntentConfirmParams,
        PaymentIntentCreateParams,
        PaymentIntentCreateParamsTransferData,
        PaymentIntentUpdateParams,
        RefundCreateParams,
    )
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsPaymentIntentData

KEY: Final = "agentpay_key"
OP: Final = "agentpay_op"
AMOUNT: Final = "agentpay_amount"
"""What was asked for, in Stripe's units: what became of it is held against that, whoever changed the object since."""

PAYMENT: Final = "agentpay_payment"
REFUND: Final = "agentpay_refund"
SETUP: Final = "agentpay_setup"
RECURRING: Final = "agentpay_recurring"

STABLECOINS: Final = frozenset({"stablecoin:usdc", "stablecoin:usdp", "stablecoin:usdg"})
"""Paid by the customer from a wallet, on Stripe's page, which takes any of them; Stripe pays out dollars."""

_TITLE: Final = "Payment"


def first(order: Order, config: StripeConfig) -> Request:
    """The first request of a charge or checkout.

    Raises:
        ProviderUnsupported: it can be seen beforehand that Stripe cannot do it.
    """
    if order.checkout is not None:
        return _page_of_order(order, order.checkout, config)
    if order.method in STABLECOINS:
        return _stablecoin(order, config)
    if order.linked:
        return _intent(order, config)
    if config.urls is None:
        raise ProviderUnsupported(
            "Stripe does not know this customer, so there is no saved method to charge.",
            next_step="Link them with link_customer, make a checkout, or set STRIPE_SUCCESS_URL and STRIPE_CANCEL_URL.",
        )
    return _page_of_order(order, config.urls, config)


def _intent(order: Order, config: StripeConfig) -> Request:
    """An intent that cannot be paid yet: which method pays is looked up next, and confirmed in a request of its own."""
    params: PaymentIntentCreateParams = {
        "amount": to_units(order.money),
        "currency": order.money.currency.lower(),
        "customer": order.customer,
        "metadata": {**_metadata(order, "create"), AMOUNT: _asked(order.money)},
    }
    if config.method_types:
        params["allowed_payment_method_types"] = list(config.method_types)
    else:
        params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": "never"}
    _describe(params, order, config)
    return {"op": "create", "params": params}


def _stablecoin(order: Order, config: StripeConfig) -> Request:
    if order.money.currency != "USD":
        raise ProviderUnsupported(f"stripe takes stablecoins for amounts in USD only, not {order.money.currency}.")
    if config.urls is None:
        raise ProviderUnsupported(
            "After a wallet paid, Stripe sends the customer back, and has no address to send them to.",
            next_step="Set STRIPE_SUCCESS_URL and STRIPE_CANCEL_URL.",
        )
    params: PaymentIntentCreateParams = {
        "amount": to_units(order.money),
        "currency": "usd",
        "confirm": True,
        "allowed_payment_method_types": ["crypto"],
        "payment_method_data": {"type": "crypto"},
        "return_url": config.urls.success,
        "metadata": {
            **_metadata(order, "crypto"),
            AMOUNT: _asked(order.money),
            "agentpay_method": str(order.method),
        },
    }
    if order.linked:
        params["customer"] = order.customer
    _describe(params, order, config)
    return {"op": "crypto", "params": params}


def _describe(params: PaymentIntentCreateParams, order: Order, config: StripeConfig) -> None:
    if order.memo is not None:
        params["description"] = order.memo
    transfer = _transfer(order.payee)
    if transfer is not None:
        params["transfer_data"] = transfer
        if config.on_behalf_of:
            params["on_behalf_of"] = transfer["destination"]


def _transfer(payee: Payee) -> PaymentIntentCreateParamsTransferData | None:
    if payee.kind != "stripe":
        return None
    return {"destination": payee.canonical.partition(":")[2]}


def _metadata(order: Order, op: str) -> dict[str, str]:
    recurring = {RECURRING: "yes"} if order.recurring else {}
    return {PAYMENT: order.payment_id, OP: op, **recurring}


def _asked(money: Money) -> str:
    return in_units(to_units(money), money.currency.lower())


def in_units(units: object, currency: object) -> str:
    """An amount as our mark has it."""
    return f"{units} {currency}"


def confirm(intent: str, method: str) -> Request:
    """Pay an intent with a saved method, without its customer."""
    params: PaymentIntentConfirmParams = {
        "payment_method": method,
        "off_session": True,
        "error_on_requires_action": True,
    }
    return {"op": "confirm", "intent": intent, "params": params}


def cancel(intent: str) -> Request:
    """End an intent, so that nothing can pay it any more."""
    params: PaymentIntentCancelParams = {"cancellation_reason": "abandoned"}
    return {"op": "cancel", "intent": intent, "params": params}


def touch(intent: str) -> Request:
    """Begin to go on with an intent: it marks it, and moves nothing."""
    params: PaymentIntentUpdateParams = {"metadata": {"agentpay_resumed": "yes"}}
    return {"op": "touch", "intent": intent, "params": params}


def _page_of_order(order: Order, urls: ReturnUrls, config: StripeConfig) -> Request:
    transfer = _transfer(order.payee)
    return _page(
        units=to_units(order.money),
        currency=order.money.currency.lower(),
        metadata=_metadata(order, "page"),
        customer=order.customer if order.linked else None,
        destination=None if transfer is None else transfer["destination"],
        title=order.title or _TITLE,
        urls=urls,
        config=config,
    )


def page_instead(intent: Mapping[str, Any], urls: ReturnUrls, config: StripeConfig) -> Request:
    """A page for what an intent was to pay, which was canceled."""
    metadata = {name: str(value) for name, value in intent["metadata"].items() if name in (PAYMENT, RECURRING)}
    return _page(
        units=int(intent["amount"]),
        currency=str(intent["currency"]),
        metadata={**metadata, OP: "page"},
        customer=intent.get("customer"),
        destination=(intent.get("transfer_data") or {}).get("destination"),
        title=intent.get("description") or _TITLE,
        urls=urls,
        config=config,
    )


def _page(
    *,
    units: int,
    currency: str,
    metadata: dict[str, str],
    customer: str | None,
    destination: str | None,
    title: str,
    urls: ReturnUrls,
    config: StripeConfig,
) -> Request:
    intent: SessionCreateParamsPaymentIntentData = {"metadata": dict(metadata)}
    if destination is not None:
        intent["transfer_data"] = {"destination": destination}
        if config.on_behalf_of:
            intent["on_behalf_of"] = destination
    price: Any = {"currency": currency, "unit_amount": units, "product_data": {"name": title[:250]}}
    params: SessionCreateParams = {
        "mode": "payment",
        "line_items": [{"quantity": 1, "price_data": price}],
        "success_url": urls.success,
        "cancel_url": urls.cancel,
        "client_reference_id": metadata[PAYMENT],
        "metadata": metadata,
        "payment_intent_data": intent,
    }
    if RECURRING in metadata:
        intent["setup_future_usage"] = "off_session"
    if customer is not None:
        params["customer"] = customer
    elif RECURRING in metadata:
        params["customer_creation"] = "always"
    if config.method_types:
        params["allowed_payment_method_types"] = list(config.method_types)
    return {"op": "page", "params": params}


def setup(order: SetupOrder, config: StripeConfig) -> Request:
    """A page on which a method is saved."""
    params: SessionCreateParams = {
        "mode": "setup",
        "currency": "usd",
        "success_url": order.urls.success,
        "cancel_url": order.urls.cancel,
        "client_reference_id": order.setup_id,
        "metadata": {SETUP: order.setup_id},
        "setup_intent_data": {"metadata": {SETUP: order.setup_id}},
    }
    if order.linked:
        params["customer"] = order.customer
    else:
        params["customer_creation"] = "always"
    if config.method_types:
        params["allowed_payment_method_types"] = list(config.method_types)
    return {"op": "setup", "params": params}


def refund(order: RefundOrder, config: StripeConfig) -> Request:
    """A refund. Of a payment to a connected account, whether that account gives the money back is always said."""
    params: RefundCreateParams = {
        "payment_intent": order.charge_reference,
        "amount": to_units(order.money),
        "metadata": {REFUND: order.refund_id, PAYMENT: order.payment_id, AMOUNT: _asked(order.money)},
    }
    if order.payee.kind == "stripe":
        params["reverse_transfer"] = config.reverse_transfer
    return {"op": "refund", "params": params}


def with_key(request: Request, key: str) -> dict[str, Any]:
    """The parameters of a stored request as they are sent: our key goes along, so that the request is found by it."""
    params: dict[str, Any] = copy.deepcopy(dict(cast(Mapping[str, Any], request["params"])))
    if request["op"] in ("create", "crypto", "page", "refund", "setup"):
        params["metadata"] = {**params.get("metadata", {}), KEY: key}
    if "payment_intent_data" in params:
        params["payment_intent_data"]["metadata"] = {**params["payment_intent_data"]["metadata"], KEY: key}
    return params


def is_answer(request: Request, key: str, answer: Mapping[str, Any]) -> bool:
    """Whether an answer is about what a request was about: the intent that it named, or else the object that has its
    key."""
    if "intent" in request:
        return bool(answer.get("id") == request["intent"])
    return (answer.get("metadata") or {}).get(KEY) == key


def without_key(params: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse, for those who read what arrived."""
    plain: dict[str, Any] = copy.deepcopy(dict(params))
    for holder in (plain, plain.get("payment_intent_data", {})):
        if KEY in holder.get("metadata", {}):
            del holder["metadata"][KEY]
    return plain
