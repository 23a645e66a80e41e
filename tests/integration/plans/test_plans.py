"""Plans are versioned: the same content is the same version, another is a new one for new subscribers."""

from __future__ import annotations

import pytest

from agentpay.audit import queries as audit
from agentpay.errors import PlanUnknown, ValidationError
from agentpay.plans.models import Feature, PaymentPlan
from agentpay.storage import Store
from integration.usage.shop import Shop
from support.parallel import run_threads, values


def test_a_plan_is_stored_and_read_back(shop: Shop) -> None:
    made = shop.plan("pro", features=["a", Feature("b", 3), Feature("c", price="0.01")], description="Ünïcode 🎈")
    assert made.version == 1
    assert shop.plans.get("pro") == made
    assert shop.plans.list() == (made,)


def test_the_same_again_is_the_same_version(shop: Shop) -> None:
    first = shop.plan("pro", price="10.00")
    assert shop.plan("pro", price=10).version == first.version == 1


def test_another_content_is_a_new_version_and_the_old_one_stays(shop: Shop) -> None:
    shop.plan("pro", price="10.00")
    assert shop.plan("pro", price="12.00").version == 2
    assert [plan.version for plan in shop.plans.list()] == [2]
    assert str(shop.plans.get("pro", 1).price) == "10.00"
    # going back is a version too: what stands is always the newest
    assert shop.plan("pro", price="10.00").version == 3


def test_an_old_subscription_keeps_its_version(shop: Shop) -> None:
    shop.plan("pro", requests_per_period=5)
    shop.subscribe("pro", "ana")
    shop.plan("pro", requests_per_period=9)
    shop.subscribe("pro", "bob")
    assert shop.check(name="ana").limit == 5
    assert shop.check(name="bob").limit == 9
    assert (shop.subscriptions.get("ana").plan_version, shop.subscriptions.get("bob").plan_version) == (1, 2)


@pytest.mark.parametrize("unknown", ["nope", "'; DROP TABLE plans; --"])
def test_an_unknown_plan_is_named(shop: Shop, unknown: str) -> None:
    with pytest.raises(PlanUnknown):
        shop.plans.get(unknown)


def test_an_unknown_version_is_named(shop: Shop) -> None:
    shop.plan("pro")
    with pytest.raises(PlanUnknown):
        shop.plans.get("pro", 2)


@pytest.mark.parametrize("wrong", ["", "a\x00b", "x" * 201])
def test_no_id_is_no_question(shop: Shop, wrong: str) -> None:
    with pytest.raises(ValidationError):
        shop.plans.get(wrong)


def test_creating_is_audited_once_a_version(shop: Shop, store: Store) -> None:
    for price in ("10.00", "10.00", "11.00"):
        shop.plan("pro", price=price)
    rows = store.read(lambda tx: audit.history(tx, "plan:pro"))
    assert [row.action for row in rows] == ["plan.created", "plan.created"]


def test_creating_the_same_at_once_makes_one_version(shop: Shop) -> None:
    def create(_: int) -> PaymentPlan:
        return shop.plan("pro", price="10.00")

    assert {plan.version for plan in values(run_threads(6, create))} == {1}


def test_creating_different_ones_at_once_makes_one_version_each(shop: Shop) -> None:
    def create(index: int) -> PaymentPlan:
        return shop.plan("pro", price=index + 1)

    assert sorted(plan.version for plan in values(run_threads(5, create))) == [1, 2, 3, 4, 5]
