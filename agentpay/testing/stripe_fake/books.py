"""The fake's books and rules: customers and their methods, intents, charges, refunds, disputes. Its own idea of the
money.

Everything runs under one lock. What happens is told as events, each with the object as it then was.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import Any, Final, Literal

from agentpay.clock import Clock
from agentpay.testing.stripe_fake import shapes
from agentpay.testing.stripe_fake.refusals import Refused, invalid, missing
from agentpay.testing.stripe_fake.shapes import Json

ZERO: Final = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"]
)
STEPS: Final = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}
LEAST: Final = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50}
MOST: Final = 99_999_999


@dataclass(frozen=True)
class Effect:
    """Money that moved, once. `key` is that of the request that moved it; `account` whose share it was."""

    kind: Literal["charge", "refund"]
    intent: str
    units: int
    currency: str
    key: str | None
    account: str | None = None


class Books:
    """What the fake knows. `methods` behave by `acts`: ok, decline:<code>, error:<code>, authenticate, slow."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.customers: dict[str, Json] = {}
        self.methods: dict[str, Json] = {}
        self.acts: dict[str, str] = {}
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.accounts: dict[str, dict[str, int]] = {}
        self.effects: list[Effect] = []
        self.events: list[Json] = []
        self.refused_currencies: set[str] = set()
        self.metered: dict[str, tuple[str, int]] = {}
        self.refund_status = "succeeded"
        self._numbers = 0

    def new_id(self, prefix: str) -> str:
        """A fresh id, in the order of being made."""
        self._numbers += 1
        return f"{prefix}Fake{self._numbers:010d}"

    def now(self) -> int:
        """The present second."""
        return int(self.clock.now().timestamp())

    def tell(self, kind: str, about: Json, before: Json | None = None) -> None:
        """An event about an object as it is now."""
        self.events.append(shapes.event(self.new_id("evt_"), self.now(), kind, copy.deepcopy(about), before))

    # -- customers -----------------------------------------------------------------------------------------------------

    def add_customer(self, customer_id: str | None = None) -> str:
        """A customer without a method."""
        made = shapes.customer(customer_id or self.new_id("cus_"), self.now())
        self.customers[made["id"]] = made
        return str(made["id"])

    def add_method(self, customer_id: str | None, act: str = "ok", **fields: Any) -> str:
        """A method, saved with a customer where one is named."""
        made = shapes.method(self.new_id("pm_"), self.now(), **fields)
        made["customer"] = customer_id
        self.methods[made["id"]] = made
        self.acts[made["id"]] = act
        if customer_id is not None:
            self.tell("payment_method.attached", made)
        return str(made["id"])

    def customer(self, customer_id: str, *, param: str = "customer", status: int = 400) -> Json:
        """A customer that is there."""
        if customer_id not in self.customers:
            raise missing(f"customer: '{customer_id}'", param, status=status)
        return self.customers[customer_id]

    # -- intents -------------------------------------------------------------------------------------------------------

    def check_amount(self, amount: Any, currency: Any, param: str = "amount") -> tuple[int, str]:
        """An amount that can be charged."""
        if not str(amount).isdigit() or int(amount) < 1:
            raise invalid("Invalid integer", param=param, code="parameter_invalid_integer")
        units, code = int(amount), str(currency).lower()
        if len(code) != 3 or code in self.refused_currencies:
            raise invalid(f"Invalid currency: {code}.", param="currency")
        if units % STEPS.get(code, 1):
            raise invalid("Invalid amount.", param=param, code="invalid_charge_amount_no_decimal_compatible")
        if units < LEAST.get(code, 1):
            raise invalid("Amount must convert to at least 50 cents.", param=param, code="amount_too_small")
        if units > MOST:
            raise invalid("Amount must be no more than 999,999.99.", param=param, code="amount_too_large")
        return units, code

    def create_intent(self, params: Json) -> Json:
        """An intent: to be confirmed later, or a wallet's, which is confirmed at once."""
        units, currency = self.check_amount(params.get("amount"), params.get("currency"))
        customer = params.get("customer")
        if customer is not None:
            self.customer(customer)
        made = shapes.intent(
            self.new_id("pi_"),
            self.now(),
            amount=units,
            currency=currency,
            customer=customer,
            description=params.get("description"),
            metadata=dict(params.get("metadata", {})),
            on_behalf_of=params.get("on_behalf_of"),
            setup_future_usage=params.get("setup_future_usage"),
            transfer_data=self._transfer(params.get("transfer_data")),
            payment_method_types=params.get("allowed_payment_method_types") or ["card", "link"],
        )
        automatic = params.get("automatic_payment_methods")
        if automatic:
            made["automatic_payment_methods"] = {"enabled": True, "allow_redirects": automatic.get("allow_redirects")}
        self.intents[made["id"]] = made
        if params.get("confirm") == "true":
            self._send_to_wallet(made, params)
        return made

    def _transfer(self, data: Json | None) -> Json | None:
        if data is None:
            return None
        if data["destination"] not in self.accounts:
            raise missing(f"destination: '{data['destination']}'", "transfer_data[destination]")
        return {"destination": data["destination"]}

    def _send_to_wallet(self, intent: Json, params: Json) -> None:
        if (params.get("payment_method_data") or {}).get("type") != "crypto":
            raise invalid("The fake confirms at creation only what a wallet pays.", param="confirm")
        if intent["currency"] != "usd":
            raise invalid("The currency is not supported by crypto.", param="currency")
        if not params.get("return_url"):
            raise invalid("You must provide a `return_url`.", param="return_url", code="parameter_missing")
        url = f"https://crypto.stripe.com/pay/{intent['id']}"
        intent["status"] = "requires_action"
        intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"url": url, "return_url": None}}
        self.tell("payment_intent.requires_action", intent)

    def intent(self, intent_id: str, *, status: int = 404) -> Json:
        """An intent that is there."""
        if intent_id not in self.intents:
            raise missing(f"payment_intent: '{intent_id}'", "intent", status=status)
        return self.intents[intent_id]

    def update_intent(self, intent_id: str, params: Json) -> Json:
        """Change what may be changed at any time: the metadata."""
        intent = self.intent(intent_id)
        intent["metadata"].update(params.get("metadata", {}))
        return intent

    def confirm(self, intent_id: str, params: Json, key: str | None) -> Json:
        """Pay an intent with a saved method."""
        intent = self.intent(intent_id)
        if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
            raise self._unexpected(intent, "confirm")
        method = self.methods.get(params.get("payment_method", ""))
        if method is None:
            raise missing("payment_method", "payment_method")
        if method["customer"] != intent["customer"]:
            raise invalid("The payment method does not belong to the customer.", param="payment_method")
        automatic = intent["automatic_payment_methods"]
        if automatic and automatic["allow_redirects"] != "never":
            raise invalid("You must provide a `return_url`.", param="return_url", code="parameter_missing")
        intent["payment_method"] = method["id"]
        self._act(intent, self.acts[method["id"]], key)
        return intent

    def _act(self, intent: Json, act: str, key: str | None) -> None:
        name, _, code = act.partition(":")
        if name == "ok":
            self.succeed(intent, key)
        elif name == "slow":
            intent["status"] = "processing"
            self.tell("payment_intent.processing", intent)
        elif name == "authenticate":
            raise self._failed(intent, "authentication_required", "authentication_required")
        elif name == "error":
            raise self._failed(intent, code, None)
        else:
            raise self._failed(intent, "card_declined", code)

    def _failed(self, intent: Json, code: str, decline_code: str | None) -> Refused:
        said: Json = {"type": "card_error", "code": code, "message": "Your card was declined."}
        if decline_code is not None:
            said["decline_code"] = decline_code
        intent["status"], intent["last_payment_error"] = "requires_payment_method", dict(said)
        self.tell("payment_intent.payment_failed", intent)
        fields = {name: value for name, value in said.items() if name not in ("type", "message")}
        shown = copy.deepcopy(intent)
        return Refused(402, "card_error", said["message"], stored=True, payment_intent=shown, **fields)

    def succeed(self, intent: Json, key: str | None) -> None:
        """The money of an intent moves, once."""
        account = (intent["transfer_data"] or {}).get("destination")
        made = shapes.charge(
            self.new_id("ch_"),
            self.now(),
            amount=intent["amount"],
            currency=intent["currency"],
            customer=intent["customer"],
            payment_intent=intent["id"],
            payment_method=intent["payment_method"],
            transfer_data=intent["transfer_data"],
            metadata=dict(intent["metadata"]),
        )
        self.charges[made["id"]] = made
        intent.update(status="succeeded", amount_received=intent["amount"], latest_charge=made["id"])
        intent.update(next_action=None, last_payment_error=None)
        if account is not None:
            held = self.accounts[account]
            held[intent["currency"]] = held.get(intent["currency"], 0) + intent["amount"]
        self.effects.append(Effect("charge", intent["id"], intent["amount"], intent["currency"], key, account))
        self.tell("payment_intent.succeeded", intent)

    def cancel(self, intent_id: str, params: Json) -> Json:
        """End an intent that was not paid."""
        intent = self.intent(intent_id)
        if intent["status"] in ("succeeded", "processing", "canceled"):
            raise self._unexpected(intent, "cancel")
        intent.update(status="canceled", canceled_at=self.now(), next_action=None)
        intent["cancellation_reason"] = params.get("cancellation_reason")
        self.tell("payment_intent.canceled", intent)
        return intent

    def _unexpected(self, intent: Json, verb: str) -> Refused:
        return Refused(
            400,
            "invalid_request_error",
            f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}.",
            stored=True,
            code="payment_intent_unexpected_state",
            payment_intent=copy.deepcopy(intent),
        )

    # -- refunds -------------------------------------------------------------------------------------------------------

    def create_refund(self, params: Json, key: str | None) -> Json:
        """Give back of a charge: never more than is left."""
        if params.get("payment_intent") not in self.intents:
            raise missing("payment_intent", "payment_intent")
        intent = self.intents[params["payment_intent"]]
        if intent["latest_charge"] is None:
            raise invalid("This PaymentIntent does not have a successful charge to refund.", param="payment_intent")
        charge = self.charges[intent["latest_charge"]]
        left = charge["amount"] - charge["amount_refunded"]
        units = int(params.get("amount", left))
        if charge["disputed"]:
            raise invalid("The charge is disputed.", code="charge_disputed")
        if left == 0:
            raise invalid("The charge has already been refunded.", code="charge_already_refunded")
        if units > left:
            raise invalid("Refund amount is greater than unrefunded amount on charge.", param="amount")
        made = self._refunded(intent, charge, units, params)
        if made["status"] == "succeeded":
            self._give_back(intent, made, params.get("reverse_transfer") == "true", key)
        self.tell("refund.created", made)
        return made

    def _refunded(self, intent: Json, charge: Json, units: int, params: Json) -> Json:
        made = shapes.refund(
            self.new_id("re_"),
            self.now(),
            amount=units,
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=intent["id"],
            metadata=dict(params.get("metadata", {})),
            status=self.refund_status,
        )
        self.refunds[made["id"]] = made
        if made["status"] != "failed":
            charge["amount_refunded"] += units
            charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        return made

    def _give_back(self, intent: Json, refund: Json, reverse: bool, key: str | None) -> None:
        account = (intent["transfer_data"] or {}).get("destination")
        if account is not None and reverse:
            self.accounts[account][refund["currency"]] -= refund["amount"]
        share = account if reverse else None
        self.effects.append(Effect("refund", intent["id"], refund["amount"], refund["currency"], key, share))

    def end_refund(self, refund_id: str, status: str) -> None:
        """A pending refund comes to its end: succeeded or failed."""
        refund = self.refunds[refund_id]
        assert refund["status"] == "pending", "only a pending refund ends"
        refund["status"] = status
        if status == "succeeded":
            self._give_back(self.intents[refund["payment_intent"]], refund, False, None)
        else:
            self.charges[refund["charge"]]["amount_refunded"] -= refund["amount"]
        self.tell("refund.updated" if status == "succeeded" else "refund.failed", refund)

    # -- what happens by itself ----------------------------------------------------------------------------------------

    def end_intent(self, intent_id: str, *, paid: bool) -> None:
        """What a slow method, or a wallet, comes to."""
        intent = self.intents[intent_id]
        assert intent["status"] in ("processing", "requires_action"), "only what waits comes to an end"
        if paid:
            self.succeed(intent, None)
        else:
            self._failed(intent, "payment_intent_payment_attempt_failed", None)

    def dispute(self, intent_id: str, *, status: str = "needs_response", units: int | None = None) -> Json:
        """The customer's bank takes a charge back, or what became of that: lost or won."""
        intent = self.intents[intent_id]
        charge = self.charges[intent["latest_charge"]]
        known = next((one for one in self.disputes.values() if one["charge"] == charge["id"]), None)
        made = known or shapes.dispute(
            self.new_id("dp_"),
            self.now(),
            amount=units or charge["amount"],
            currency=charge["currency"],
            charge=charge["id"],
            payment_intent=intent_id,
        )
        made["status"] = status
        self.disputes[made["id"]] = made
        charge["disputed"] = True
        self.tell("charge.dispute.created" if known is None else "charge.dispute.closed", made)
        return made

    def detach(self, method_id: str) -> None:
        """A customer takes a saved method away."""
        method = self.methods[method_id]
        before, method["customer"] = {"customer": method["customer"]}, None
        self.tell("payment_method.detached", method, before)
