"""A page on which the customer pays: for an amount as a charge, for a plan as a subscription, once per key."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from agentpay.payments.models import Payment
from agentpay.plans.models import PaymentPlan
from agentpay.providers.base import Order
from support.bench import Bench, code_of
from support.bench_fixtures import MakeBench
from support.scripted import ScriptedProvider

_KEYS = itertools.count(1)
URLS = {"success_url": "https://shop.example/done?x=1", "cancel_url": "https://shop.example/back"}


def plan(bench: Bench, price: str = "10.00") -> str:
    plan_id = f"checkout-{next(_KEYS)}"
    made = PaymentPlan(
        id=plan_id, name="Pro", group=plan_id, payment_type="subscription", price=price, billing_period="monthly",
        features=[plan_id],
    )  # fmt: skip
    return bench.manager.create_plan(made).id


def page(bench: Bench, customer: str, key: str = "", **more: Any) -> Payment:
    given: dict[str, Any] = {"amount": "5.00", "currency": "USD", **URLS, **more}
    return bench.manager.create_checkout(customer, idempotency_key=key or f"page-{next(_KEYS)}", **given)


def acts(bench: Bench, payment: Payment, *, approve: bool = True) -> None:
    """The customer pays on the page, or turns back."""
    bench.mock.customer_acts(str(bench.attempts(payment.id)[-1].reference), approve=approve)


def test_a_page_for_an_amount_is_paid_by_the_customer_once(shared: Bench, ana: str) -> None:
    before = shared.moved()
    made = page(shared, ana, ana, description="A mug")
    assert (made.status, str(made.amount), made.description) == ("requires_action", "5.00", "A mug")
    assert made.url and made.url.startswith("https://") and shared.moved() == before
    again = page(shared, ana, ana, description="A mug")
    assert (again.id, again.url, again.replayed) == (made.id, made.url, True)
    acts(shared, made)
    assert shared.manager.verify_payment(made.id).status == "succeeded"
    assert shared.moved() - before == 500
    assert shared.manager.refund(made.id, idempotency_key=f"r-{ana}").status == "succeeded"


def test_a_page_of_which_the_customer_turns_back_is_declined(shared: Bench, ana: str) -> None:
    made = page(shared, ana)
    acts(shared, made, approve=False)
    assert shared.manager.verify_payment(made.id).status == "declined"


def test_a_page_for_a_plan_gives_access_when_it_is_paid(shared: Bench, ana: str) -> None:
    pro = plan(shared)
    made = page(shared, ana, ana, plan=pro, amount=None, currency=None)
    assert (made.status, str(made.amount)) == ("requires_action", "10.00")
    assert shared.manager.get_subscription(ana).status == "incomplete" and not shared.manager.check_access(ana, pro)
    assert code_of(lambda: shared.manager.subscribe(ana, pro, idempotency_key=f"s-{ana}")) == "ALREADY_SUBSCRIBED"
    assert page(shared, ana, ana, plan=pro, amount=None, currency=None).id == made.id
    acts(shared, made)
    assert shared.manager.continue_payment(made.id).status == "succeeded"
    assert shared.manager.check_access(ana, pro) and shared.manager.is_subscribed(ana, pro)


def test_a_page_for_a_plan_that_is_not_paid_frees_the_slot(shared: Bench, ana: str) -> None:
    pro = plan(shared)
    made = page(shared, ana, plan=pro, amount=None, currency=None)
    acts(shared, made, approve=False)
    shared.manager.verify_payment(made.id)
    assert shared.manager.get_subscription(ana).status == "expired"
    assert page(shared, ana, plan=pro, amount=None, currency=None).status == "requires_action"


@pytest.mark.parametrize(
    "other",
    [{"amount": "6.00"}, {"success_url": "https://shop.example/else"}, {"cancel_url": "https://shop.example/else"},
     {"description": "other"}],
)  # fmt: skip
def test_the_key_names_one_page(shared: Bench, ana: str, other: dict[str, str]) -> None:
    page(shared, ana, ana)
    assert code_of(lambda: page(shared, ana, ana, **other)) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(
    "bad",
    [
        {"plan": "pro"},
        {"amount": None},
        {"currency": None},
        {"amount": None, "currency": None},
        {"success_url": "http://shop.example/"},
        {"cancel_url": "javascript:alert(1)"},
        {"plan": "no-such-plan", "amount": None, "currency": None},
        {"amount": "0"},
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(shared: Bench, ana: str, bad: dict[str, Any]) -> None:
    code = code_of(lambda: page(shared, ana, **bad))
    assert code == ("PLAN_UNKNOWN" if bad.get("plan") == "no-such-plan" else code) and code in (
        "INVALID_ARGUMENT", "AMOUNT_INVALID", "PLAN_UNKNOWN",
    )  # fmt: skip
    assert shared.manager.list_payments(ana) == ()


def test_a_free_plan_has_no_page(shared: Bench, ana: str) -> None:
    free = plan(shared, "0")
    assert code_of(lambda: page(shared, ana, plan=free, amount=None, currency=None)) == "INVALID_ARGUMENT"


def test_what_was_not_sent_is_a_page_again_and_never_a_charge(shared: Bench, ana: str) -> None:
    assert code_of(lambda: page(shared, ana, ana, amount="13.24")) == "NOT_SENT"
    code_of(lambda: page(shared, ana, ana, amount="13.24"))
    (payment,) = shared.manager.list_payments(ana)
    requests = [row.request for row in shared.attempts(payment.id)]
    assert len(requests) == 2 and requests[0] == requests[1] and "page" in requests[0]


def test_a_lost_answer_is_looked_up_and_gives_the_page(shared: Bench, ana: str) -> None:
    made = page(shared, ana, amount="13.22")
    assert made.status == "unknown"
    assert shared.manager.verify_payment(made.id).url


def test_the_order_says_what_the_page_is_for(make_bench: MakeBench) -> None:
    seen: list[Order] = []

    class Plain(ScriptedProvider):
        def prepare(self, order: Order) -> dict[str, object]:
            seen.append(order)
            return {}

    bench = make_bench(providers=(Plain(),))
    assert code_of(lambda: page(bench, "ana", provider="scripted")) == "PROVIDER_UNSUPPORTED"
    assert not seen and bench.manager.list_payments("ana") == ()
    pro = plan(bench)
    bench.manager.link_customer("ana", "scripted", "one")
    code_of(lambda: bench.manager.charge("ana", "5.00", "USD", idempotency_key="c", provider="scripted"))
    code_of(lambda: bench.manager.subscribe("ana", pro, idempotency_key="s", provider="scripted"))
    assert [(order.linked, order.customer, order.recurring, order.checkout, order.title) for order in seen] == [
        (True, "one", False, None, None), (True, "one", True, None, None),
    ]  # fmt: skip
