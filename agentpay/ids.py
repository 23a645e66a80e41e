"""Identifiers, as something that is passed in."""

from __future__ import annotations

import secrets
from typing import Protocol


class Ids(Protocol):
    """Makes identifiers and secrets."""

    def new(self, prefix: str) -> str:
        """A fresh identifier such as `pay_8f14e45fceea167a5a36dedd`."""
        ...

    def secret(self) -> str:
        """A fresh secret of 256 bits, as hex."""
        ...


class RandomIds:
    """Identifiers of 96 random bits: no coordination, nothing to guess."""

    def new(self, prefix: str) -> str:
        return f"{prefix}_{secrets.token_hex(12)}"

    def secret(self) -> str:
        return secrets.token_hex(32)


class SequentialIds:
    """Identifiers that count up. For tests and documents that must read the same each time."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        self._last[prefix] = self._last.get(prefix, 0) + 1
        return f"{prefix}_{self._last[prefix]:04d}"

    def secret(self) -> str:
        return self.new("secret").ljust(64, "0")
