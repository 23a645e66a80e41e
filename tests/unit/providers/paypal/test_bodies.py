"""What PayPal is sent: by our own schemas of it, and by PayPal's OpenAPI files where AGENTPAY_SPECS has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

from agentpay.providers.base import Order, ReturnUrls, SetupOrder
from agentpay.providers.paypal import PayPalProvider
from agentpay.testing import RecordingSteps
from agentpay.testing.paypal_fake import PayPalFake, Received
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee
from conftest import START
from unit.providers.paypal.calls import IDS, TEN, URLS, Caller, charged

SCHEMAS = Path(__file__).parent / "schemas"
OF_STEP = {
    "create": "order",
    "charge": "order",
    "capture": "capture",
    "refund": "refund",
    "payout": "payout",
    "setup": "setup_token",
    "save": "payment_token",
    "webhook": "webhook",
    "verify": "verify",
}
PAYPALS = {
    "create": ("checkout_orders_v2", "order_request"),
    "charge": ("checkout_orders_v2", "order_request"),
    "capture": ("checkout_orders_v2", "order_capture_request"),
    "refund": ("payments_payment_v2", "refund_request"),
    "setup": ("vault_payment_tokens_v3", "setup_token_request"),
    "save": ("vault_payment_tokens_v3", "payment_token_request"),
    "webhook": ("notifications_webhooks_v1", "webhook"),
    "verify": ("notifications_webhooks_v1", "verify_webhook_signature"),
}
"""PayPal's file and schema of each; of payouts it has published none."""

NEWER = {"save": ["'SETUP_TOKEN' is not one of ['BILLING_AGREEMENT']"]}
"""What PayPal takes since its files of February 2024, by its present documentation and SDK."""


@pytest.fixture(scope="module")
def sent(running: PayPalFake) -> list[Received]:
    """One of each request that there is, as it arrived."""
    provider = running.provider()
    known = len(running.received)
    _charges(running, provider)
    page = provider.setup_method(SetupOrder("set_1", "cus_1", URLS), IDS.new("key"))
    provider.setup_method(SetupOrder("set_2", "cus_1", URLS, "venmo"), IDS.new("key"))
    running.approve_setup(page.reference)
    provider.save_method(page.reference)
    provider.register_webhook("https://shop.example/hooks/paypal")
    asking = running.provider(verifier=running.verifier(by_endpoint=True))
    delivery = running.delivered(running.books.tell("PAYMENT.SOMETHING.NEW", {}))
    asking.parse_webhook(delivery.body, delivery.headers, START)
    for one in (provider, asking):
        one.close()
    return [one for one in running.received[known:] if one.method == "POST" and one.step != "token"]


def _charges(fake: PayPalFake, provider: PayPalProvider) -> None:
    for money in (TEN, Money("1050", "JPY"), Money("1050", "HUF")):
        charge = charged(provider, fake.save_method(), money)
        Caller(provider).refund(charge, Money.from_minor(money.minor // 2 // 100 * 100, money.currency))
        Caller(provider).send(money=money)
    for method in (None, "paypal", "venmo"):
        Caller(provider).charge(fake.save_method("venmo"), method=method, urls=URLS)
    order = Caller(provider).charge(payee=Payee.parse("paypal:ABCDEFGHJKLMN"))
    fake.approve(order.reference.partition(":")[2])
    Caller(provider).resume(order.reference)
    for payee in ("self", "paypal:ana@example.com"):
        noted = Order(IDS.new("pay"), "cus_1", TEN, Payee.parse(payee), memo="Bericht über Q3 ☺")
        provider.charge(noted, RecordingSteps(provider.prepare(noted), key=IDS.new("key")))


@cache
def ours(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_every_body_is_as_our_schemas_say(sent: list[Received]) -> None:
    assert {one.step for one in sent} == set(OF_STEP)
    for one in sent:
        assert [error.message for error in ours(OF_STEP[one.step]).iter_errors(one.body)] == [], one.step


def test_every_schema_is_of_something_that_is_sent() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == set(OF_STEP.values())


def broken(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Bodies of orders that PayPal must not get."""
    for path, value in (
        (("intent",), "AUTHORIZE"),
        (("extra",), 1),
        (("purchase_units", 0, "amount", "value"), "10.5"),
        (("purchase_units", 0, "amount", "value"), 10.5),
        (("purchase_units", 0, "amount", "currency_code"), "usd"),
        (("purchase_units", 0, "custom_id"), "anything"),
        (("payment_source",), {}),
    ):
        made = deepcopy(body)
        place: Any = made
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        yield made


def test_our_schemas_find_what_is_wrong(sent: list[Received]) -> None:
    order = next(dict(one.body) for one in sent if one.step == "charge")
    for made in broken(order):
        assert list(ours("order").iter_errors(made)) != [], made


@cache
def paypals(file: str, schema: str) -> OAS30Validator:
    folder = os.environ.get("AGENTPAY_SPECS", "")
    path = Path(folder, "paypal", f"{file}.json")
    if not folder or not path.exists():
        pytest.skip("PAYPAL'S OPENAPI NOT TESTED: AGENTPAY_SPECS names no folder that has its files")
    contents = json.loads(path.read_text("utf-8"))
    registry: Any = Registry().with_resource("urn:paypal", DRAFT4.create_resource(contents))
    return OAS30Validator({"$ref": f"urn:paypal#/components/schemas/{schema}"}, registry=registry)


@pytest.mark.parametrize("step", PAYPALS)
def test_every_body_is_as_paypals_own_files_say(sent: list[Received], step: str) -> None:
    validator = paypals(*PAYPALS[step])
    bodies = [one.body for one in sent if one.step == step]
    assert bodies
    for body in bodies:
        assert [error.message for error in validator.iter_errors(body)] == NEWER.get(step, [])


def test_paypals_own_files_find_what_is_wrong(sent: list[Received]) -> None:
    validator = paypals(*PAYPALS["charge"])
    order = next(dict(one.body) for one in sent if one.step == "charge")
    changes: tuple[dict[str, Any], ...] = ({"intent": "FOO"}, {"purchase_units": [{}]})
    for change in changes:
        assert list(validator.iter_errors({**order, **change})) != []


def test_the_addresses_of_a_plain_charge_are_those_of_the_settings(fake: PayPalFake) -> None:
    provider = fake.provider(urls=ReturnUrls("https://a.example/back", "https://a.example/no"))
    Caller(provider).charge()
    context = fake.received[-1].body["payment_source"]["paypal"]["experience_context"]
    assert (context["return_url"], context["cancel_url"]) == ("https://a.example/back", "https://a.example/no")
    provider.close()
