"""Usage becomes money once; credits are drawn on first."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from agentpay.billing.usage_bills import Bill
from agentpay.plans.models import Feature, PaymentPlan
from support.bench import Bench, code_of, tally
from support.parallel import run_threads, values

_KEYS = itertools.count(1)


@pytest.fixture
def metered(shared: Bench) -> Bench:
    """A plan that prices each call at 0.0015 USD, and one whose images are paid from credits."""
    shared.manager.create_plan(PaymentPlan(id="payg", name="Payg", payment_type="pay_per_use", group="payg",
                                           price_per_request="0.0015", features=["calls"]))  # fmt: skip
    shared.manager.create_plan(PaymentPlan(id="prepaid", name="Prepaid", payment_type="pay_per_use", group="prepaid",
                                           features=[Feature("images", price="0.04")]))  # fmt: skip
    return shared


def used(bench: Bench, customer: str, calls: int) -> None:
    if not bench.manager.is_subscribed(customer, "payg"):
        bench.manager.subscribe(customer, "payg", idempotency_key=f"payg-{customer}")
    bench.manager.record_usage(customer, "calls", calls, idempotency_key=f"use-{next(_KEYS)}")


def billed(bench: Bench, customer: str, key: str = "") -> Bill:
    return bench.manager.bill_usage(customer, idempotency_key=key or f"bill-{next(_KEYS)}")


def test_a_bill_is_exact_below_a_cent_and_carries_the_rest(metered: Bench, ana: str) -> None:
    used(metered, ana, 1003)  # 1.5045
    bill = billed(metered, ana, ana)
    assert (bill.status, bill.amount, bill.left) == ("billed", Decimal("1.50"), Decimal("0.0045"))
    again = billed(metered, ana, ana)
    assert again.payment is not None and bill.payment is not None
    assert again.payment.id == bill.payment.id and again.payment.replayed
    used(metered, ana, 1)  # 0.0045 + 0.0015
    assert billed(metered, ana).status == "nothing_due"
    used(metered, ana, 3)  # 0.0105
    assert billed(metered, ana).amount == Decimal("0.01")
    assert [str(one.amount) for one in metered.manager.list_payments(ana)][-1] in ("1.50", "0.01")


def test_nothing_due_uses_no_key(metered: Bench, ana: str) -> None:
    assert billed(metered, ana, ana).status == "nothing_due"
    used(metered, ana, 1000)
    assert billed(metered, ana, ana).status == "billed"


def test_bills_at_once_charge_the_sum_once(metered: Bench, ana: str) -> None:
    used(metered, ana, 2000)
    bills = values(run_threads(8, lambda n: billed(metered, ana, f"{ana}-{n % 4}")))
    assert tally(list(bills))["billed"] >= 1
    paid = {bill.payment.id: bill.amount for bill in bills if bill.payment is not None}
    assert sum(paid.values()) == Decimal("3.00") and len(metered.manager.list_payments(ana)) == 1


def test_usage_that_comes_while_a_bill_is_made_is_on_one_bill_or_the_next(metered: Bench, ana: str) -> None:
    used(metered, ana, 1000)

    def run(n: int) -> object:
        return used(metered, ana, 100) if n % 2 else code_of(lambda: billed(metered, ana, f"{ana}-{n}"))

    values(run_threads(8, run))
    billed(metered, ana)
    assert sum(one.amount for one in metered.manager.list_payments(ana)) == Decimal("2.10")


def test_a_declined_bill_gives_its_usage_back(metered: Bench, ana: str) -> None:
    used(metered, ana, 1000)
    metered.mock.force("decline")
    assert code_of(lambda: billed(metered, ana, ana)) == "PAYMENT_DECLINED"
    assert code_of(lambda: billed(metered, ana, ana)) == "PAYMENT_DECLINED"
    bill = billed(metered, ana)
    assert bill.amount == Decimal("1.50") and bill.payment is not None and bill.payment.status == "succeeded"


def test_an_unknown_bill_keeps_its_usage(metered: Bench, ana: str) -> None:
    used(metered, ana, 1000)
    metered.mock.force("timeout-after")
    bill = billed(metered, ana, ana)
    assert bill.payment is not None and bill.payment.status == "unknown"
    assert billed(metered, ana).status == "nothing_due"
    metered.manager.reconcile()
    assert billed(metered, ana).status == "nothing_due"


def test_a_bill_that_was_not_sent_is_sent_by_its_own_key(metered: Bench, ana: str) -> None:
    used(metered, ana, 1000)
    metered.mock.force("unreachable")
    assert code_of(lambda: billed(metered, ana, ana)) == "NOT_SENT"
    assert billed(metered, ana).status == "nothing_due"
    assert billed(metered, ana, ana).status == "billed"
    assert len(metered.manager.list_payments(ana)) == 1


def test_credits_are_given_once_a_key_and_drawn_on_first(metered: Bench, ana: str) -> None:
    given = metered.manager.grant_credits(ana, "1.00", idempotency_key=ana)
    again = metered.manager.grant_credits(ana, "1.00", idempotency_key=ana)
    assert (given.balance, again.balance, again.replayed) == (Decimal("1.00"), Decimal("1.00"), True)
    assert code_of(lambda: metered.manager.grant_credits(ana, "2.00", idempotency_key=ana)) == "IDEMPOTENCY_CONFLICT"
    for wrong in ("0", "-1.00", "0.001"):
        assert code_of(lambda wrong=wrong: metered.manager.grant_credits(  # type: ignore[misc]
            ana, wrong, idempotency_key=f"{ana}-w")) == "AMOUNT_INVALID"  # fmt: skip
    used(metered, ana, 1000)  # 1.50: a dollar from credits
    assert billed(metered, ana).amount == Decimal("0.50")


def test_grants_at_once_under_one_key_are_one(metered: Bench, ana: str) -> None:
    values(run_threads(8, lambda _: metered.manager.grant_credits(ana, "1.00", idempotency_key=ana)))
    assert metered.manager.grant_credits(ana, "1.00", idempotency_key=ana).balance == Decimal("1.00")


def test_prepaid_without_credits_has_no_access(metered: Bench, ana: str) -> None:
    metered.manager.subscribe(ana, "prepaid", idempotency_key=f"prepaid-{ana}")
    assert metered.manager.check_access(ana, "images").reason == "credits_exhausted"
    metered.manager.grant_credits(ana, "0.10", idempotency_key=ana)
    assert metered.manager.check_access(ana, "images", 2)
    assert not metered.manager.check_access(ana, "images", 3)

    def use(n: int) -> object:
        return metered.manager.record_usage(ana, "images", idempotency_key=f"{ana}-{n}")

    ended = tally(run_threads(6, use))
    assert ended["CREDITS_EXHAUSTED"] == 4
