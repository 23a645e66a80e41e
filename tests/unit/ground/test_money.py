"""Money and prices: what is an amount, that nothing is rounded, and that currencies never mix."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay_policies.currencies import exponent
from agentpay_policies.errors import CurrencyMismatch, CurrencyUnknown, MoneyError, ValidationError
from agentpay_policies.money import MAX_MINOR, Money, Price, format_minor, nanos_per_minor, whole_minor

CURRENCIES = [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("USDT", 6), ("USDC", 6), ("USDP", 8)]


@pytest.mark.parametrize(("currency", "decimals"), CURRENCIES)
def test_each_currency_has_its_decimals(currency: str, decimals: int) -> None:
    assert exponent(currency) == decimals
    assert Money(1, currency).minor == 10**decimals
    assert Money.from_minor(1, currency).minor == 1
    assert -cast("int", Money(7, currency).amount.as_tuple().exponent) == decimals


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("12.50", "USD", 1250),
        ("12.5", "USD", 1250),
        ("0", "USD", 0),
        (0, "USD", 0),
        (5.99, "USD", 599),
        (5.0, "USD", 500),
        (Decimal("5.990"), "USD", 599),
        (Decimal("1E+2"), "USD", 10000),
        ("5", "JPY", 5),
        ("0.000001", "USDT", 1),
        ("10000000000000.00", "USD", MAX_MINOR),
    ],
)
def test_what_is_an_amount(amount: Any, currency: str, minor: int) -> None:
    money = Money(amount, currency)
    assert money.minor == minor
    assert Money.parse(str(money)) == money == Money.from_minor(minor, currency)


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-1", "USD"),
        (-1, "USD"),
        (Decimal("-0"), "USD"),
        (-0.0, "USD"),
        ("NaN", "USD"),
        (Decimal("NaN"), "USD"),
        (Decimal("sNaN"), "USD"),
        (Decimal("Infinity"), "USD"),
        (float("nan"), "USD"),
        (float("inf"), "USD"),
        ("1e400", "USD"),
        ("1e2", "USD"),
        (1e400, "USD"),
        (1e22, "USD"),
        (Decimal("1E+400"), "USD"),
        (Decimal("1E+999999999"), "USD"),
        (Decimal("1E-999999999"), "USD"),
        (10**30, "USD"),
        pytest.param(10**6000, "USD", id="6000 digits"),
        ("10000000000000.01", "USD"),
        ("1,000", "USD"),
        ("1_000", "USD"),
        (" 1", "USD"),
        ("1 ", "USD"),
        ("1\n", "USD"),
        ("+1", "USD"),
        ("01", "USD"),
        ("1.", "USD"),
        (".5", "USD"),
        ("", "USD"),
        ("١", "USD"),
        ("$1", "USD"),
        (True, "USD"),
        (False, "USD"),
        (None, "USD"),
        ([1], "USD"),
        (b"1", "USD"),
        (1j, "USD"),
        ("19.999", "USD"),
        (0.1 + 0.2, "USD"),
        (19.999, "USD"),
        ("0.5", "JPY"),
        ("0.0000001", "USDT"),
        ("1234567890123.000000000000000001", "USD"),
    ],
)
def test_what_is_no_amount(amount: Any, currency: str) -> None:
    with pytest.raises(MoneyError) as caught:
        Money(amount, currency)
    assert caught.value.code == "AMOUNT_INVALID"
    assert isinstance(caught.value, ValidationError) and isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "currency", ["usd", "USD ", "", "XXX", "XAU", "BTC", "US", "USDTT", "U\u0405D", None, 5, [], b"USD"]
)
def test_what_is_no_currency(currency: Any) -> None:
    with pytest.raises(CurrencyUnknown) as caught:
        Money("1", currency)
    assert caught.value.next_step


@pytest.mark.parametrize(
    "text", ["", "1", "1USD", "USD 1", "1  USD", "1 USD ", " 1 USD", "1 USD 2", "1.001 USD", "1,0 USD"]
)
def test_what_is_no_money_text(text: str) -> None:
    with pytest.raises(MoneyError):
        Money.parse(text)


def test_money_adds_and_compares_within_its_currency() -> None:
    one, two = Money("1", "USD"), Money("2", "USD")
    assert (one + two, two - one) == (Money("3", "USD"), one)
    assert one < two and two > one and one <= one and one >= one
    with pytest.raises(MoneyError):
        one - two
    for compare in ("__add__", "__sub__", "__lt__", "__le__", "__gt__", "__ge__"):
        with pytest.raises(CurrencyMismatch):
            getattr(one, compare)(Money("1", "EUR"))
    assert Money("1", "USD") != Money("1", "EUR")


def test_the_application_may_round_its_own_decimals_as_it_likes() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert Money("123456.78", "USD").minor == 12345678
        assert Money.from_minor(12345678, "USD") == Money("123456.78", "USD")
        assert Price("12345.123456789", "USD").nanos == 12345123456789
        assert whole_minor(12345123456789, "USD") == (1234512, 3456789)


@given(minor=st.integers(0, MAX_MINOR), currency=st.sampled_from([code for code, _ in CURRENCIES]))
def test_minor_units_survive_every_way_of_writing_them(minor: int, currency: str) -> None:
    money = Money.from_minor(minor, currency)
    assert money.minor == minor
    assert Money(money.amount, currency) == Money.parse(str(money)) == money
    assert format_minor(-minor, currency).lstrip("-") == str(money).partition(" ")[0]


@given(nanos=st.integers(0, 10**18), currency=st.sampled_from([code for code, _ in CURRENCIES]))
def test_splitting_nanos_conserves_them(nanos: int, currency: str) -> None:
    assert Price.from_nanos(nanos, currency).nanos == nanos
    minor, rest = whole_minor(nanos, currency)
    unit = nanos_per_minor(currency)
    assert minor * unit + rest == nanos
    assert 0 <= rest < unit


@pytest.mark.parametrize("amount", ["0.0000000001", "-1", "NaN", True, 1e-10, "1000000000000.000000001"])
def test_what_is_no_price(amount: Any) -> None:
    with pytest.raises(MoneyError):
        Price(amount, "USD")


@pytest.mark.parametrize(
    ("amount", "text"), [("0.0015", "0.0015 USD"), ("100", "100 USD"), ("0", "0 USD"), ("1.50", "1.5 USD")]
)
def test_a_price_is_written_plainly(amount: str, text: str) -> None:
    assert str(Price(amount, "USD")) == text
    assert Price(amount, "USD") == Price(Decimal(amount), "USD")
