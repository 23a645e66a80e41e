"""What a check is, and what an examination says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agentpay.errors import StorageCorrupt
from agentpay.storage.transaction import Tx
from agentpay_policies.errors import PolicyError

UNREADABLE: Final = (PolicyError, StorageCorrupt, ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What reading a row may end in that was changed by hand or damaged."""


@dataclass(frozen=True)
class Breach:
    """An invariant that does not hold: which one, what should be true, and the rows that show it is not."""

    invariant: int
    what: str
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Examination:
    """What the doctor found. `warnings` weaken the promise without breaking it; `checked` says what was looked at."""

    ok: bool
    breaches: tuple[Breach, ...]
    warnings: tuple[str, ...]
    checked: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """One query: what should be true, and the rows for which it is not, each as a line for people.

    `across` says that it follows references from one domain into another.
    """

    invariant: int
    title: str
    run: Callable[[Tx], list[str]]
    across: bool = False

    def found(self, tx: Tx) -> list[str]:
        """The rows that break it. Rows in which nothing can be read break it too: damage must not blind the doctor."""
        try:
            return self.run(tx)
        except UNREADABLE as exc:
            return [f"this cannot be checked, since a row holds what nothing of ours wrote: {type(exc).__name__}"]
