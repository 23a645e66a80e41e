"""Which transfers pay a deposit. Pure: from the terms, what arrived on the canonical chain, and how far it is seen.

| what a customer does | what becomes of it |
|---|---|
| pays all in time, in one transfer or several | paid, once every part has its confirmations |
| pays more | paid; what is too much is left over: `overpaid` |
| pays again | paid; the second transfer is left over whole: `duplicate` |
| pays a part | asked for the rest until the deadline; then not paid, and the part is left over: `underpaid` |
| pays after the deadline, by the time of the block | not paid by it; left over: `late` |
| pays in time, and we see it late | paid: the time of the block counts |

A deadline has passed only once a block of a later time has its confirmations. What is
left over belongs to no payment: it is posted to `unallocated` and listed for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["waiting", "part", "seen", "paid", "expired", "underpaid"]
Reason = Literal["unmatched", "overpaid", "duplicate", "underpaid", "late", "fraction"]


@dataclass(frozen=True)
class Terms:
    """What was asked for: base units, until when; `fraction` of them only tell this payment from others."""

    units: int
    deadline: datetime
    fraction: int = 0


@dataclass(frozen=True)
class Arrived:
    """A transfer on the canonical chain."""

    id: str
    units: int
    block: int
    index: int
    at: datetime


@dataclass(frozen=True)
class Sight:
    """The last block that has its confirmations and was read, and its time."""

    block: int
    at: datetime


@dataclass(frozen=True)
class Stray:
    """A part of a transfer that belongs to no payment, and why."""

    transfer: str
    units: int
    reason: Reason


@dataclass(frozen=True)
class Verdict:
    """How a deposit stands. `received` has its confirmations; `seen` may be more than that."""

    state: State
    received: int
    seen: int
    strays: tuple[Stray, ...] = ()


def judge(terms: Terms, arrived: Sequence[Arrived], sight: Sight) -> Verdict:
    """How a deposit stands, from nothing but what is on the chain now: the same whatever was thought before."""
    ordered = sorted(arrived, key=lambda one: (one.block, one.index))
    in_time = [one for one in ordered if one.at <= terms.deadline]
    seen = sum(one.units for one in in_time)
    received, used, strays = _used(terms, [one for one in in_time if one.block <= sight.block])
    late = [Stray(one.id, one.units, "late") for one in ordered if one.at > terms.deadline and one.block <= sight.block]
    if received == terms.units:
        fraction = [Stray(used[-1].id, terms.fraction, "fraction")] if terms.fraction else []
        return Verdict("paid", received, seen, (*fraction, *strays, *late))
    if sight.at > terms.deadline:
        parts = [Stray(one.id, one.units, "underpaid") for one in used]
        return Verdict("underpaid" if received else "expired", received, seen, (*parts, *late))
    state: State = "seen" if seen >= terms.units else "part" if seen else "waiting"
    return Verdict(state, received, seen)


def _used(terms: Terms, confirmed: Sequence[Arrived]) -> tuple[int, list[Arrived], list[Stray]]:
    """What of the transfers pays, in their order, and what is too much."""
    received, used, strays = 0, list[Arrived](), list[Stray]()
    for one in confirmed:
        missing = terms.units - received
        if missing == 0:
            strays.append(Stray(one.id, one.units, "duplicate"))
            continue
        used.append(one)
        received += min(one.units, missing)
        if one.units > missing:
            strays.append(Stray(one.id, one.units - missing, "overpaid"))
    return received, used, strays
