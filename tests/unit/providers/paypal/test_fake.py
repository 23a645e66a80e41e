"""The fake is strict where PayPal is: request ids, amounts, orders nobody approved; and it breaks as it is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agentpay.providers.paypal import PayPalProvider
from agentpay.providers.paypal_client import Client, Reply
from agentpay.testing.paypal_fake import Fault, PayPalFake
from unit.providers.paypal.calls import IDS, Caller, ordered

UNIT = {"amount": {"currency_code": "USD", "value": "10.00"}}
ORDER: dict[str, Any] = {"intent": "CAPTURE", "purchase_units": [UNIT], "payment_source": {"paypal": {}}}
OTHER = {**ORDER, "purchase_units": [{"amount": {"currency_code": "USD", "value": "11.00"}}]}


@pytest.fixture
def client(provider: PayPalProvider) -> Iterator[Client]:
    """Both SDKs, without what we make of them."""
    yield provider._client


def reply(answer: object) -> Reply:
    assert isinstance(answer, Reply)
    return answer


def test_a_request_id_has_one_answer_and_names_one_request(fake: PayPalFake, client: Client) -> None:
    key, known = IDS.new("key"), len(fake.books.orders)
    first, again = reply(client.create_order(ORDER, key)), reply(client.create_order(ORDER, key))
    assert (first.status, again.status, first.body) == (201, 200, again.body)
    other = reply(client.create_order(OTHER, key))
    assert (other.status, other.body["details"][0]["issue"]) == (422, "DUPLICATE_REQUEST_ID")
    assert len(fake.books.orders) == known + 1


def test_a_refusal_is_repeated_too(fake: PayPalFake, provider: PayPalProvider, client: Client) -> None:
    order, key = ordered(provider), IDS.new("key")
    early = reply(client.capture_order(order, key))
    fake.approve(order)
    assert (
        reply(client.capture_order(order, key)) == early and early.body["details"][0]["issue"] == "ORDER_NOT_APPROVED"
    )
    assert reply(client.capture_order(order, IDS.new("key"))).body["status"] == "COMPLETED"
    twice = reply(client.capture_order(order, IDS.new("key")))
    assert twice.body["details"][0]["issue"] == "ORDER_ALREADY_CAPTURED"


def test_a_post_without_a_request_id_is_refused(client: Client) -> None:
    answer = reply(client.create_order(ORDER, ""))
    assert answer.body["details"][0]["issue"] == "PAYPAL_REQUEST_ID_REQUIRED"


def test_a_fault_can_be_for_one_key(fake: PayPalFake, provider: PayPalProvider) -> None:
    broken, whole = Caller(provider), Caller(provider)
    fault = fake.fault("create", "error_before", key=f"{broken.key}-1")
    assert whole.charge().reference.startswith("order:") and fault.times == 1
    assert broken.charge().reference == "None" and fault.times == 0


def test_a_script_is_told_where_a_request_is(fake: PayPalFake, provider: PayPalProvider) -> None:
    seen: list[tuple[str, str]] = []
    fake.script = lambda point, step, _: seen.append((point, step))
    Caller(provider).charge(fake.save_method())
    fake.script = None
    assert [point for point, step in seen if step == "charge"] == ["before_move", "after_move", "before_answer"]


def test_there_is_no_fault_of_another_name() -> None:
    with pytest.raises(ValueError, match="no fault"):
        Fault("create", "explode")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("currency", "value", "issue"),
    [
        ("INR", "10.00", "INVALID_CURRENCY_CODE"),
        ("HUF", "10.50", "DECIMALS_NOT_SUPPORTED"),
        ("USD", "10.505", "DECIMAL_PRECISION"),
        ("USD", "0.00", "CANNOT_BE_ZERO_OR_NEGATIVE"),
    ],
)
def test_an_amount_that_paypal_refuses_is_refused(client: Client, currency: str, value: str, issue: str) -> None:
    unit = {"amount": {"currency_code": currency, "value": value}}
    answer = reply(client.create_order({**ORDER, "purchase_units": [unit]}, IDS.new("key")))
    assert (answer.status, answer.body["details"][0]["issue"]) == (422, issue)
