"""Objects in Stripe's shape: every field that Stripe's own answers have, with what is the same in all of ours."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_INTENT_NONE = (
    "amount_details application application_fee_amount automatic_payment_methods canceled_at cancellation_reason "
    "customer customer_account description excluded_payment_method_types last_payment_error latest_charge "
    "managed_payments next_action on_behalf_of payment_method payment_method_configuration_details processing "
    "receipt_email review setup_future_usage shipping source statement_descriptor statement_descriptor_suffix "
    "transfer_data transfer_group"
)
_PAGE_NONE = (
    "adaptive_pricing after_expiration allow_promotion_codes amount_subtotal amount_total "
    "billing_address_collection client_reference_id client_secret collected_information consent "
    "consent_collection currency currency_conversion customer customer_account customer_creation customer_details "
    "customer_email discounts integration_identifier invoice invoice_creation locale managed_payments "
    "origin_context payment_intent payment_link payment_method_collection payment_method_configuration_details "
    "permissions phone_number_collection recovered_from saved_payment_method_options setup_intent "
    "shipping_address_collection shipping_cost submit_type subscription total_details ui_mode url wallet_options"
)
_CHARGE_NONE = (
    "application application_fee application_fee_amount balance_transaction calculated_statement_descriptor customer "
    "description failure_balance_transaction failure_code failure_message on_behalf_of payment_intent payment_method "
    "receipt_email receipt_number receipt_url review shipping source source_transfer statement_descriptor "
    "statement_descriptor_suffix transfer_data transfer_group"
)
_REFUND_NONE = (
    "balance_transaction charge customer customer_account destination_details payment_intent payment_method reason "
    "receipt_number source_transfer_reversal transfer_reversal"
)
_CUSTOMER_NONE = "address currency default_source description discount email name phone shipping test_clock"
_SETUP_NONE = (
    "application automatic_payment_methods cancellation_reason customer description excluded_payment_method_types "
    "flow_directions last_setup_error latest_attempt mandate next_action on_behalf_of payment_method "
    "payment_method_configuration_details single_use_mandate"
)


def _none(names: str) -> Json:
    return dict.fromkeys(names.split())


def intent(intent_id: str, created: int, **fields: Any) -> Json:
    """A payment intent that waits for a method."""
    return {
        **_none(_INTENT_NONE),
        "id": intent_id,
        "object": "payment_intent",
        "amount_capturable": 0,
        "amount_received": 0,
        "capture_method": "automatic",
        "client_secret": f"{intent_id}_secret_fake",
        "confirmation_method": "automatic",
        "created": created,
        "livemode": False,
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        **fields,
    }


def page(page_id: str, created: int, **fields: Any) -> Json:
    """A checkout session that is open."""
    return {
        **_none(_PAGE_NONE),
        "id": page_id,
        "object": "checkout.session",
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "cancel_url": None,
        "created": created,
        "custom_fields": [],
        "custom_text": {},
        "expires_at": created + 86400,
        "livemode": False,
        "metadata": {},
        "mode": "payment",
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "shipping_options": [],
        "status": "open",
        "success_url": None,
        "url": f"https://checkout.stripe.com/c/pay/{page_id}",
        **fields,
    }


def charge(charge_id: str, created: int, **fields: Any) -> Json:
    """A charge that was captured."""
    return {
        **_none(_CHARGE_NONE),
        "id": charge_id,
        "object": "charge",
        "amount_captured": fields["amount"],
        "amount_refunded": 0,
        "billing_details": {},
        "captured": True,
        "created": created,
        "disputed": False,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "outcome": {"type": "authorized", "network_status": "approved_by_network"},
        "paid": True,
        "payment_method_details": {},
        "refunded": False,
        "refunds": None,
        "status": "succeeded",
        **fields,
    }


def refund(refund_id: str, created: int, **fields: Any) -> Json:
    """A refund."""
    return {
        **_none(_REFUND_NONE),
        "id": refund_id,
        "object": "refund",
        "created": created,
        "metadata": {},
        "status": "succeeded",
        **fields,
    }


def customer(customer_id: str, created: int, **fields: Any) -> Json:
    """A customer without a method."""
    return {
        **_none(_CUSTOMER_NONE),
        "id": customer_id,
        "object": "customer",
        "balance": 0,
        "created": created,
        "delinquent": False,
        "invoice_prefix": "FAKE",
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        **fields,
    }  # fmt: skip


def method(
    method_id: str, created: int, *, kind: str = "card", year: int = 2034, month: int = 12, **fields: Any
) -> Json:
    """A payment method."""
    details: Json = (
        {"card": {"brand": "visa", "exp_month": month, "exp_year": year, "last4": "4242"}}
        if kind == "card"
        else {kind: {}}
    )
    return {
        "id": method_id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": None, "email": None, "name": None, "phone": None, "tax_id": None},
        "created": created,
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
        **details,
        **fields,
    }


def setup_intent(intent_id: str, created: int, **fields: Any) -> Json:
    """A setup intent that is done."""
    return {
        **_none(_SETUP_NONE),
        "id": intent_id,
        "object": "setup_intent",
        "client_secret": f"{intent_id}_secret_fake",
        "created": created,
        "livemode": False,
        "metadata": {},
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "succeeded",
        "usage": "off_session",
        **fields,
    }


def dispute(dispute_id: str, created: int, **fields: Any) -> Json:
    """A dispute that wants an answer."""
    return {
        "id": dispute_id,
        "object": "dispute",
        "balance_transactions": [],
        "created": created,
        "enhanced_eligibility_types": [],
        "evidence": {},
        "evidence_details": {"due_by": None, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": None,
        "payment_method_details": {},
        "reason": "fraudulent",
        "status": "needs_response",
        **fields,
    }


def event(event_id: str, created: int, kind: str, about: Json, before: Json | None = None) -> Json:
    """An event about an object as it is now, with what of it was otherwise before."""
    data: Json = {"object": about} if before is None else {"object": about, "previous_attributes": before}
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": created,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def balance() -> Json:
    """What the account holds: nothing."""
    empty = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return {"object": "balance", "available": empty, "connect_reserved": [], "livemode": False, "pending": empty}


def portal(portal_id: str, created: int, customer_id: str, return_url: str) -> Json:
    """A page for a customer."""
    return {
        "id": portal_id,
        "object": "billing_portal.session",
        "configuration": "bpc_fake",
        "created": created,
        "customer": customer_id,
        "customer_account": None,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": return_url,
        "url": f"https://billing.stripe.com/p/session/{portal_id}",
    }


def meter_event(created: int, name: str, identifier: str, payload: Json) -> Json:
    """Usage that a meter took."""
    return {
        "object": "billing.meter_event",
        "created": created,
        "event_name": name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": created,
    }
