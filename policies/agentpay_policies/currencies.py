"""Which currencies there are, and how many decimals each has.

ISO 4217 comes from the `iso4217` package, which carries the maintenance agency's own table. Stablecoins are no ISO
currency: their decimals are those of the token's contract, and of a token with more than 8 we keep 8 in `Money`.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from agentpay_policies.errors import CurrencyUnknown

TOKENS: Final[dict[str, int]] = {
    "USDT": 6, "USDC": 6, "USDG": 6, "USDP": 8,
    "DAI": 8, "EURC": 6, "FDUSD": 8, "GUSD": 2, "PYUSD": 6, "RLUSD": 8, "TUSD": 8, "USDE": 8, "USDS": 8,
}  # fmt: skip


def exponent(currency: object) -> int:
    """The number of decimals of a currency: USD 2, JPY 0, KWD 3, USDT 6.

    Raises:
        CurrencyUnknown: not an upper-case ISO 4217 code that money can be kept in, nor a token of ours.
    """
    if not isinstance(currency, str):
        raise CurrencyUnknown(f"A currency is text such as USD, not {type(currency).__name__}.")
    return _exponent(currency)


@cache
def _exponent(currency: str) -> int:
    if (token := TOKENS.get(currency)) is not None:
        return token
    from iso4217 import Currency

    try:
        found: int | None = Currency(currency).exponent
    except ValueError:
        found = None
    if found is None:
        raise CurrencyUnknown(f"{currency[:12]!a} is not a currency that AgentPay knows.")
    return found
