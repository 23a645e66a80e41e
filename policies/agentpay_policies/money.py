"""Money and prices: `Decimal` at the edge, integers inside, never a float in between.

`Money` is what is charged and refunded, in whole minor units. `Price` is what a unit of usage costs, down to 10⁻⁹ of
the currency; it becomes `Money` once, when it is billed, and the remainder is carried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, Self

from agentpay_policies.currencies import exponent
from agentpay_policies.errors import CurrencyMismatch, MoneyError

MAX_MINOR: Final = 10**15
"""The most that one amount may be, in minor units: thousands of them still add up within a BIGINT."""

PRICE_DECIMALS: Final = 9
NANO: Final = 10**PRICE_DECIMALS

AMOUNT_PATTERN: Final = r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$"
"""An amount as tools and policy files write it."""

_AMOUNT = re.compile(AMOUNT_PATTERN.rstrip("$") + r"\Z")

_EXACT: Final = Context(prec=80)
"""Arithmetic that rounds nothing here, whatever precision the application has set for its own."""

_LARGEST_INT: Final = 10**18

Amount = Decimal | str | int | float


def parse_decimal(value: object) -> Decimal:
    """One exact, finite, non-negative number from a Decimal, a plain decimal string, an int, or a float by its `repr`.

    Raises:
        MoneyError: booleans, NaN, infinities, negatives, exponents, thousands separators, anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | str | int | float):
        raise MoneyError(f"An amount is a decimal number, not {type(value).__name__}.")
    text = _plain(value)
    if not _AMOUNT.match(text):
        raise MoneyError(f"{text[:40]!r} is not an amount: digits, and at most one point.")
    return Decimal(text)


def _plain(value: Amount) -> str:
    """The number in digits. What is far out of range is not written out: Decimal("1E+999999999") would fill memory."""
    if isinstance(value, Decimal):
        power = value.as_tuple().exponent
        return format(value, "f") if isinstance(power, int) and -40 < power < 40 else str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        raise MoneyError("The amount is larger than the largest that is accepted.")
    return str(value)


def _shifted(number: int, decimals: int) -> Decimal:
    return Decimal(number).scaleb(-decimals, context=_EXACT)


def _scaled(number: Decimal, decimals: int, what: str) -> int:
    scaled = number.scaleb(decimals, context=_EXACT)
    if scaled != scaled.to_integral_value(context=_EXACT):
        raise MoneyError(f"{what} has {decimals} decimals, and {number} has more.")
    return int(scaled)


@dataclass(frozen=True, order=False)
class Money:
    """An amount of one currency, with exactly that currency's decimals; never negative.

    >>> Money("12.5", "USD")
    Money('12.50', 'USD')
    >>> Money(5.99, "USD").minor
    599

    Raises:
        MoneyError: the amount is no number, is negative, too large, or has more decimals than the currency.
        CurrencyUnknown: there is no such currency.
    """

    amount: Decimal
    currency: str

    def __init__(self, amount: Amount, currency: str) -> None:
        minor = _scaled(parse_decimal(amount), exponent(currency), currency)
        if minor > MAX_MINOR:
            raise MoneyError(f"The amount is larger than the largest that is accepted, {MAX_MINOR} minor units.")
        object.__setattr__(self, "amount", _shifted(minor, exponent(currency)))
        object.__setattr__(self, "currency", currency)

    @classmethod
    def from_minor(cls, minor: int, currency: str) -> Self:
        """The money that is so many minor units."""
        return cls(_shifted(minor, exponent(currency)), currency)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Money as policy files write it: `"50.00 USD"`."""
        number, _, currency = text.partition(" ")
        return cls(number, currency)

    @property
    def minor(self) -> int:
        """The amount in minor units: 1250 for 12.50 USD."""
        return int(self.amount.scaleb(exponent(self.currency), context=_EXACT))

    def __repr__(self) -> str:
        return f"Money('{self.amount:f}', '{self.currency}')"

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} are never added or compared.")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money.from_minor(self.minor + other.minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money.from_minor(self.minor - other.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.minor < other.minor

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.minor <= other.minor

    def __gt__(self, other: Money) -> bool:
        return other < self

    def __ge__(self, other: Money) -> bool:
        return other <= self


def format_minor(minor: int, currency: str) -> str:
    """A signed number of minor units as text: `-12.50`. For balances and differences, which `Money` cannot be."""
    return f"{_shifted(minor, exponent(currency)):f}"


@dataclass(frozen=True)
class Price:
    """What something costs, below a cent too: up to 9 decimals, kept as an integer of 10⁻⁹ of the currency.

    >>> Price("0.0015", "USD").nanos
    1500000

    Raises:
        MoneyError: as `Money`, and for more than 9 decimals.
    """

    amount: Decimal
    currency: str

    def __init__(self, amount: Amount, currency: str) -> None:
        exponent(currency)
        nanos = _scaled(parse_decimal(amount), PRICE_DECIMALS, "A price")
        if nanos > MAX_MINOR * 1000:
            raise MoneyError("The price is larger than the largest that is accepted.")
        object.__setattr__(self, "amount", _shifted(nanos, PRICE_DECIMALS).normalize(context=_EXACT))
        object.__setattr__(self, "currency", currency)

    @classmethod
    def from_nanos(cls, nanos: int, currency: str) -> Self:
        """The price that is so many 10⁻⁹ of the currency."""
        return cls(_shifted(nanos, PRICE_DECIMALS), currency)

    @classmethod
    def summed(cls, nanos: int, currency: str) -> Self:
        """What many prices add up to, which may be more than one of them can be."""
        made = object.__new__(cls)
        object.__setattr__(made, "amount", _shifted(nanos, PRICE_DECIMALS).normalize(context=_EXACT))
        object.__setattr__(made, "currency", currency)
        return made

    @property
    def nanos(self) -> int:
        """The price in 10⁻⁹ of the currency."""
        return int(self.amount.scaleb(PRICE_DECIMALS, context=_EXACT))

    def __repr__(self) -> str:
        return f"Price('{self.amount:f}', '{self.currency}')"

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"


def nanos_per_minor(currency: str) -> int:
    """How many 10⁻⁹ of the currency one minor unit is."""
    return int(10 ** (PRICE_DECIMALS - exponent(currency)))


def whole_minor(nanos: int, currency: str) -> tuple[int, int]:
    """Split nanos into whole minor units (rounded down) and the nanos that remain to be carried.

    >>> whole_minor(1_015_000_000, "USD")
    (101, 5000000)
    """
    return divmod(nanos, nanos_per_minor(currency))
