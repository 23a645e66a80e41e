"""Ways through the engine on which the doctor has found something: each must leave a healthy installation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.doctor.checks import examine
from agentpay.errors import AgentPayError
from agentpay.manager import PaymentManager
from integration.doctor.story import PLANS, POLICY, SECRET


@pytest.fixture
def manager(database: str, clock: FixedClock) -> Iterator[PaymentManager]:
    with PaymentManager(database, provider="mock", policy=POLICY, clock=clock) as made:
        yield made
        assert examine(made._engine.store).breaches == ()


def changed(**limits: Any) -> dict[str, object]:
    """Another policy: the same but for its name, and for what is given."""
    policy = copy.deepcopy(POLICY)
    policy["id"] = "changed"
    policy.update(limits)
    return policy


def test_what_an_agent_subscribed_counts_under_the_next_policy_too(manager: PaymentManager) -> None:
    manager.create_plan(PLANS[0])
    manager.for_agent("shopper").subscribe("carol", "pro", idempotency_key="one")
    manager.apply_policy(changed())


def test_a_refund_and_a_charge_count_under_the_next_policy_too(manager: PaymentManager) -> None:
    bot = manager.for_agent("bot-1")
    paid = bot.charge("carol", "50.00", "USD", description="x", idempotency_key="one")
    bot.refund(paid.id, "5.00", reason="x", idempotency_key="two")
    waits = bot.charge("carol", "70.00", "USD", description="x", idempotency_key="three")
    manager.apply_policy(changed())
    manager.enrol_approver("ann", SECRET)
    manager.deny(str(waits.approval_id), approver="ann", secret=SECRET)


def test_an_agent_that_moves_to_another_pattern_gets_back_what_was_held(manager: PaymentManager) -> None:
    waits = manager.for_agent("bot-1").charge("carol", "70.00", "USD", description="x", idempotency_key="one")
    agents: Any = copy.deepcopy(POLICY["agents"])
    agents["bot-1*"] = agents["bot-*"]
    manager.apply_policy(changed(agents=agents))
    manager.enrol_approver("ann", SECRET)
    manager.deny(str(waits.approval_id), approver="ann", secret=SECRET)


def test_what_was_spent_from_a_budget_stays_spent_when_its_agent_leaves_it(manager: PaymentManager) -> None:
    manager.for_agent("shopper").charge("carol", "50.00", "USD", description="x", idempotency_key="one")
    agents: Any = copy.deepcopy(POLICY["agents"])
    agents["shopper"]["budget"] = "company"
    manager.apply_policy(changed(agents=agents))
    manager.for_agent("shopper").charge("carol", "51.00", "USD", description="x", idempotency_key="two")
    manager.for_agent("bot-1").charge("carol", "52.00", "USD", description="x", idempotency_key="three")


def test_an_approval_that_expired_is_not_held_beside_the_next_one(manager: PaymentManager, clock: FixedClock) -> None:
    manager.enrol_approver("ann", SECRET)
    waits = manager.for_agent("bot-1").charge("carol", "70.00", "USD", description="x", idempotency_key="one")
    manager.approve(str(waits.approval_id), approver="ann", secret=SECRET)
    clock.advance(timedelta(hours=1))
    try:
        manager.continue_payment(waits.id)
    except AgentPayError as error:
        assert error.code == "POLICY_DENIED"


def test_an_approval_that_a_stricter_policy_makes_too_little_is_replaced(manager: PaymentManager) -> None:
    manager.enrol_approver("ann", SECRET)
    waits = manager.for_agent("bot-1").charge("carol", "70.00", "USD", description="x", idempotency_key="one")
    manager.approve(str(waits.approval_id), approver="ann", secret=SECRET)
    agents: Any = copy.deepcopy(POLICY["agents"])
    agents["bot-*"]["approvals"].append(
        {"id": "huge", "when": {"amount_over": "65.00 USD"}, "approvers": "finance", "quorum": 2, "expires": "30m"}
    )
    manager.apply_policy(changed(agents=agents))
    assert manager.continue_payment(waits.id).status == "approval_required"


def test_a_payment_that_was_not_sent_gives_its_approval_back(manager: PaymentManager) -> None:
    manager.enrol_approver("ann", SECRET)
    manager.link_customer("una", "mock", "unreachable-una")
    waits = manager.for_agent("bot-1").charge("una", "70.00", "USD", description="x", idempotency_key="one")
    manager.approve(str(waits.approval_id), approver="ann", secret=SECRET)
    for _ in range(2):
        with pytest.raises(AgentPayError):
            manager.continue_payment(waits.id)
