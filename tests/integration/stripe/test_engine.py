"""The whole engine over Stripe's fake: one payment, one movement, whatever happens on the way."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from agentpay.payments import queries
from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from agentpay.providers.outcomes import Succeeded
from agentpay.testing.stripe_fake import StripeFake
from support.bench import Bench, code_of, policy
from support.bench_fixtures import MakeBench
from support.stripe import URLS, MakeProvider

POLICY = policy({"bot": {"providers": {"allow": ["stripe"]}, "payees": {"allow": ["self"]}}})


FAULTS: list[Any] = ["drop_before", "drop_after", "500_after", "503", "429", "html_after", "409"]
on_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
"""For what is about the way to Stripe alone: the database is another test's."""


@dataclass
class Shop:
    """An engine with Stripe, and Stripe."""

    bench: Bench
    fake: StripeFake

    def linked(self, customer: str, act: str | None = "ok") -> str:
        """A customer whom Stripe knows."""
        reference = self.fake.customer(act)
        self.bench.manager.link_customer(customer, "stripe", reference)
        return reference

    def charge(self, customer: str, key: str = "", amount: str = "5.00") -> Payment:
        return self.bench.bot.charge(
            customer, amount, "USD", description="x", idempotency_key=key or customer, provider="stripe"
        )

    def deliver(self) -> None:
        """Deliver every webhook that Stripe has, in any order, each twice."""
        events = self.fake.events() * 2
        random.Random(7).shuffle(events)
        for event in events:
            self.bench.manager.receive_webhook("stripe", *self.fake.signed(event))

    def moved(self, kind: str = "charge") -> int:
        return sum(one.units for one in self.fake.effects() if one.kind == kind)


@pytest.fixture
def shop(make_bench: MakeBench, fake: StripeFake, make_provider: MakeProvider) -> Shop:
    return Shop(make_bench(providers=(make_provider(**URLS),), policy=POLICY), fake)


def test_an_agent_charges_a_saved_card_and_refunds_it(shop: Shop) -> None:
    shop.linked("ana")
    paid = shop.charge("ana")
    assert (paid.status, shop.charge("ana").replayed) == ("succeeded", True)
    assert shop.moved() == 500
    back = shop.bench.bot.refund(paid.id, "2.00", reason="r", idempotency_key="r")
    assert back.status == "succeeded" and shop.moved("refund") == 200
    assert code_of(lambda: shop.bench.bot.refund(paid.id, "3.01", reason="r", idempotency_key="r2")) == "REFUND_REFUSED"
    names = [row.step for row in shop.bench.attempts(paid.id)]
    assert names == ["charge", "confirm"] and shop.bench.holds(paid.id) == ["captured"]


def test_a_decline_moves_nothing_and_frees_the_hold(shop: Shop) -> None:
    shop.linked("ana", "decline:insufficient_funds")
    assert code_of(lambda: shop.charge("ana")) == "PAYMENT_DECLINED"
    (payment,) = shop.bench.manager.list_payments("ana")
    assert payment.decline_code == "insufficient_funds" and shop.bench.holds(payment.id) == ["released"]


@pytest.mark.parametrize("act", ["authenticate", None])
def test_what_needs_the_customer_waits_for_them_on_one_page(shop: Shop, act: str | None) -> None:
    shop.linked("ana", act)
    waits = shop.charge("ana")
    assert waits.status == "requires_action" and waits.url
    rows = shop.bench.attempts(waits.id)
    assert [row.step for row in rows][-2:] == ["cancel", "page"] and len(shop.fake.pages.pages) == 1
    assert shop.charge("ana").url == waits.url
    shop.fake.customer_acts(rows[-1].reference)
    assert shop.bench.manager.continue_payment(waits.id).status == "succeeded" and shop.moved() == 500


def test_somebody_whom_stripe_does_not_know_gets_a_page(shop: Shop) -> None:
    waits = shop.charge("ben")
    assert waits.status == "requires_action" and waits.url
    shop.fake.customer_acts(str(shop.bench.attempts(waits.id)[-1].reference))
    assert shop.bench.manager.verify_payment(waits.id).status == "succeeded"


def test_a_slow_debit_is_looked_at_for_days_and_nothing_is_sent_for_it(shop: Shop) -> None:
    """A worker reconciles every few seconds; nobody's act is waited for, so that there is nothing to go on with."""
    shop.linked("ana", "slow")
    slow = shop.charge("ana")
    assert slow.status == "pending"
    sent = len(shop.fake.seen())
    for _ in range(5):
        shop.bench.later(minutes=10)
        shop.bench.manager.reconcile()
    assert len(shop.fake.seen()) == sent and len(shop.bench.attempts(slow.id)) == 2
    shop.fake.books.end_intent(str(shop.bench.attempts(slow.id)[-1].reference), paid=True)
    shop.bench.later(days=1, minutes=10)
    shop.bench.manager.reconcile()
    assert shop.bench.manager.get_payment(slow.id).status == "succeeded" and shop.moved() == 500


@on_sqlite
@pytest.mark.parametrize("op", ["create", "confirm"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_key_pays_once_whatever_happens_to_its_requests(shop: Shop, op: str, fault: Any) -> None:
    shop.linked("ana")
    shop.fake.fail(fault, op=op)
    code_of(lambda: shop.charge("ana"))
    for _ in range(4):
        shop.bench.later(seconds=10)
        shop.bench.manager.reconcile()
        code_of(lambda: shop.charge("ana"))
        (payment,) = shop.bench.manager.list_payments("ana")
        if payment.status == "requires_action":
            shop.bench.manager.continue_payment(payment.id)
    (payment,) = shop.bench.manager.list_payments("ana")
    assert payment.status == "succeeded" and shop.moved() == 500 and not payment.late


@on_sqlite
@pytest.mark.parametrize("fault", FAULTS)
def test_one_key_refunds_once_whatever_happens_to_its_request(shop: Shop, fault: Any) -> None:
    shop.linked("ana")
    paid = shop.charge("ana")

    def refund() -> object:
        return shop.bench.bot.refund(paid.id, "2.00", reason="r", idempotency_key="r")

    shop.fake.fail(fault, op="refund")
    code_of(refund)
    for _ in range(3):
        shop.bench.later(seconds=10)
        shop.bench.manager.reconcile()
        code_of(refund)
    (found,) = shop.bench.manager.refunds_of(paid.id)
    assert found.status == "succeeded" and shop.moved("refund") == 200


def test_reconcile_starts_nothing(shop: Shop) -> None:
    shop.linked("ana")
    shop.fake.fail("drop_before", op="confirm")
    assert shop.charge("ana").status == "unknown"
    sent = len(shop.fake.seen())
    shop.bench.later(seconds=10)
    for _ in range(3):
        shop.bench.manager.reconcile()
    assert len(shop.fake.seen()) == sent and shop.moved() == 0


def test_a_success_that_is_told_of_an_earlier_request_is_not_a_second_one(shop: Shop) -> None:
    """A webhook names the intent, which the first request made; the confirmation, whose answer was lost, finds the
    same success later: the money moved once, and nothing is flagged."""
    shop.linked("ana")
    shop.fake.fail("drop_after", op="confirm")
    unknown = shop.charge("ana")
    first, last = shop.bench.attempts(unknown.id)
    engine = shop.bench.engine
    engine.store.write(lambda tx: engine.payments.settling.settle(tx, first.id, Succeeded(first.reference)))
    assert shop.bench.manager.get_payment(unknown.id).status == "succeeded"
    shop.bench.later(seconds=10)
    shop.bench.manager.reconcile()
    payment = shop.bench.manager.get_payment(unknown.id)
    assert (
        payment.status == "succeeded"
        and not payment.late
        and "payment.moved_twice" not in shop.bench.actions(payment.id)
    )
    assert engine.store.read(lambda tx: queries.attempt(tx, last.id).outcome) == "succeeded"
    assert shop.bench.manager.refund(payment.id, idempotency_key="all").status == "succeeded"


def test_a_plan_is_paid_on_a_page_and_renewed_without_its_customer(shop: Shop) -> None:
    plan = PaymentPlan(id="pro", name="Pro", payment_type="subscription", price="10.00", billing_period="monthly",
                       features=["api"])  # fmt: skip
    shop.bench.manager.create_plan(plan)
    made = shop.bench.manager.create_checkout("ana", plan="pro", idempotency_key="page", provider="stripe", **URLS)
    assert made.status == "requires_action" and not shop.bench.manager.check_access("ana", "api")
    page = str(shop.bench.attempts(made.id)[-1].reference)
    shop.fake.customer_acts(page)
    shop.deliver()
    assert shop.bench.manager.check_access("ana", "api"), "the webhook says that it is paid, and which customer paid"
    shop.bench.later(days=29)
    shop.bench.manager.renew_subscription("ana", idempotency_key="second", provider="stripe")
    assert shop.moved() == 2000 and shop.bench.manager.is_subscribed("ana", "pro")


@on_sqlite
@pytest.mark.parametrize("fault", ["drop_after", "500_after", "html_after"])
def test_a_lost_answer_is_told_by_a_webhook_and_counted_once(shop: Shop, fault: Any) -> None:
    shop.linked("ana")
    shop.fake.fail(fault, op="confirm")
    unknown = shop.charge("ana")
    assert unknown.status == "unknown"
    shop.deliver()
    shop.bench.later(seconds=10)
    shop.bench.manager.reconcile()
    payment = shop.bench.manager.get_payment(unknown.id)
    assert payment.status == "succeeded" and not payment.late and shop.moved() == 500


def test_what_stripe_tells_of_refunds_and_disputes_is_kept(shop: Shop) -> None:
    shop.linked("ana")
    paid = shop.charge("ana")
    reference = str(shop.bench.attempts(paid.id)[-1].reference)
    shop.bench.manager.refund(paid.id, "1.00", idempotency_key="ours")
    with shop.fake.books.lock:  # somebody refunds a part in Stripe's own dashboard
        shop.fake.books.create_refund({"payment_intent": reference, "amount": "150"}, None)
    shop.deliver()
    assert str(shop.bench.manager.get_payment(paid.id).refunded) == "2.50"
    shop.fake.books.dispute(reference, units=250)
    shop.deliver()
    shop.fake.books.dispute(reference, status="lost")
    shop.deliver()
    (lost,) = shop.bench.manager.disputes()
    assert (lost.status, str(lost.amount)) == ("lost", "2.50")


def test_customers_are_linked_get_a_page_to_save_a_method_and_a_portal(shop: Shop) -> None:
    manager = shop.bench.manager
    for wrong in ("cus_nobody", "ana@example.com", "cus_"):
        assert code_of(lambda wrong=wrong: manager.link_customer("ana", "stripe", wrong)) == "INVALID_ARGUMENT"  # type: ignore[misc]
    page = manager.setup_payment_method("ana", provider="stripe", idempotency_key="s", **URLS)
    assert manager.setup_payment_method("ana", provider="stripe", idempotency_key="s", **URLS) == page
    shop.fake.customer_acts(page.reference)
    customer = shop.fake.pages.pages[page.reference]["customer"]
    shop.deliver()
    assert shop.charge("ana").status == "succeeded", "the webhook linked the customer whose page it was"
    assert customer in {one.params["customer"] for one in shop.fake.seen() if one.op == "create"}
    assert manager.customer_portal("ana", provider="stripe", return_url=URLS["success_url"]).startswith(
        "https://billing."
    )


@on_sqlite
def test_usage_is_told_to_a_meter_once_per_key(shop: Shop) -> None:
    customer, manager = shop.linked("ana"), shop.bench.manager

    def told(key: str, quantity: Any = 3, who: str = "ana", provider: str = "stripe") -> str:
        return code_of(lambda: manager.report_usage(who, "calls", quantity, idempotency_key=key, provider=provider))

    shop.fake.fail("drop_after", op="meter")
    assert (told("one"), told("one"), told("one")) == ("PROVIDER_ERROR", "fine", "fine")
    shop.fake.forget_keys()
    assert told("one") == "fine"
    assert list(shop.fake.books.metered.values()) == [(customer, 3)]
    assert (told("one", 4), told("two", 0), told("two", True)) == ("IDEMPOTENCY_CONFLICT", *["INVALID_ARGUMENT"] * 2)
    assert (told("two", who="ben"), told("two", provider="mock")) == ("NOT_FOUND", "PROVIDER_UNSUPPORTED")
    shop.bench.later(hours=23, minutes=1)
    assert told("one") == "CONFLICT", "the meter has forgotten the key, and would count it again"


def test_what_stripe_cannot_charge_is_refused_before_anything_is_written(shop: Shop) -> None:
    shop.linked("ana")
    manager = shop.bench.manager
    for amount, currency in [
        ("0.49", "USD"), ("1000000.00", "USD"), ("1.001", "KWD"), ("0.50", "MGA"), ("5.00", "USDC"), ("1.00", "KPW"),
    ]:  # fmt: skip

        def charge(amount: str = amount, currency: str = currency) -> Payment:
            return manager.charge("ana", amount, currency, idempotency_key=f"{amount}{currency}", provider="stripe")

        assert code_of(charge) == "PROVIDER_UNSUPPORTED", f"{amount} {currency}"
    assert manager.list_payments("ana") == () and not shop.fake.seen()
