"""A term binds the customer: an agent leaves it by no way round, and only the operator ends it before it is over."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.errors import Conflict
from agentpay.plans.models import PaymentPlan
from support.bench import Bench, code_of


def plan(bench: Bench, plan_id: str, price: str = "10.00", **more: Any) -> None:
    bench.manager.create_plan(
        PaymentPlan(
            id=plan_id, name=plan_id, payment_type="subscription", price=price, group="all", features=["api"],
            billing_period="monthly", **more,
        )
    )  # fmt: skip


@pytest.fixture
def bound(bench: Bench) -> Bench:
    """`ana` is committed to three months, and two other plans of the group are for sale."""
    plan(bench, "bound", term=3)
    plan(bench, "free", price="0")
    plan(bench, "dear", price="50.00")
    bench.bot.subscribe("ana", "bound", idempotency_key="bound")
    bench.later(days=1)
    return bench


def stands(bench: Bench) -> tuple[str, str, bool]:
    found = bench.manager.get_subscription("ana")
    return found.plan, found.status, found.cancel_at_period_end


@pytest.mark.parametrize("other", ["free", "dear"])
def test_an_agent_does_not_leave_a_term_for_another_plan(bound: Bench, other: str) -> None:
    with pytest.raises(Conflict, match="committed to 3 periods"):
        bound.bot.subscribe("ana", other, idempotency_key="leave")
    assert stands(bound) == ("bound", "active", False) and bound.moved() == 1000
    bound.manager.subscribe("ana", other, idempotency_key="the operator may")
    assert stands(bound) == (other, "active", False)


def test_in_the_last_period_of_the_term_an_agent_may_change_the_plan(bound: Bench) -> None:
    for _ in range(2):
        bound.later(days=30)
        assert bound.manager.renew_due().renewed == 1
    assert code_of(lambda: bound.bot.subscribe("ana", "free", idempotency_key="change")) == "fine"
    assert stands(bound) == ("free", "active", False)


@pytest.mark.parametrize("declined", [True, False])
def test_a_term_is_not_left_while_its_renewal_is_due_or_declined(bound: Bench, declined: bool) -> None:
    bound.later(days=30)
    if declined:
        bound.mock.force("decline")
        assert bound.manager.renew_due().failed == 1
    assert code_of(lambda: bound.bot.subscribe("ana", "free", idempotency_key="leave")) == "CONFLICT"
    assert code_of(lambda: bound.bot.cancel_subscription("ana", at_period_end=False)) == "CONFLICT"
    assert bound.bot.cancel_subscription("ana").cancel_at_period_end
    assert stands(bound) == ("bound", "past_due", True), "the term was left by canceling what was not paid"
    bound.manager.renew_subscription("ana", idempotency_key="paid after all")
    assert stands(bound) == ("bound", "active", True) and bound.moved() == 2000
    for _ in range(3):
        bound.later(days=31)
        bound.manager.renew_due()
    assert stands(bound)[1] == "canceled" and bound.moved() == 3000


def test_what_is_not_paid_may_be_begun_anew_and_binds_again(bound: Bench) -> None:
    bound.later(days=30)
    bound.mock.force("decline")
    bound.manager.renew_due()
    assert bound.bot.subscribe("ana", "bound", idempotency_key="again").term == 3
    assert code_of(lambda: bound.bot.cancel_subscription("ana", at_period_end=False)) == "CONFLICT"


def test_a_term_that_is_never_paid_ends_with_the_period_to_renew(bound: Bench) -> None:
    bound.later(days=30)
    bound.mock.force("decline")
    bound.manager.renew_due()
    bound.later(days=31)  # and no worker has written down yet that it is over
    assert code_of(lambda: bound.bot.subscribe("ana", "free", idempotency_key="later")) == "fine"
    assert stands(bound) == ("free", "active", False) and bound.moved() == 1000
