"""The tables and the pure parts: money, ids, refusals, answers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.errors import ProviderUnsupported
from agentpay.providers import paypal_reading as reading
from agentpay.providers.base import Order, ReturnUrls, SetupOrder
from agentpay.providers.outcomes import Declined, NotSent, RequiresAction, Succeeded, Unknown
from agentpay.providers.paypal_errors import DECLINES, MEANINGS, outcome_of, problem
from agentpay.providers.paypal_ids import Mark, reference, request_id, split, vaulted
from agentpay.providers.paypal_money import CURRENCIES, WHOLE, read, value_of
from agentpay.providers.paypal_requests import charge, setup
from agentpay_policies.money import Money
from agentpay_policies.payees import SELF, Payee
from unit.providers.paypal.test_events import ANYTHING

# -- money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("money", "value"),
    [
        (Money("10.5", "USD"), "10.50"),
        (Money("1050", "JPY"), "1050"),
        (Money("1050", "HUF"), "1050"),
        (Money("1050.00", "TWD"), "1050"),
        (Money("0.01", "EUR"), "0.01"),
    ],
)
def test_an_amount_is_written_as_paypal_reads_it(money: Money, value: str) -> None:
    assert value_of(money) == value
    assert read({"currency_code": money.currency, "value": value}) == money


@pytest.mark.parametrize(
    "money",
    [
        Money("10.50", "HUF"),
        Money("10.01", "TWD"),
        Money("10.000", "KWD"),
        Money("10.00", "INR"),
        Money("10.000000", "USDT"),
        Money("0", "USD"),
    ],
)
def test_what_paypal_does_not_take_is_refused_before_anything_is_sent(money: Money) -> None:
    for payee in ("self", "paypal:ana@example.com", "paypal:ABCDEFGHJKLMN"):
        with pytest.raises(ProviderUnsupported):
            charge(Order("pay_1", "cus_1", money, Payee.parse(payee)), None)


def test_the_currencies_without_decimals_are_paypals() -> None:
    assert {"HUF", "JPY", "TWD"} == WHOLE and WHOLE < CURRENCIES


@pytest.mark.parametrize(
    ("method", "currency", "payee"),
    [("venmo", "EUR", "self"), ("card", "USD", "self"), ("venmo", "USD", "paypal:ana@example.com")],
)
def test_a_method_that_cannot_pay_this_is_refused(method: str, currency: str, payee: str) -> None:
    order = Order("pay_1", "cus_1", Money("10.00", currency), Payee.parse(payee), method=method)
    with pytest.raises(ProviderUnsupported):
        charge(order, None)
    if method == "card":
        with pytest.raises(ProviderUnsupported):
            setup(SetupOrder("set_1", "cus_1", ReturnUrls("https://a.example", "https://b.example"), method))


@given(st.none() | st.text() | ANYTHING)
def test_whatever_stands_where_money_should_it_is_read_or_not(value: Any) -> None:
    assert read(value) is None or isinstance(read(value), Money)


# -- ids -------------------------------------------------------------------------------------------------------------


@given(st.text(), st.text())
def test_a_request_id_is_the_keys_own_and_short_enough(one: str, other: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{38}", request_id(one))
    assert (request_id(one) == request_id(other)) == (one == other)


@given(
    key=st.from_regex(r"[A-Za-z0-9_-]{1,90}", fullmatch=True),
    steps=st.integers(0, 2),
    minor=st.integers(1, 10**9),
    currency=st.sampled_from(sorted(CURRENCIES - WHOLE)),
)
def test_a_mark_comes_back_as_it_was_and_fits(key: str, steps: int, minor: int, currency: str) -> None:
    mark = Mark(key, steps, Money.from_minor(minor, currency))
    assert Mark.read(str(mark)) == mark
    assert len(str(mark)) <= 127 and re.fullmatch(r"[A-Za-z0-9\-_.,]*", str(mark)), "as PayPal wants a custom_id"


@given(st.none() | st.integers() | st.text())
def test_what_is_no_mark_is_read_as_none(text: Any) -> None:
    assert Mark.read(text) is None or (Mark.read(text) is not None and str(Mark.read(text)))


def test_references_and_saved_methods_are_told_apart() -> None:
    assert split(reference("order", "5O1")) == ("order", "5O1")
    assert reference("order", "../x") is None and reference("order", 7) is None
    assert split("5O1") == (None, "") == split(None) == split("order:") == split("order:a/b")
    assert vaulted("paypal:8kk8451t") == ("paypal", "8kk8451t") and vaulted("venmo:x") == ("venmo", "x")
    assert vaulted("cus_0123456789abcdef01234567") is None and vaulted("paypal:ana@example.com") is None


# -- refusals --------------------------------------------------------------------------------------------------------


def test_the_codes_of_declines_are_closed_and_plain() -> None:
    assert all(re.fullmatch(r"[a-z][a-z_]{2,39}", code) for code in DECLINES.values())
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", issue) for issue in DECLINES)
    assert not DECLINES.keys() & MEANINGS.keys()
    for never in (
        "DUPLICATE_INVOICE_ID",
        "DUPLICATE_REQUEST_ID",
        "PREVIOUS_REQUEST_IN_PROGRESS",
        "INTERNAL_SERVER_ERROR",
    ):
        assert never not in DECLINES, "it says nothing about the money"


@pytest.mark.parametrize("issue", sorted(DECLINES))
def test_each_issue_of_the_table_is_a_decline_where_paypal_refuses(issue: str) -> None:
    body = {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": issue}]}
    assert outcome_of(problem(422, body)) == Declined(DECLINES[issue], f"PayPal said no: {issue}.", None)
    for status in (409, 500, 503, 200, 302):
        assert isinstance(outcome_of(problem(status, body)), Unknown), "only a refusal refuses"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "invalid_token"}, NotSent),
        (403, {"name": "NOT_AUTHORIZED", "details": [{"issue": "PERMISSION_DENIED"}]}, NotSent),
        (403, {"name": "SOMETHING"}, Unknown),
        (403, {"name": "NOT_AUTHORIZED", "details": [{"issue": "PAYEE_ACCOUNT_RESTRICTED"}]}, Declined),
        (429, {"name": "RATE_LIMIT_REACHED"}, NotSent),
        (400, {"name": "INVALID_REQUEST"}, Declined),
        (400, {"name": "SOMETHING"}, Unknown),
        (422, {"details": [{"issue": "NEW_ISSUE"}]}, Unknown),
        (422, {"details": [{"issue": "a whole sentence, of somebody's"}]}, Unknown),
        (422, None, Unknown),
        (500, {"name": "INTERNAL_SERVER_ERROR"}, Unknown),
    ],
)
def test_only_what_proves_something_is_believed(status: int, body: Any, expected: type) -> None:
    outcome = outcome_of(problem(status, body))
    assert isinstance(outcome, expected)
    assert "sentence" not in str(outcome), "no text of others in our evidence"


@given(status=st.integers(100, 599), body=ANYTHING)
def test_no_refusal_is_ever_a_success(status: int, body: Any) -> None:
    assert isinstance(outcome_of(problem(status, body)), NotSent | Declined | Unknown)


# -- answers ---------------------------------------------------------------------------------------------------------


@given(ANYTHING)
def test_whatever_paypal_answers_is_an_outcome_and_no_success_without_a_mark(found: Any) -> None:
    ten = Money("10.00", "USD")
    assert isinstance(reading.order(found), Unknown)
    assert not isinstance(reading.capture(found), Succeeded)
    reading.refund(found, expected=ten)
    assert not isinstance(reading.payout(found, expected=ten, key="k"), Succeeded)


def test_an_answer_in_short_is_read_by_what_was_asked_for() -> None:
    mark = Mark("key_1", 2, Money("10.00", "USD"))
    short = {
        "id": "5O1",
        "status": "PAYER_ACTION_REQUIRED",
        "links": [{"rel": "payer-action", "href": "https://p.example"}],
    }
    assert reading.order(short, key="key_1", expected=mark) == RequiresAction("order:5O1", url="https://p.example")
    assert isinstance(reading.order(short, key="key_1"), Unknown), "without that it is nobody's"
    assert isinstance(reading.order({**short, "status": "COMPLETED"}, expected=mark), Unknown), "no capture, no success"
    assert isinstance(reading.order({**short, "purchase_units": []}, expected=mark), Unknown)


def test_the_page_of_an_order_is_on_the_web() -> None:
    for href in ("javascript:alert(1)", "http://www.paypal.com/x", "", 7, None):
        assert reading.page_of({"links": [{"rel": "approve", "href": href}]}) is None
    assert reading.page_of({"links": "x"}) is None and reading.page_of({"links": [7]}) is None
    assert SELF.kind == "self"
