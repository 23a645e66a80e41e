"""Every order and every repetition of an object's events ends in the same state: exhaustively for small sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentpay.payments.states import says_more
from agentpay.providers.events import DisputeNews, ReversalNews
from agentpay.providers.outcomes import OutcomeName
from agentpay.webhooks.reducer import (
    Asked,
    ClaimState,
    KnownAttempt,
    RefundState,
    reduce_attempt,
    reduce_claim,
    reduce_refund,
)
from agentpay_policies.money import Money

T = TypeVar("T")
S = TypeVar("S")

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
TOLD: tuple[OutcomeName, ...] = ("requires_action", "pending", "declined", "succeeded", "unknown", "not_sent")
FINAL: tuple[OutcomeName, ...] = ("succeeded", "declined", "pending")


def orders(events: Sequence[T], *, longest: int) -> Iterator[tuple[T, ...]]:
    """Every sequence of the events, up to a length, in which each comes at least once: all orders and repetitions."""
    for length in range(len(events), longest + 1):
        for made in itertools.product(events, repeat=length):
            if len(set(made)) == len(events):
                yield made


def folded(step: Callable[[S, T], S], start: S, events: Sequence[T]) -> S:
    for event in events:
        start = step(start, event)
    return start


# -- attempts ----------------------------------------------------------------------------------------------------------


def hears(outcome: str, told: OutcomeName, truth: OutcomeName | None) -> str:
    """What becomes of an attempt by one event; `truth` is what a look-up finds (None: nobody answers)."""
    effect = reduce_attempt(KnownAttempt(outcome), told)
    if effect == "ask":
        if truth is not None and says_more(outcome, truth):
            outcome = truth
        effect = reduce_attempt(KnownAttempt(outcome, asked="unanswered" if truth is None else "answered"), told)
    assert effect in ("settle", "nothing")
    if effect == "settle":
        assert says_more(outcome, told), "what is settled adds to what is known"
        return told
    return outcome


@pytest.mark.parametrize("start", ["sent", "unknown", "pending", "requires_action"])
@pytest.mark.parametrize("truth", FINAL)
def test_any_order_of_an_attempts_events_ends_where_the_provider_is(start: str, truth: OutcomeName) -> None:
    """All sets of up to three events that this truth may have sent before, in every order, each up to twice."""
    before = [told for told in ("requires_action", "pending", "declined", truth) if told != "succeeded"]
    seen = 0
    for size in range(1, 4):
        for events in itertools.combinations(dict.fromkeys([*before, truth]), size):
            for made in orders(events, longest=min(size + 1, 4)):
                seen += 1
                assert folded(lambda state, told: hears(state, told, truth), start, made) == truth
    assert seen > 40


@given(events=st.lists(st.sampled_from(TOLD), max_size=8), start=st.sampled_from(["sent", "unknown", "pending"]))
def test_a_success_is_never_taken_back_and_never_lost(events: list[OutcomeName], start: str) -> None:
    """Also where nobody answers a look-up: succeeded if and only if a success was told."""
    end = folded(lambda state, told: hears(state, told, None), start, events)
    assert (end == "succeeded") == ("succeeded" in events)
    if "declined" in events and "succeeded" not in events:
        assert end == "declined"
    assert folded(lambda state, told: hears(state, told, None), end, events) == end


@pytest.mark.parametrize("told", TOLD)
def test_nothing_is_heard_after_a_success(told: OutcomeName) -> None:
    for asked in get_args(Asked):
        for newest in (False, True):
            assert reduce_attempt(KnownAttempt("succeeded", newest, asked=asked), told) == "nothing"


@pytest.mark.parametrize("known", ["declined", "not_sent"])
def test_only_a_success_is_heard_after_a_proof_of_the_contrary(known: str) -> None:
    assert {told for told in TOLD if reduce_attempt(KnownAttempt(known), told) != "nothing"} == {"succeeded"}


def test_while_our_own_call_goes_on_only_what_is_final_counts() -> None:
    under_way = KnownAttempt("sent", under_way=True)
    assert {told: reduce_attempt(under_way, told) for told in TOLD} == {
        "requires_action": "wait",
        "pending": "wait",
        "unknown": "wait",
        "not_sent": "wait",
        "declined": "ask",
        "succeeded": "settle",
    }


def test_of_a_step_that_was_replaced_only_a_success_counts() -> None:
    replaced = KnownAttempt("pending", newest=False)
    assert {told for told in TOLD if reduce_attempt(replaced, told) != "nothing"} == {"succeeded"}


# -- refunds that were made at the provider ----------------------------------------------------------------------------


def test_any_order_of_a_refunds_events_ends_the_same() -> None:
    for size in (1, 2, 3):
        for events in itertools.combinations(("pending", "succeeded", "failed"), size):
            ends = {folded(reduce_refund, RefundState(), made) for made in orders(events, longest=4)}  # type: ignore[arg-type]
            assert len(ends) == 1, (events, ends)
            (end,) = ends
            assert (end.status == "succeeded") == ("succeeded" in events)
            assert end.failed == ("failed" in events)


def test_the_last_one_wins_would_not_do() -> None:
    """The naive counterpart: an event that is simply believed ends by the order of delivery."""
    ends = {folded(lambda _state, told: told, "none", made) for made in orders(("pending", "succeeded"), longest=3)}
    assert len(ends) == 2


# -- disputes and reversals --------------------------------------------------------------------------------------------


def dispute(status: str, cents: int = 1000) -> DisputeNews:
    return DisputeNews("ch", "dp", Money.from_minor(cents, "USD"), status, "fraudulent")  # type: ignore[arg-type]


def reversal(status: str) -> ReversalNews:
    return ReversalNews("ch", "rv", Money("10.00", "USD"), status, "bank")  # type: ignore[arg-type]


def heard(
    state: ClaimState | None, event: tuple[DisputeNews | ReversalNews, int]
) -> ClaimState | None:  # fmt: skip
    return reduce_claim(state, event[0], NOON + timedelta(minutes=event[1]))


@pytest.mark.parametrize(
    ("events", "end"),
    [
        ([(dispute("open"), 0), (dispute("won"), 1)], "won"),
        ([(dispute("open"), 0), (dispute("lost"), 1)], "lost"),
        ([(dispute("open"), 0), (dispute("won"), 1), (dispute("lost"), 2)], "lost"),
        ([(dispute("open"), 0), (dispute("lost"), 1), (dispute("won"), 2)], "won"),
        ([(dispute("open"), 3), (dispute("won"), 1)], "won"),
        ([(dispute("won"), 1), (dispute("lost"), 1)], "lost"),
        ([(dispute("open", 1000), 0), (dispute("open", 400), 1)], "open"),
        ([(reversal("reversed"), 0), (reversal("restored"), 1)], "restored"),
        ([(reversal("reversed"), 0), (reversal("restored"), 1), (reversal("reversed"), 2)], "reversed"),
        ([(reversal("reversed"), 1), (reversal("restored"), 1)], "reversed"),
    ],
)
def test_any_order_of_a_claims_events_ends_the_same(
    events: list[tuple[DisputeNews | ReversalNews, int]], end: str
) -> None:
    ends = {folded(heard, None, made) for made in orders(events, longest=len(events) + 1)}
    assert {state.status for state in ends if state is not None} == {end}
    assert len(ends) == 1


@given(
    st.lists(
        st.tuples(
            st.builds(dispute, st.sampled_from(["open", "won", "lost"]), st.sampled_from([400, 1000])),
            st.integers(0, 3),
        ),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_a_claim_is_the_highest_of_its_news(events: list[tuple[DisputeNews, int]], random: object) -> None:
    shuffled = [*events, *events]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert folded(heard, None, events) == folded(heard, None, shuffled)
