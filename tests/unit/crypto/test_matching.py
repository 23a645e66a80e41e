"""Which transfers pay a deposit: a table of what customers do, and what is true of any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.providers.crypto.matching import Arrived, Sight, Terms, judge

T0 = datetime(2026, 1, 31, 10, tzinfo=UTC)
DEADLINE = T0 + timedelta(seconds=100)
"""Block 10 is made at the deadline: blocks are 10 s apart."""


def at(block: int) -> datetime:
    return T0 + timedelta(seconds=10 * block)


def came(*transfers: tuple[int, int]) -> list[Arrived]:
    """Transfers as (block, units)."""
    return [Arrived(f"t{n}", units, block, n, at(block)) for n, (block, units) in enumerate(transfers)]


def seen(block: int) -> Sight:
    return Sight(block, at(block))


@pytest.mark.parametrize(
    ("transfers", "block", "state", "received", "strays"),
    [
        ([], 5, "waiting", 0, []),
        ([(3, 100)], 2, "seen", 0, []),
        ([(3, 40)], 2, "part", 0, []),
        ([(3, 40)], 5, "part", 40, []),
        ([(3, 100)], 3, "paid", 100, []),
        ([(3, 40), (4, 60)], 4, "paid", 100, []),
        ([(3, 40), (4, 60)], 3, "seen", 40, []),
        ([(3, 130)], 3, "paid", 100, [("t0", 30, "overpaid")]),
        ([(3, 40), (4, 90)], 4, "paid", 100, [("t1", 30, "overpaid")]),
        ([(3, 100), (4, 100)], 4, "paid", 100, [("t1", 100, "duplicate")]),
        ([(3, 100), (4, 100)], 3, "paid", 100, []),
        ([(10, 100)], 10, "paid", 100, []),  # at the deadline is in time
        ([(10, 100)], 9, "seen", 0, []),
        ([(3, 100)], 30, "paid", 100, []),  # seen late
        ([], 10, "waiting", 0, []),  # a block of the time of the deadline may still bring it
        ([], 11, "expired", 0, []),
        ([(11, 100)], 11, "expired", 0, [("t0", 100, "late")]),
        ([(11, 100)], 10, "waiting", 0, []),
        ([(3, 40)], 11, "underpaid", 40, [("t0", 40, "underpaid")]),
        ([(3, 40), (11, 60)], 11, "underpaid", 40, [("t0", 40, "underpaid"), ("t1", 60, "late")]),
        ([(3, 100), (12, 7)], 12, "paid", 100, [("t1", 7, "late")]),
    ],
)
def test_what_customers_do(
    transfers: list[tuple[int, int]], block: int, state: str, received: int, strays: list[tuple[str, int, str]]
) -> None:
    verdict = judge(Terms(100, DEADLINE), came(*transfers), seen(block))
    assert (verdict.state, verdict.received) == (state, received)
    assert [(one.transfer, one.units, one.reason) for one in verdict.strays] == strays


def test_the_fraction_of_an_amount_is_left_over_once() -> None:
    verdict = judge(Terms(103, DEADLINE, fraction=3), came((3, 103), (4, 103)), seen(4))
    assert [(one.units, one.reason) for one in verdict.strays] == [(3, "fraction"), (103, "duplicate")]


HISTORIES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10**30)), max_size=8)


@given(HISTORIES, st.integers(1, 10**30), st.integers(0, 20))
def test_every_confirmed_unit_pays_or_is_left_over_and_never_both(
    history: list[tuple[int, int]], units: int, block: int
) -> None:
    verdict = judge(Terms(units, DEADLINE), came(*history), seen(block))
    confirmed = sum(amount for number, amount in history if number <= block)
    left = sum(one.units for one in verdict.strays)
    if verdict.state in ("waiting", "part", "seen"):
        assert left == 0 and verdict.received <= confirmed and verdict.received < units
    else:
        kept = units if verdict.state == "paid" else 0
        assert left + kept == confirmed
    assert len({one.transfer for one in verdict.strays}) == len(verdict.strays)


@given(HISTORIES, st.integers(1, 10**30), st.integers(0, 19), st.randoms())
def test_the_order_in_which_logs_are_found_does_not_matter(
    history: list[tuple[int, int]], units: int, block: int, random: object
) -> None:
    arrived = came(*history)
    shuffled = list(arrived)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    terms = Terms(units, DEADLINE)
    assert judge(terms, arrived, seen(block)) == judge(terms, shuffled, seen(block))


@given(HISTORIES, st.integers(1, 10**30), st.integers(0, 19))
def test_what_was_paid_stays_so_while_the_chain_grows(history: list[tuple[int, int]], units: int, block: int) -> None:
    terms, arrived = Terms(units, DEADLINE), came(*history)
    before, after = judge(terms, arrived, seen(block)), judge(terms, arrived, seen(block + 1))
    assert before.state != "paid" or after.state == "paid"
    assert before.state not in ("expired", "underpaid") or after.state == before.state
