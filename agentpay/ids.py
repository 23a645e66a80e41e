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
