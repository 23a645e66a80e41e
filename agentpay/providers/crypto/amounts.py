"""Base units as people read them. Pure."""

from __future__ import annotations


def shown(units: int, decimals: int) -> str:
    """Base units as a decimal number, exact, with at least two decimals."""
    whole, part = divmod(units, 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole}.{digits.ljust(2, '0')}"
