"""What an outcome does: the whole table, every pair."""

from __future__ import annotations

from typing import get_args

import pytest

from agentpay.payments.models import PaymentStatus
from agentpay.payments.states import Step, after, says_more
from agentpay.providers.outcomes import OutcomeName

OUTCOMES: tuple[OutcomeName, ...] = get_args(OutcomeName)
STATUSES: tuple[PaymentStatus, ...] = get_args(PaymentStatus)
UNDER_WAY = ("pending", "requires_action", "unknown")
ENDED = ("declined", "not_sent", "refused", "canceled", "approval_required")


@pytest.mark.parametrize("status", UNDER_WAY)
@pytest.mark.parametrize(
    ("outcome", "step"),
    [
        ("succeeded", Step("succeeded", "capture")),
        ("requires_action", Step("requires_action", "keep")),
        ("pending", Step("pending", "keep")),
        ("declined", Step("declined", "release")),
        ("not_sent", Step("not_sent", "void")),
        ("unknown", Step("unknown", "keep")),
    ],
)
def test_what_is_under_way_goes_where_the_outcome_says(status: PaymentStatus, outcome: OutcomeName, step: Step) -> None:
    assert after(status, outcome) == step


@pytest.mark.parametrize("status", ENDED)
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_ended_changes_only_by_a_late_success(status: PaymentStatus, outcome: OutcomeName) -> None:
    expected = Step("succeeded", "late") if outcome == "succeeded" else Step(status, "none")
    assert after(status, outcome) == expected


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_success_stays(outcome: OutcomeName) -> None:
    assert after("succeeded", outcome) == Step("succeeded", "none")


def test_the_table_is_total() -> None:
    assert {"succeeded", *UNDER_WAY, *ENDED} == set(STATUSES)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("before", ["sent", *OUTCOMES])
def test_a_proof_is_changed_only_by_the_opposite_success(before: str, outcome: OutcomeName) -> None:
    if before in ("sent", "unknown", "pending", "requires_action"):
        assert says_more(before, outcome)
    else:
        assert says_more(before, outcome) == (outcome == "succeeded" != before)
