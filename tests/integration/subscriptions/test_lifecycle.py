"""How subscriptions begin, go on and end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agentpay.audit import queries as audit
from agentpay.clock import FixedClock
from agentpay.errors import AlreadySubscribed, Conflict, NotFound, PaymentRequired, SubscriptionExpired
from agentpay.storage import Store
from agentpay.subscriptions import lifecycle, queries, renewals
from integration.usage.shop import Shop, utc
from support.parallel import run_threads

DAY = timedelta(days=1)


def test_it_gives_nothing_until_it_is_paid(shop: Shop) -> None:
    shop.plan("pro")
    waiting = shop.begin("pro")
    assert shop.subscriptions.get("ana").status == "incomplete"
    assert shop.subscriptions.get("ana").period_start is None
    assert not shop.check()
    assert shop.activate(waiting, "pay_1")
    made = shop.subscriptions.get("ana", "pro")
    assert (made.status, made.payment_id, made.group) == ("active", "pay_1", "default")
    assert (made.period_start, made.period_end) == (utc(2026, 1, 31), utc(2026, 2, 28))
    assert shop.check()
    assert shop.subscriptions.is_subscribed("ana")
    assert shop.subscriptions.is_subscribed("ana", "pro")
    assert not shop.subscriptions.is_subscribed("ana", "other")


def test_the_period_starts_at_the_success(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    waiting = shop.begin("pro")
    clock.advance(3 * DAY)
    shop.activate(waiting, "pay_1")
    assert shop.subscriptions.get("ana").period_start == utc(2026, 2, 3)


def test_it_ends_with_its_payment_and_frees_the_slot(shop: Shop) -> None:
    shop.plan("pro")
    waiting = shop.begin("pro")
    assert shop.fail(waiting)
    assert not shop.fail(waiting)
    assert shop.subscriptions.get("ana").status == "expired"
    shop.subscribe("pro")
    assert shop.check()


def test_one_that_waits_holds_the_group(shop: Shop) -> None:
    shop.plan("pro")
    shop.plan("max")
    shop.plan("storage", group="storage")
    waiting = shop.begin("pro")
    for plan in ("pro", "max"):
        with pytest.raises(AlreadySubscribed) as refused:
            shop.begin(plan)
        assert refused.value.subscription_id == waiting
    shop.begin("storage")  # another group


def test_the_same_plan_twice_is_refused(shop: Shop) -> None:
    shop.plan("pro")
    live = shop.subscribe("pro")
    with pytest.raises(AlreadySubscribed) as refused:
        shop.begin("pro")
    assert refused.value.subscription_id == live


def test_another_plan_of_the_group_replaces_the_first_once_paid(shop: Shop, store: Store) -> None:
    shop.plan("pro")
    shop.plan("max", features=["api", "extra"])
    old = shop.subscribe("pro")
    new = shop.begin("max")
    assert shop.subscriptions.is_subscribed("ana", "pro")
    shop.activate(new, "pay_2")
    assert [(one.plan, one.status) for one in shop.subscriptions.list_for("ana")] == [
        ("max", "active"),
        ("pro", "canceled"),
    ]
    assert [row.action for row in store.read(lambda tx: audit.history(tx, old))] == [
        "subscription.begun",
        "subscription.activated",
        "subscription.canceled",
    ]


def test_activating_is_once(shop: Shop) -> None:
    shop.plan("pro")
    waiting = shop.begin("pro")
    assert shop.activate(waiting, "pay_1")
    assert shop.activate(waiting, "pay_1")
    assert not shop.activate(waiting, "pay_2")  # a second payment has nothing to begin


def test_a_late_success_begins_it_where_the_group_is_free(shop: Shop) -> None:
    shop.plan("pro")
    late = shop.begin("pro")
    shop.fail(late)
    assert shop.activate(late, "pay_1")
    assert shop.subscriptions.get("ana").status == "active"


def test_a_late_success_takes_nothing_from_a_later_one(shop: Shop) -> None:
    shop.plan("pro")
    late = shop.begin("pro")
    shop.fail(late)
    shop.subscribe("pro")
    assert not shop.activate(late, "pay_1")


def test_a_payment_that_is_tried_again_waits_again(shop: Shop, store: Store) -> None:
    shop.plan("pro")
    waiting = shop.begin("pro")
    shop.fail(waiting)
    assert store.write(lambda tx: lifecycle.reopen(tx, waiting, tx.now()))
    assert store.write(lambda tx: lifecycle.reopen(tx, waiting, tx.now()))
    assert shop.subscriptions.get("ana").status == "incomplete"
    shop.fail(waiting)
    shop.subscribe("pro")
    assert not store.write(lambda tx: lifecycle.reopen(tx, waiting, tx.now()))


def test_the_end_of_the_period_ends_access_though_no_job_has_run(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    clock.set(utc(2026, 2, 28) - timedelta(microseconds=1))
    assert shop.check()
    clock.set(utc(2026, 2, 28))
    assert (shop.check().allowed, shop.check().reason) == (False, "past_due")
    assert not shop.subscriptions.is_subscribed("ana")
    assert shop.subscriptions.get("ana").status == "past_due"
    with pytest.raises(SubscriptionExpired):
        shop.use()


def test_renewal_appends_the_next_period_from_the_anchor(shop: Shop, clock: FixedClock, store: Store) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    for number, (start, end) in enumerate(
        [(utc(2026, 2, 28), utc(2026, 3, 31)), (utc(2026, 3, 31), utc(2026, 4, 30))], start=2
    ):
        clock.set(start)
        (due,) = store.read(lambda tx: renewals.renewal_due(tx, tx.now(), 10))
        assert shop.begin_renewal(due.id) == number
        assert shop.renew(made, number, f"pay_{number}")
        shown = shop.subscriptions.get("ana")
        assert (shown.period_start, shown.period_end, shown.payment_id) == (start, end, f"pay_{number}")
    assert [row.number for row in store.read(lambda tx: queries.periods_of(tx, made))] == [1, 2, 3]


def test_each_period_is_paid_once(shop: Shop, clock: FixedClock, store: Store) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    clock.set(utc(2026, 2, 28))
    assert shop.begin_renewal(made) == 2
    assert store.read(lambda tx: renewals.renewal_due(tx, tx.now(), 10)) == []
    with pytest.raises(Conflict):
        shop.begin_renewal(made)
    assert shop.renew(made, 2, "pay_2")
    assert shop.renew(made, 2, "pay_2")
    assert not shop.renew(made, 2, "pay_3")
    shop.begin_renewal(made)  # the last paid period runs: the next may be paid ahead, no further
    shop.renew(made, 3, "pay_4")
    with pytest.raises(Conflict):
        shop.begin_renewal(made)


def test_a_failed_renewal_keeps_access_until_the_end_of_what_is_paid(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    clock.set(utc(2026, 2, 27))
    number = shop.begin_renewal(made)
    assert shop.renewal_failed(made, number)
    assert not shop.renewal_failed(made, number)
    assert shop.subscriptions.get("ana").status == "past_due"
    assert shop.check()
    clock.set(utc(2026, 2, 28))
    assert shop.check().reason == "past_due"
    assert shop.renew(made, shop.begin_renewal(made), "pay_2")
    assert shop.subscriptions.get("ana").status == "active"
    assert shop.subscriptions.get("ana").period_start == utc(2026, 2, 28)
    assert shop.check()


def test_a_late_success_of_a_failed_renewal_counts(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    number = shop.begin_renewal(made)
    shop.renewal_failed(made, number)
    assert shop.renew(made, number, "pay_2")
    assert shop.subscriptions.get("ana").status == "active"


def test_what_nobody_renews_expires_when_nothing_is_left_to_renew(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    clock.set(utc(2026, 3, 1))
    assert shop.expire() == 0
    clock.set(utc(2026, 3, 31))
    assert shop.expire() == 1
    assert shop.subscriptions.get("ana").status == "expired"
    assert shop.check().reason == "expired"
    with pytest.raises(Conflict):
        shop.begin_renewal(made)
    assert not shop.renew(made, 2, "pay_2")


def test_one_whose_renewal_is_under_way_is_not_expired(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    clock.set(utc(2026, 2, 28))
    shop.begin_renewal(made)
    clock.set(utc(2026, 6, 1))
    assert shop.expire() == 0


def test_canceling_at_the_period_end_keeps_access_until_then(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    assert shop.cancel()
    assert not shop.cancel()
    shown = shop.subscriptions.get("ana")
    assert (shown.status, shown.cancel_at_period_end) == ("active", True)
    assert shop.check()
    with pytest.raises(Conflict):
        shop.begin_renewal(made)
    clock.set(utc(2026, 2, 28))
    assert not shop.check()
    assert shop.subscriptions.get("ana").status == "canceled"
    assert shop.expire() == 1
    assert shop.subscriptions.get("ana").status == "canceled"


def test_canceling_at_once_ends_access_at_once(shop: Shop) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    assert shop.cancel(at_period_end=False)
    assert (shop.check().allowed, shop.check().reason) == (False, "expired")
    assert not shop.cancel(at_period_end=False)  # it is canceled already
    with pytest.raises(SubscriptionExpired):
        shop.use()


def test_what_is_to_be_canceled_must_be_clear(shop: Shop) -> None:
    shop.plan("pro")
    shop.plan("storage", group="storage")
    with pytest.raises(NotFound):
        shop.cancel()
    waiting = shop.begin("pro")
    with pytest.raises(Conflict):
        shop.cancel()
    shop.activate(waiting, "pay_1")
    shop.subscribe("storage")
    with pytest.raises(Conflict, match="several"):
        shop.cancel()
    assert shop.cancel("storage", at_period_end=False)
    assert shop.subscriptions.is_subscribed("ana", "pro")


def test_price_0_goes_on_without_a_payment(shop: Shop, clock: FixedClock, store: Store) -> None:
    shop.plan("gift", price=0)
    made = shop.begin("gift")
    assert shop.activate(made, None)
    clock.set(utc(2026, 4, 15))
    assert shop.check()  # although no job has run
    shown = shop.subscriptions.get("ana")
    assert (shown.status, shown.period_start, shown.period_end) == ("active", utc(2026, 3, 31), utc(2026, 4, 30))
    assert shop.expire() == 0
    (due,) = store.read(lambda tx: renewals.renewal_due(tx, tx.now(), 10))
    assert shop.renew(due.id, shop.begin_renewal(due.id), None)
    assert shop.cancel()
    assert shop.check()
    assert shop.subscriptions.get("ana").period_end == utc(2026, 4, 30)
    clock.set(utc(2026, 4, 30))
    assert not shop.check()


def test_without_a_billing_period_it_has_no_end(shop: Shop, clock: FixedClock) -> None:
    shop.plan("metered", "pay_per_use", price_per_request="0.01")
    made = shop.begin("metered")
    shop.activate(made, None)
    clock.set(utc(2029, 1, 1))
    assert shop.check()
    assert shop.subscriptions.get("ana").period_end is None
    with pytest.raises(Conflict):
        shop.begin_renewal(made)
    assert shop.cancel()  # there is no end to wait for
    assert not shop.check()


def test_subscribing_again_after_a_lapse_is_possible(shop: Shop, clock: FixedClock) -> None:
    shop.plan("pro")
    old = shop.subscribe("pro")
    clock.set(utc(2026, 3, 5))
    new = shop.subscribe("pro")
    assert shop.check()
    assert {one.id: one.status for one in shop.subscriptions.list_for("ana")} == {old: "canceled", new: "active"}


def test_what_a_customer_never_had(shop: Shop) -> None:
    with pytest.raises(NotFound):
        shop.subscriptions.get("nobody")
    assert shop.subscriptions.list_for("nobody") == ()
    assert not shop.subscriptions.is_subscribed("nobody")
    with pytest.raises(PaymentRequired) as refused:
        shop.subscriptions.require("nobody")
    assert refused.value.code == "PAYMENT_REQUIRED"


def test_requiring_tells_what_ended_from_what_never_was(shop: Shop) -> None:
    shop.plan("pro")
    shop.subscribe("pro")
    shop.subscriptions.require("ana", "pro")
    with pytest.raises(PaymentRequired):
        shop.subscriptions.require("ana", "max")
    shop.cancel(at_period_end=False)
    with pytest.raises(SubscriptionExpired):
        shop.subscriptions.require("ana")


def test_every_transition_has_its_audit_row(shop: Shop, clock: FixedClock, store: Store) -> None:
    shop.plan("pro")
    made = shop.begin("pro")
    shop.fail(made)
    store.write(lambda tx: lifecycle.reopen(tx, made, tx.now()))
    shop.activate(made, "pay_1")
    shop.renewal_failed(made, shop.begin_renewal(made))
    shop.renew(made, shop.begin_renewal(made), "pay_2")
    shop.cancel()
    clock.set(utc(2026, 3, 31))
    shop.expire()
    assert [row.action.partition(".")[2] for row in store.read(lambda tx: audit.history(tx, made))] == [
        "begun",
        "expired",
        "reopened",
        "activated",
        "renewal_begun",
        "past_due",
        "renewal_begun",
        "renewed",
        "cancel_agreed",
        "canceled",
    ]


def test_subscribing_at_once_begins_one(shop: Shop) -> None:
    shop.plan("pro")
    shop.plan("max")
    shop.customer()
    results = run_threads(6, lambda index: shop.begin(("pro", "max")[index % 2]))
    assert sum(isinstance(result, str) for result in results) == 1
    assert all(isinstance(result, str | AlreadySubscribed) for result in results)


def test_renewing_at_once_takes_the_period_once(shop: Shop) -> None:
    shop.plan("pro")
    made = shop.subscribe("pro")
    results = run_threads(6, lambda _: shop.begin_renewal(made))
    assert [result for result in results if isinstance(result, int)] == [2]
    assert sum(isinstance(result, Conflict) for result in results) == 5
