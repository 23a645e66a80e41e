"""Money as PayPal takes it: decimal strings, in the currencies that it has, some of them in whole units only. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentpay.errors import AgentPayError, ProviderUnsupported
from agentpay_policies.money import Money

CURRENCIES: Final = frozenset({
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS",
    "JPY", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD",
})  # fmt: skip
"""PayPal's own list. BRL, CNY and MYR are for accounts of their countries."""

WHOLE: Final = frozenset({"HUF", "JPY", "TWD"})
"""PayPal takes no decimals of these, though two of them have some."""


def value_of(money: Money) -> str:
    """The amount as PayPal reads it: `10.50`, and `1050` for what it takes in whole units only.

    Raises:
        ProviderUnsupported: PayPal has no such currency, takes whole units only, or nothing at all is to be paid.
    """
    if money.currency not in CURRENCIES:
        raise ProviderUnsupported(f"paypal does not take {money.currency}; it takes {', '.join(sorted(CURRENCIES))}.")
    if money.minor == 0:
        raise ProviderUnsupported("PayPal takes no payment of nothing.")
    if money.currency not in WHOLE:
        return f"{money.amount:f}"
    if money.amount != money.amount.to_integral_value():
        raise ProviderUnsupported(
            f"PayPal takes {money.currency} in whole units only, and {money} is not.",
            next_step=f"Use an amount of whole {money.currency}, or another provider.",
        )
    return str(int(money.amount))


def wire(money: Money) -> dict[str, str]:
    """The amount as PayPal's newer interfaces write it."""
    return {"currency_code": money.currency, "value": value_of(money)}


def read(amount: object) -> Money | None:
    """Money out of an answer of PayPal's, in either of its spellings; None where it is none."""
    if not isinstance(amount, Mapping):
        return None
    currency = amount.get("currency_code", amount.get("currency"))
    value = amount.get("value", amount.get("total"))
    if not isinstance(currency, str) or not isinstance(value, str):
        return None
    try:
        return Money(value, currency)
    except AgentPayError:
        return None
