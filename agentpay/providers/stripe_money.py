"""Money as Stripe counts it: whole units of its own, by currency. Pure.

Stripe's units are not always ISO 4217's: `MGA` has no decimals there, `ISK` and `UGX` have two that must be zero, and
the last of three decimals must be zero. What does not fit is refused, never rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from agentpay.errors import CurrencyUnknown, ProviderUnsupported
from agentpay_policies.currencies import exponent
from agentpay_policies.money import Money

ZERO_DECIMAL: Final = frozenset(
    ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"]
)  # fmt: skip
THREE_DECIMAL: Final = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
STEPS: Final[Mapping[str, int]] = MappingProxyType({"ISK": 100, "UGX": 100, **dict.fromkeys(sorted(THREE_DECIMAL), 10)})
"""Currencies of which Stripe takes only such multiples of its unit. HUF and TWD are so in payouts only, not in
charges."""

_PRESENTMENT: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF "
    "CLP CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR "
    "ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR "
    "MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR "
    "SEK SGD SHP SLE SOS SRD SZL THB TJS TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF "
    "XPF YER ZAR ZMW"
)

MINIMUM: Final[Mapping[str, str]] = MappingProxyType({
    "AED": "2.00", "AUD": "0.50", "BRL": "0.50", "CAD": "0.50", "CHF": "0.50", "CZK": "15.00", "DKK": "2.50",
    "EUR": "0.50", "GBP": "0.30", "HKD": "4.00", "HUF": "175.00", "INR": "0.50", "JPY": "50", "MXN": "10.00",
    "MYR": "2.00", "NOK": "3.00", "NZD": "0.50", "PLN": "2.00", "RON": "2.00", "SEK": "3.00", "SGD": "0.50",
    "THB": "10.00", "USD": "0.50",
})  # fmt: skip
"""The least that Stripe charges, where the currency is settled in as well. For others it depends on the account."""

_DIGITS: Final = 8
_MORE_DIGITS: Final = 12
_LONG: Final = frozenset(["COP", "HUF", "IDR", "INR", "JPY", "KRW", "LAK", "LBP", "PYG", "UZS", "VND"])
"""Currencies of small units, of which Stripe takes longer amounts: there it says itself what is too much."""


def stripe_exponent(currency: str) -> int:
    """How many decimals of a currency Stripe's unit has."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def to_units(money: Money) -> int:
    """The amount in Stripe's units.

    Raises:
        ProviderUnsupported: Stripe cannot charge exactly this amount.
    """
    scaled = money.amount.scaleb(stripe_exponent(money.currency))
    units = int(scaled)
    step = STEPS.get(money.currency, 1)
    if scaled != units or units % step:
        least = from_units(step, money.currency.lower())
        raise ProviderUnsupported(f"stripe charges {money.currency} in steps of {least}, and {money} is none.")
    return units


def from_units(units: int, currency: str) -> Money | None:
    """The money that Stripe's units are; None for a currency, or a fraction of one, that we do not keep."""
    code = currency.upper()
    try:
        decimals = exponent(code)
    except CurrencyUnknown:
        return None
    minor = Decimal(units).scaleb(decimals - stripe_exponent(code))
    return Money.from_minor(int(minor), code) if units >= 0 and minor == int(minor) else None


def _known(currency: str) -> bool:
    try:
        exponent(currency)
    except CurrencyUnknown:  # what ISO 4217 has withdrawn since
        return False
    return True


CURRENCIES: Final = frozenset(filter(_known, _PRESENTMENT.split()))
"""What Stripe charges in, of what ISO 4217 still lists."""


def minimum() -> dict[str, Money]:
    """The least of each currency, where it is known."""
    return {currency: Money(amount, currency) for currency, amount in MINIMUM.items()}


def maximum() -> dict[str, Money]:
    """The most of each currency: as many digits as Stripe takes."""
    return {currency: _most(currency) for currency in CURRENCIES}


def _most(currency: str) -> Money:
    units = 10 ** (_MORE_DIGITS if currency in _LONG else _DIGITS) - STEPS.get(currency, 1)
    most = from_units(units, currency.lower())
    assert most is not None, f"the largest amount of {currency} is money"
    return most
