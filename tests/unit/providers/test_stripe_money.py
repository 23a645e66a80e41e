"""Stripe's units, currency by currency: exactly, or refused."""

from __future__ import annotations

import pytest

from agentpay.errors import ProviderUnsupported
from agentpay.providers.stripe_money import (
    CURRENCIES,
    MINIMUM,
    STEPS,
    THREE_DECIMAL,
    ZERO_DECIMAL,
    from_units,
    maximum,
    minimum,
    to_units,
)
from agentpay_policies.currencies import exponent
from agentpay_policies.money import Money

EXACT = [
    ("12.34", "USD", 1234), ("0.01", "EUR", 1), ("500", "JPY", 500), ("5", "KRW", 5), ("5", "MGA", 5),
    ("5.120", "KWD", 5120), ("0.010", "BHD", 10), ("5", "ISK", 500), ("5", "UGX", 500),
    ("10.45", "HUF", 1045), ("10.45", "TWD", 1045), ("1", "XPF", 1), ("7", "CLP", 7), ("1.50", "TJS", 150),
]  # fmt: skip
REFUSED = [("5.124", "KWD"), ("0.001", "TND"), ("5.50", "MGA"), ("0.001", "OMR"), ("1.005", "JOD")]


@pytest.mark.parametrize(("amount", "currency", "units"), EXACT)
def test_an_amount_is_so_many_units_and_back(amount: str, currency: str, units: int) -> None:
    money = Money(amount, currency)
    assert to_units(money) == units
    assert from_units(units, currency.lower()) == money


@pytest.mark.parametrize(("amount", "currency"), REFUSED)
def test_what_stripe_has_no_unit_for_is_refused_and_never_rounded(amount: str, currency: str) -> None:
    with pytest.raises(ProviderUnsupported, match=currency):
        to_units(Money(amount, currency))


@pytest.mark.parametrize("currency", sorted(CURRENCIES))
def test_every_currency_goes_there_and_back(currency: str) -> None:
    one = Money("100", currency)
    assert from_units(to_units(one), currency.lower()) == one
    assert to_units(maximum()[currency]) % STEPS.get(currency, 1) == 0


def test_the_tables_are_of_currencies_that_stripe_takes() -> None:
    assert ZERO_DECIMAL | THREE_DECIMAL | set(STEPS) | set(MINIMUM) <= CURRENCIES
    assert not ZERO_DECIMAL & THREE_DECIMAL
    assert {code for code in CURRENCIES if exponent(code) == 3} == THREE_DECIMAL
    odd = {code for code in CURRENCIES if (exponent(code) == 0) != (code in ZERO_DECIMAL)}
    assert odd == {"MGA", "ISK", "UGX"}, "where Stripe's decimals are not those of ISO 4217"


def test_the_bounds_are_amounts_of_their_currencies() -> None:
    least, most = minimum(), maximum()
    assert (str(least["USD"]), str(least["JPY"]), str(most["USD"])) == ("0.50 USD", "50 JPY", "999999.99 USD")
    assert all(to_units(money) > 0 and money < most[code] for code, money in least.items())


@pytest.mark.parametrize(("units", "currency"), [(1, "isk"), (50, "ugx"), (5, "xxx"), (5, "toolong"), (-1, "usd")])
def test_units_that_are_no_money_of_ours_are_none(units: int, currency: str) -> None:
    assert from_units(units, currency) is None
