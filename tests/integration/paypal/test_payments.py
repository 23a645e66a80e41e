"""Payments by PayPal through the whole engine, on both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from agentpay.errors import ModeMismatch, NotSent, PaymentDeclined, ProviderUnsupported
from agentpay.payments.models import Payment
from agentpay.payments.queries import PAYMENTS
from agentpay.testing.paypal_fake.faults import How
from integration.paypal.conftest import Shop
from support.bench import Bench, code_of


def test_a_payer_approves_and_only_then_is_money_taken_once(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    order = shop.fake.newest_order()
    assert waiting.status == "requires_action" and waiting.url.endswith(order)
    assert shop.bench.manager.continue_payment(waiting.id).status == "requires_action", "nobody approved it"
    shop.fake.approve(order)
    assert shop.moved() == 0
    paid = shop.bench.manager.continue_payment(waiting.id)
    assert (paid.status, shop.moved()) == ("succeeded", 1)
    assert shop.bench.manager.continue_payment(waiting.id).status == "succeeded"
    first = shop.refund(waiting, "4.00", "back-1")
    rest = shop.refund(waiting, None, "back-2")
    assert [first.status, rest.status, str(rest.amount)] == ["succeeded", "succeeded", "6.00"]
    assert [str(one.money) for one in shop.fake.movements()[-3:]] == ["10.00 USD", "4.00 USD", "6.00 USD"]


def test_reconcile_captures_what_was_approved_and_nothing_else(shop: Shop) -> None:
    approved, untouched = shop.charge("ana", "order-1"), shop.charge("ana", "order-2", "11.00")
    shop.fake.approve(next(iter(reversed(list(shop.fake.books.orders)[:-1]))))
    shop.after_the_lease()
    shop.bench.manager.reconcile()
    assert shop.status(approved) == "succeeded"
    assert shop.status(untouched) == "requires_action"


def test_an_agents_payment_holds_its_budget_and_is_not_captured_while_it_is_halted(shop: Shop) -> None:
    waiting = shop.as_agent("ana", "order-1")
    assert shop.bench.holds(waiting.id) == ["held"]
    shop.fake.approve(shop.fake.newest_order())
    shop.bench.manager.halt("bot", reason="look at it first")
    shop.after_the_lease()
    shop.bench.manager.reconcile()
    assert shop.status(waiting) == "pending" and shop.moved() == 0
    shop.bench.manager.resume("bot")
    shop.bench.manager.reconcile()
    assert shop.status(waiting) == "succeeded"
    assert shop.bench.holds(waiting.id) == ["captured"]


def test_a_linked_customer_is_charged_at_once(shop: Shop) -> None:
    shop.charge("ana", "order-1")
    shop.link("ana")
    assert shop.charge("ana", "order-2").status == "succeeded"


def test_a_capture_whose_answer_was_lost_is_found_and_never_repeated(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    shop.fake.fault("capture", "drop_after")
    assert shop.bench.manager.continue_payment(waiting.id).status == "unknown"
    assert shop.bench.manager.verify_payment(waiting.id).status == "succeeded"
    assert shop.moved() == 1


def test_a_capture_that_never_arrived_is_sent_as_another_attempt(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    shop.fake.fault("capture", "drop_before")
    assert shop.bench.manager.continue_payment(waiting.id).status == "unknown"
    shop.after_the_lease()
    assert shop.bench.manager.continue_payment(waiting.id).status == "succeeded"
    assert [row.step for row in shop.bench.attempts(waiting.id)] == ["charge", "resume", "resume"]


def test_an_order_whose_answer_was_lost_is_made_anew_and_only_one_is_paid(shop: Shop) -> None:
    shop.fake.fault("create", "drop_after")
    lost = shop.charge("ana", "order-1")
    first = shop.fake.newest_order()
    assert lost.status == "unknown"
    shop.after_the_lease()
    assert shop.bench.manager.verify_payment(lost.id).status == "not_sent"
    again = shop.charge("ana", "order-1")
    assert again.id == lost.id and again.status == "requires_action" and first not in again.url
    shop.fake.approve(shop.fake.newest_order())
    assert shop.bench.manager.continue_payment(lost.id).status == "succeeded"
    assert shop.moved() == 1


def test_a_charge_of_a_saved_method_whose_answer_was_lost_is_unknown_until_paypal_lists_it(shop: Shop) -> None:
    shop.charge("ana", "order-0")
    shop.link("ana")
    shop.fake.fault("charge", "error_after")
    shop.fake.books.listing_lag = timedelta(hours=3)
    lost = shop.charge("ana", "order-1")
    assert lost.status == "unknown"
    shop.after_the_lease()
    assert shop.bench.manager.verify_payment(lost.id).status == "unknown", "not listed yet, which proves nothing"
    shop.bench.later(hours=4)
    assert shop.bench.manager.verify_payment(lost.id).status == "succeeded"
    shop.fake.books.listing_lag = timedelta(0)


@pytest.mark.parametrize("how", ["drop_before", "error_after"])
def test_a_reconcile_sends_the_same_request_again_where_nobody_lists_it(shop: Shop, how: How) -> None:
    shop.charge("ana", "order-0")
    shop.link("ana")
    shop.fake.fault("charge", how)
    shop.fake.books.listing_lag = timedelta(hours=3)
    lost = shop.charge("ana", "order-1")
    assert lost.status == "unknown"
    shop.after_the_lease()
    shop.bench.manager.reconcile()
    assert (shop.status(lost), shop.moved()) == ("succeeded", 1)
    assert [row.outcome for row in shop.bench.attempts(lost.id)] == ["succeeded"]
    shop.fake.books.listing_lag = timedelta(0)


@pytest.mark.parametrize("refused", ["rate_limited", "unauthorized", "refused"])
def test_a_payout_that_arrived_is_not_made_anew_because_paypal_would_not_take_it_again(
    shop: Shop, refused: How
) -> None:
    """What PayPal refuses at its door now says nothing about the same request a while ago."""
    shop.fake.fault("payout", "drop_after")
    lost = shop.charge("ana", "out-1", payee="paypal:ana@example.com")
    shop.fake.fault("payout", refused, times=2, issue="RATE_LIMIT_REACHED")
    shop.after_the_lease()
    shop.bench.manager.reconcile()
    assert shop.status(lost) == "unknown"
    assert shop.charge("ana", "out-1", payee="paypal:ana@example.com").replayed
    made = [one for one in shop.fake.books.payouts.values() if one["items"][0]["sender_batch_id"] in _keys(shop, lost)]
    assert len(made) == 1


def _keys(shop: Shop, payment: Payment) -> list[str]:
    return [row.provider_key for row in shop.bench.attempts(payment.id)]


def test_a_payout_is_followed_to_its_end(shop: Shop) -> None:
    sent = shop.charge("ana", "out-1", payee="paypal:ana@example.com")
    lost = shop.charge("ana", "out-2", "11.00", payee="paypal:ben@example.com")
    assert (sent.status, sent.direction) == ("pending", "send")
    first, second = list(shop.fake.books.payouts)[-2:]
    shop.fake.books.end_payout(first, "SUCCESS")
    shop.fake.books.end_payout(second, "RETURNED")
    shop.after_the_lease()
    shop.bench.manager.reconcile()
    assert shop.status(sent) == "succeeded"
    assert shop.status(lost) == "declined"


# -- bad input -------------------------------------------------------------------------------------------------------


def test_the_order_of_another_customer_pays_for_nobody_else(shop: Shop) -> None:
    ana, anas = shop.charge("ana", "order-1"), shop.fake.newest_order()
    ben, bens = shop.charge("ben", "order-2"), shop.fake.newest_order()
    shop.fake.approve(bens)
    assert shop.bench.manager.continue_payment(ana.id).status == "requires_action"
    assert shop.fake.books.orders[anas]["status"] == "PAYER_ACTION_REQUIRED"
    assert shop.bench.manager.continue_payment(ben.id).status == "succeeded"


@pytest.mark.parametrize("happens", ["expires", "declines"])
def test_what_the_payer_does_not_pay_ends_declined(shop: Shop, happens: str) -> None:
    waiting, order = shop.charge("ana", "order-1"), shop.fake.newest_order()
    shop.fake.approve(order)
    if happens == "expires":
        shop.fake.expire(order)
    else:
        shop.fake.refuse(order, "INSTRUMENT_DECLINED")
    with pytest.raises(PaymentDeclined) as declined:
        shop.bench.manager.continue_payment(waiting.id)
    assert declined.value.decline_code == {"expires": "order_expired", "declines": "instrument_declined"}[happens]


def test_what_paypal_does_not_take_is_refused_and_keeps_no_payment(shop: Shop) -> None:
    known, payments = len(shop.fake.received), len(shop.bench.rows(sa.select(PAYMENTS)))
    for amount, currency in (("10.50", "HUF"), ("10.01", "TWD"), ("10.000", "KWD"), ("5", "USDT")):
        with pytest.raises(ProviderUnsupported):
            shop.charge("ana", "order-1", amount, currency)
    assert len(shop.bench.rows(sa.select(PAYMENTS))) == payments and len(shop.fake.received) == known
    assert shop.charge("ana", "order-1").status == "requires_action", "the key is free"


def test_wrong_credentials_move_nothing_and_the_same_key_works_once_they_are_right(shop: Shop) -> None:
    right = shop.fake.client_secret
    shop.fake.client_secret = "changed"
    shop.fake.expire_tokens()
    assert code_of(lambda: shop.charge("ana", "order-1")) == "NOT_SENT"
    assert not shop.bench.manager.health().ok
    shop.fake.client_secret = right
    assert shop.charge("ana", "order-1").status == "requires_action"


def test_a_refund_that_paypal_does_not_take_reserves_nothing(shop: Shop) -> None:
    shop.charge("ana", "order-0")
    shop.link("ana")
    paid = shop.charge("ana", "order-1", "1000", "HUF")
    with pytest.raises(ProviderUnsupported):
        shop.refund(paid, "10.50", "back-1")
    assert shop.refund(paid, None, "back-2").status == "succeeded"


def test_the_database_of_one_account_takes_no_other(shop: Shop) -> None:
    other = shop.fake.provider(client_id="another-account")
    with pytest.raises(ModeMismatch):
        shop.bench.new_manager(provider=[shop.bench.mock, other])
    other.close()


# -- at once, and what is kept ---------------------------------------------------------------------------------------


def test_whoever_continues_at_the_same_moment_captures_once(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.approve(shop.fake.newest_order())
    start = threading.Barrier(4)

    def go_on(_: int) -> str:
        start.wait()
        return str(shop.bench.manager.continue_payment(waiting.id).status)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(go_on, range(4))) <= {"succeeded", "pending"}
    assert shop.bench.manager.verify_payment(waiting.id).status == "succeeded"
    assert shop.moved() == 1


def test_nothing_secret_is_in_the_database(shop: Shop) -> None:
    waiting = shop.charge("ana", "order-1")
    shop.fake.fault("capture", "error_before")
    shop.fake.approve(shop.fake.newest_order())
    shop.bench.manager.continue_payment(waiting.id)
    shop.fake.tokens_refused = True
    with pytest.raises(NotSent):
        shop.charge("ana", "order-2")
    shop.fake.tokens_refused = False
    kept = _everything(shop.bench)
    assert "order:5O" in kept, "the search would find something"
    for secret in (shop.fake.client_secret, "FAKE-TOKEN", "Bearer "):
        assert secret not in kept


def _everything(bench: Bench) -> str:
    engine = bench.engine.store._backend.engine
    with engine.connect() as conn:
        tables = sa.inspect(conn).get_table_names()
        return "\n".join(str(row) for name in tables for row in conn.execute(sa.text(f'SELECT * FROM "{name}"')))
