"""Which allowance goes first, and that splitting loses and invents nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentpay.usage.allowances import LIFETIME, Allowance, Kind, Pool
from agentpay.usage.burn import Level, Split, currency_of, ordered, split, summary

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def level(name: str, kind: Kind = "included", limit: int | None = None, **more: Any) -> Level:
    hours: int | None = more.get("hours")
    allowance = Allowance(
        pool=Pool(name, "*", LIFETIME),
        kind=kind,
        limit=limit,
        resets_at=None if hours is None else NOW + timedelta(hours=hours),
        unit_nanos=more.get("nanos", 0),
        currency=more.get("currency", "USD"),
        plan_version=1,
    )
    return Level(allowance, more.get("used", 0), more.get("held", 0))


def names(levels: list[Level]) -> list[str]:
    return [one.allowance.pool.plan_id for one in levels]


def taken(found: Split) -> dict[str, int]:
    return {part.allowance.pool.plan_id: part.quantity for part in found.parts}


@st.composite
def levels(draw: st.DrawFn) -> list[Level]:
    made = []
    for number in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["included", "free", "credits", "metered"]))
        priced = kind in ("credits", "metered")
        limit = draw(st.none() | st.integers(0, 20))
        made.append(
            level(
                f"p{number}",
                kind,  # type: ignore[arg-type]
                limit,
                hours=draw(st.none() | st.integers(1, 5)),
                nanos=draw(st.integers(0, 5)) if priced else 0,
                currency=draw(st.sampled_from(["USD", "EUR"])),
                used=draw(st.integers(0, 25)),
                held=draw(st.integers(0, 3)),
            )
        )
    return ordered(made)


def test_the_order_of_use() -> None:
    made = [
        level("afterwards", "metered", nanos=5),
        level("in advance", "credits", nanos=5),
        level("life", "free", 10),
        level("late", "included", 10, hours=9),
        level("soon", "free", 10, hours=1),
        level("endless", "included"),
    ]
    assert names(ordered(made)) == ["endless", "soon", "late", "life", "in advance", "afterwards"]


@given(levels())
def test_the_order_is_by_rank_then_by_reset(made: list[Level]) -> None:
    rank = {"included": 0, "free": 0, "credits": 1, "metered": 2}
    ranks = [rank[one.allowance.kind] for one in made]
    assert ranks == sorted(ranks)
    counted = [one for one in made if rank[one.allowance.kind] == 0 and one.allowance.limit is not None]
    resets = [one.allowance.resets_at or datetime.max.replace(tzinfo=UTC) for one in counted]
    assert resets == sorted(resets)


@given(quantity=st.integers(1, 60), made=levels(), credits=st.integers(0, 100), priced=st.booleans())
def test_a_split_conserves(quantity: int, made: list[Level], credits: int, priced: bool) -> None:
    found = split(quantity, made, credits=credits, priced=priced)
    assert sum(part.quantity for part in found.parts) + found.missing == quantity
    left = {one.allowance.pool: one.left for one in made}
    for part in found.parts:
        limit = left[part.allowance.pool]
        assert part.quantity > 0
        assert limit is None or part.quantity <= limit
    if priced:
        assert found.prepaid_nanos <= credits
    assert len({part.allowance.currency for part in found.parts if part.allowance.unit_nanos}) <= 1


@given(quantity=st.integers(1, 60), made=levels())
def test_nothing_later_is_used_while_something_earlier_is_left(quantity: int, made: list[Level]) -> None:
    found = split(quantity, made, credits=10**6)
    used = taken(found)
    currency = currency_of(made)
    usable = [one for one in made if not one.allowance.unit_nanos or one.allowance.currency == currency]
    last = max((n for n, one in enumerate(usable) if one.allowance.pool.plan_id in used), default=-1)
    for one in usable[:last]:
        assert one.left is not None
        assert used.get(one.allowance.pool.plan_id, 0) == one.left


def test_credits_bound_what_is_paid_in_advance() -> None:
    made = [level("free", "free", 2), level("credits", "credits", nanos=10)]
    found = split(5, made, credits=25)
    assert (taken(found), found.missing, found.short_of_credits) == ({"free": 2, "credits": 2}, 1, True)
    assert split(5, made, credits=30).missing == 0
    assert split(5, made, credits=0, priced=False).missing == 0


def test_what_credits_do_not_pay_is_billed_afterwards_where_a_plan_says_so() -> None:
    made = [level("credits", "credits", nanos=10), level("metered", "metered", nanos=12)]
    found = split(3, made, credits=15)
    assert (taken(found), found.prepaid_nanos, found.nanos) == ({"credits": 1, "metered": 2}, 10, 34)


def test_one_event_has_one_currency() -> None:
    made = [level("usd", "credits", 1, nanos=1), level("eur", "metered", nanos=1, currency="EUR")]
    assert split(2, made, credits=10).missing == 1


def test_a_limit_that_was_lowered_leaves_nothing() -> None:
    assert level("p", limit=5, used=7).left == 0
    assert summary([level("p", limit=5, used=7)]).remaining == 0


def test_a_summary_adds_up_what_is_counted() -> None:
    made = summary([level("a", limit=5, used=1, hours=3), level("b", limit=10, used=2, held=1, hours=2)])
    assert (made.used, made.held, made.limit, made.remaining) == (3, 1, 15, 11)
    assert made.resets_at == NOW + timedelta(hours=2)


def test_where_something_has_no_limit_nothing_is_counted_down() -> None:
    made = summary([level("a", limit=5, used=1, hours=3), level("b", "metered", nanos=5, used=7)])
    assert (made.unlimited, made.used, made.limit, made.remaining, made.resets_at) == (True, 8, None, None, None)
    prepaid = summary([level("a", "credits", nanos=5)])
    assert (prepaid.unlimited, prepaid.remaining) == (False, None)
