"""A process dies in the middle: the next start finds one payment in a true state, and the same key pays once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agentpay.manager import PaymentManager
from agentpay.plans.models import PaymentPlan
from support.bench import Bench
from support.crashes import dies

POINTS = ["before_move", "after_move", "before_answer"]


def charge(customer: str, amount: str = "5.00") -> Callable[[PaymentManager], object]:
    return lambda manager: manager.for_agent("bot").charge(
        customer, amount, "USD", description="x", idempotency_key=customer
    )


@pytest.mark.parametrize("point", POINTS)
def test_a_charge_that_died_is_one_payment_in_a_true_state(shared: Bench, ana: str, point: str) -> None:
    before = shared.movements()
    dies(shared, point, charge(ana))
    (left,) = shared.manager.list_payments(ana)
    assert left.status == "pending"
    (found,) = shared.restarted(policy=False).list_payments(ana)  # at once: within the lease
    assert found.status == ("pending" if point == "before_move" else "succeeded")
    charge(ana)(shared.manager)
    shared.later(seconds=2)
    (found,) = shared.restarted(policy=False).list_payments(ana)
    assert found.status == ("not_sent" if point == "before_move" else "succeeded")
    assert shared.movements() - before == (0 if point == "before_move" else 1)
    charge(ana)(shared.manager)
    assert shared.movements() - before == 1
    (found,) = shared.manager.list_payments(ana)
    assert found.status == "succeeded"


@pytest.mark.parametrize("point", ["before_move:create", "before_answer:create", "before_move:capture",
                                   "after_move:capture"])  # fmt: skip
def test_a_charge_of_several_steps_that_died_moves_money_once(shared: Bench, ana: str, point: str) -> None:
    before = shared.movements()
    dies(shared, point, charge(ana, "13.30"))
    shared.later(seconds=2)
    (found,) = shared.restarted(policy=False).list_payments(ana)
    expected = {
        "before_move:create": "not_sent",
        "before_answer:create": "requires_action",
        "before_move:capture": "requires_action",
        "after_move:capture": "succeeded",
    }
    assert found.status == expected[point]
    if found.status == "requires_action":
        shared.manager.continue_payment(found.id)
    charge(ana, "13.30")(shared.manager)
    assert shared.movements() - before == 1
    assert shared.manager.get_payment(found.id).status == "succeeded"


@pytest.mark.parametrize("point", POINTS)
def test_a_refund_that_died_gives_back_once(shared: Bench, ana: str, point: str) -> None:
    charge(ana)(shared.manager)
    (paid,) = shared.manager.list_payments(ana)
    before = shared.movements("refund")

    def refund(manager: PaymentManager) -> object:
        return manager.for_agent("bot").refund(paid.id, reason="r", idempotency_key=f"r-{ana}")

    dies(shared, point, refund)
    shared.later(seconds=2)
    (found,) = shared.restarted(policy=False).refunds_of(paid.id)
    assert found.status == ("not_sent" if point == "before_move" else "succeeded")
    refund(shared.manager)
    assert shared.movements("refund") - before == 1
    assert str(shared.manager.get_payment(paid.id).refunded) == "5.00"


@pytest.mark.parametrize("point", POINTS)
def test_a_subscription_that_died_is_active_once_it_is_known_to_be_paid(shared: Bench, ana: str, point: str) -> None:
    plan = PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00", billing_period="monthly",
                       features=["api"])  # fmt: skip
    shared.manager.create_plan(plan)

    def subscribe(manager: PaymentManager) -> object:
        return manager.for_agent("bot").subscribe(ana, "pro", idempotency_key=ana)

    before = shared.movements()
    dies(shared, point, subscribe)
    assert not shared.manager.check_access(ana, "api")
    shared.later(seconds=2)
    restarted = shared.restarted(policy=False)
    assert bool(restarted.check_access(ana, "api")) == (point != "before_move")
    subscribe(shared.manager)
    assert shared.movements() - before == 1
    assert shared.manager.check_access(ana, "api")
    assert shared.manager.get_subscription(ana).status == "active"


def test_a_server_that_died_before_it_could_send_pays_nothing(shared: Bench, ana: str) -> None:
    """It died between its own commit and the provider: proved only after the lease."""
    before = shared.movements()
    dies(shared, "before_move", charge(ana))
    for _ in range(3):
        shared.restarted(policy=False)
    shared.later(seconds=2)
    (found,) = shared.restarted(policy=False).list_payments(ana)
    assert found.status == "not_sent" and shared.movements() == before
    assert shared.holds(found.id) == ["void"]
