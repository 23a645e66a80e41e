"""What a check is, and what an examination says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentpay.storage.transaction import Tx


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
