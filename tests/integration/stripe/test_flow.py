"""How a charge runs: a saved method without its customer, else a page; never two things that can be paid."""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.errors import ProviderUnsupported
from agentpay.providers.outcomes import Declined, NotSent, Pending, RequiresAction, Succeeded, Unknown
from agentpay.providers.stripe import StripeProvider
from agentpay.testing.stripe_fake import StripeFake
from agentpay_policies.payees import Payee
from support.stripe import BACK, URLS, Done, MakeProvider, charge, order, refund, resume

SHOP = Payee.parse("stripe:acct_shop")


def payable(fake: StripeFake) -> list[str]:
    """Everything at Stripe that somebody could still pay: intents that were confirmed, and pages."""
    intents = [one["id"] for one in fake.books.intents.values() if one["status"] == "requires_action"]
    return intents + [one["id"] for one in fake.pages.pages.values() if one["status"] == "open"]


def intents(fake: StripeFake) -> list[str]:
    return [one["status"] for one in fake.books.intents.values()]


def test_a_saved_card_is_charged_without_its_customer(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order(fake.customer(), memo="Order 7"))
    assert isinstance(done.outcome, Succeeded) and done.names == ["charge", "confirm"]
    (intent,) = fake.books.intents.values()
    assert (intent["amount"], intent["currency"], intent["description"]) == (2000, "usd", "Order 7")
    marks = {"agentpay_payment": "pay_1", "agentpay_op": "create", "agentpay_amount": "2000 usd"}
    assert intent["metadata"] == {**marks, "agentpay_key": "key-1"}
    assert [(one.kind, one.units, one.key) for one in fake.effects()] == [("charge", 2000, "key-2")]


def test_the_default_method_wins_over_a_newer_one(fake: StripeFake, provider: StripeProvider) -> None:
    customer = fake.customer()
    default = fake.books.customers[customer]["invoice_settings"]
    (default["default_payment_method"],) = fake.books.methods
    fake.books.add_method(customer, "decline:stolen_card")
    assert isinstance(charge(provider, order(customer)).outcome, Succeeded)


@pytest.mark.parametrize(("act", "code"), [(None, "no_saved_method"), ("authenticate", "authentication_required")])
def test_what_needs_the_customer_is_canceled_and_declined_where_there_is_no_way_back(
    fake: StripeFake, provider: StripeProvider, act: str | None, code: str
) -> None:
    done = charge(provider, order(fake.customer(act)))
    assert isinstance(done.outcome, Declined) and done.outcome.code == code
    assert intents(fake) == ["canceled"] and not payable(fake)
    assert done.names[-1] == "cancel"


@pytest.mark.parametrize("act", [None, "authenticate"])
def test_what_needs_the_customer_becomes_a_page_after_the_intent_was_canceled(
    fake: StripeFake, pages: StripeProvider, act: str | None
) -> None:
    done = charge(pages, order(fake.customer(act)))
    assert isinstance(done.outcome, RequiresAction) and done.outcome.url
    assert done.names[-2:] == ["cancel", "page"]
    kinds = [one.op for one in fake.seen()]
    assert kinds[-2:] == ["cancel", "page"] and intents(fake) == ["canceled"]
    assert payable(fake) == [done.outcome.reference]
    fake.customer_acts(done.outcome.reference)
    assert len(fake.effects()) == 1


@pytest.mark.parametrize("fault", ["500_before", "500_after", "drop_before", "drop_after", "429", "403"])
def test_without_proof_that_the_intent_is_canceled_there_is_no_page(
    fake: StripeFake, pages: StripeProvider, fault: Any
) -> None:
    fake.fail(fault, op="cancel")
    done = charge(pages, order(fake.customer("authenticate")))
    assert isinstance(done.outcome, Unknown) and not fake.pages.pages


def test_an_intent_that_was_paid_meanwhile_is_a_success_and_no_page(fake: StripeFake, pages: StripeProvider) -> None:
    """Between the decline and the cancellation the money moved after all: Stripe refuses to cancel."""
    waiting = charge(pages, order(fake.customer("slow")))
    assert isinstance(waiting.outcome, Pending)
    fake.books.end_intent(waiting.outcome.reference, paid=True)
    done = resume(pages, waiting.outcome.reference)
    assert done.outcome == Succeeded(waiting.outcome.reference) and not fake.pages.pages


def test_an_expired_card_is_not_tried(fake: StripeFake, provider: StripeProvider, clock: FixedClock) -> None:
    customer = fake.customer(year=2025, month=12)
    done = charge(provider, order(customer))
    assert isinstance(done.outcome, Declined) and done.outcome.code == "expired_card"
    assert "confirm" not in done.names
    fake.books.add_method(customer, year=clock.now().year, month=clock.now().month)
    assert isinstance(charge(provider, order(customer), "again").outcome, Succeeded)


def test_only_the_kinds_that_are_wanted_are_charged(fake: StripeFake, make_provider: MakeProvider) -> None:
    provider = make_provider(payment_method_types="card,link")
    done = charge(provider, order(fake.customer(kind="sepa_debit")))
    assert isinstance(done.outcome, Declined) and done.outcome.code == "no_saved_method"
    assert isinstance(charge(provider, order(fake.customer()), "card").outcome, Succeeded)


def test_a_good_method_is_found_behind_many_that_cannot_be_used(fake: StripeFake, provider: StripeProvider) -> None:
    customer = fake.customer()
    for _ in range(12):
        fake.books.add_method(customer, year=2025, month=12)
    assert isinstance(charge(provider, order(customer)).outcome, Succeeded)


def test_a_slow_method_is_pending_until_it_comes_to_its_end(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order(fake.customer("slow")))
    assert isinstance(done.outcome, Pending) and not fake.effects()


def test_a_method_that_cannot_be_read_leaves_nothing_that_can_be_paid(
    fake: StripeFake, provider: StripeProvider
) -> None:
    fake.fail("503", op="customer")
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, NotSent) and not payable(fake) and not fake.effects()


def test_a_charge_that_was_begun_goes_on_with_the_same_intent(fake: StripeFake, provider: StripeProvider) -> None:
    fake.fail("drop_before", op="confirm")
    begun = charge(provider, order(fake.customer()))
    assert isinstance(begun.outcome, Unknown)
    (intent,) = fake.books.intents
    done = resume(provider, intent)
    assert done.outcome == Succeeded(intent) and done.names == ["resume", "confirm"]
    assert resume(provider, intent, "more").outcome == Succeeded(intent)
    assert len(fake.effects()) == 1


def test_going_on_after_authentication_was_asked_for_ends_in_a_page(fake: StripeFake, pages: StripeProvider) -> None:
    fake.fail("drop_before", op="cancel")
    charge(pages, order(fake.customer("authenticate")))
    (intent,) = fake.books.intents
    done = resume(pages, intent)
    assert isinstance(done.outcome, RequiresAction) and done.names == ["resume", "cancel", "page"]
    assert payable(fake) == [done.outcome.reference]


# -- pages -------------------------------------------------------------------------------------------------------------


def test_a_customer_whom_stripe_does_not_know_gets_a_page_or_is_refused_beforehand(
    fake: StripeFake, provider: StripeProvider, pages: StripeProvider
) -> None:
    stranger = order("cus_0123456789abcdef01234567", linked=False)
    with pytest.raises(ProviderUnsupported, match="no saved method"):
        provider.prepare(stranger)
    done = charge(pages, stranger)
    assert isinstance(done.outcome, RequiresAction) and done.names == ["charge"]
    (page,) = fake.pages.pages.values()
    assert page["customer"] is None and not fake.books.intents


def test_a_page_says_what_it_is_for_and_keeps_the_method_of_a_plan(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order("ana", checkout=BACK, linked=False, title="Plan Pro", recurring=True))
    assert isinstance(done.outcome, RequiresAction)
    sent = fake.seen()[0].params
    assert sent["line_items"][0]["price_data"]["product_data"]["name"] == "Plan Pro"
    assert (sent["success_url"], sent["cancel_url"]) == (BACK.success, BACK.cancel)
    assert (sent["customer_creation"], sent["payment_intent_data"]["setup_future_usage"]) == ("always", "off_session")
    fake.customer_acts(done.outcome.reference)
    customer = fake.pages.pages[done.outcome.reference]["customer"]
    assert isinstance(charge(provider, order(customer), "renewal").outcome, Succeeded)


def test_a_page_for_once_keeps_nothing(fake: StripeFake, provider: StripeProvider) -> None:
    charge(provider, order("ana", checkout=BACK, linked=False))
    sent = fake.seen()[0].params
    assert "customer_creation" not in sent and "setup_future_usage" not in sent["payment_intent_data"]


# -- connected accounts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behalf", [True, False])
def test_a_connected_account_gets_the_money(fake: StripeFake, make_provider: MakeProvider, behalf: bool) -> None:
    fake.connected("acct_shop")
    provider = make_provider(on_behalf_of=behalf, **URLS)
    assert isinstance(charge(provider, order(fake.customer(), payee=SHOP)).outcome, Succeeded)
    assert fake.books.accounts["acct_shop"] == {"usd": 2000}
    (intent,) = fake.books.intents.values()
    assert intent["on_behalf_of"] == ("acct_shop" if behalf else None)
    charge(provider, order(fake.customer(None), payee=SHOP), "page")
    data = fake.seen()[-1].params["payment_intent_data"]
    assert data["transfer_data"] == {"destination": "acct_shop"}
    assert data.get("on_behalf_of") == ("acct_shop" if behalf else None)


@pytest.mark.parametrize(("reverse", "left"), [(True, 0), (False, 2000)])
def test_a_refund_says_who_gives_the_money_back(
    fake: StripeFake, make_provider: MakeProvider, reverse: bool, left: int
) -> None:
    fake.connected("acct_shop")
    provider = make_provider(reverse_transfer=reverse)
    done = charge(provider, order(fake.customer(), payee=SHOP))
    assert isinstance(done.outcome, Succeeded)
    assert isinstance(refund(provider, done.outcome.reference, "20.00", payee=SHOP).outcome, Succeeded)
    assert fake.seen()[-1].params["reverse_transfer"] == ("true" if reverse else "false")
    assert fake.books.accounts["acct_shop"] == {"usd": left}


def test_a_refund_of_ones_own_says_nothing_of_transfers(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Succeeded)
    refund(provider, done.outcome.reference, "1.00")
    assert "reverse_transfer" not in fake.seen()[-1].params


def test_an_account_that_stripe_does_not_know_is_declined(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order(fake.customer(), payee=Payee.parse("stripe:acct_nobody")))
    assert isinstance(done.outcome, Declined) and done.outcome.code == "resource_missing"


# -- stablecoins -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coin", ["usdc", "usdp", "usdg"])
def test_a_stablecoin_is_paid_from_a_wallet_on_stripes_page(fake: StripeFake, pages: StripeProvider, coin: str) -> None:
    done = charge(pages, order("ana", method=f"stablecoin:{coin}", linked=False))
    assert (
        isinstance(done.outcome, RequiresAction)
        and done.outcome.url == f"https://crypto.stripe.com/pay/{done.outcome.reference}"
    )
    (intent,) = fake.books.intents.values()
    assert intent["metadata"]["agentpay_method"] == f"stablecoin:{coin}"
    assert fake.seen()[0].params["allowed_payment_method_types"] == ["crypto"]
    assert resume(pages, done.outcome.reference).outcome == done.outcome, "going on confirms nothing"
    fake.customer_acts(done.outcome.reference)
    assert resume(pages, done.outcome.reference, "on2").outcome == Succeeded(done.outcome.reference)


def test_a_wallet_that_did_not_pay_is_declined(fake: StripeFake, pages: StripeProvider) -> None:
    done = charge(pages, order("ana", method="stablecoin:usdc", linked=False))
    assert isinstance(done.outcome, RequiresAction)
    fake.customer_acts(done.outcome.reference, approve=False)
    assert isinstance(resume(pages, done.outcome.reference).outcome, Declined) and not payable(fake)


def test_stablecoins_are_for_dollars_and_need_a_way_back(provider: StripeProvider, pages: StripeProvider) -> None:
    with pytest.raises(ProviderUnsupported, match="USD only"):
        pages.prepare(order("ana", "20.00", "EUR", method="stablecoin:usdc"))
    with pytest.raises(ProviderUnsupported, match="no address"):
        provider.prepare(order("ana", method="stablecoin:usdc"))


# -- refunds -----------------------------------------------------------------------------------------------------------


def _charged(fake: StripeFake, provider: StripeProvider) -> str:
    done: Done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Succeeded)
    return done.outcome.reference


def test_refunds_end_at_the_charge(fake: StripeFake, provider: StripeProvider) -> None:
    charged = _charged(fake, provider)
    assert isinstance(refund(provider, charged, "12.00", key="a").outcome, Succeeded)
    over = refund(provider, charged, "8.01", key="b").outcome
    assert isinstance(over, Declined) and over.code == "amount_refused"
    assert isinstance(refund(provider, charged, "8.00", key="c").outcome, Succeeded)
    none = refund(provider, charged, "0.01", key="d").outcome
    assert isinstance(none, Declined) and none.code == "charge_already_refunded"
    assert [one.units for one in fake.effects()] == [2000, 1200, 800]


ENDS: list[tuple[str, type[object]]] = [
    ("pending", Pending),
    ("requires_action", Pending),
    ("failed", Declined),
    ("canceled", Declined),
    ("a_new_one", Unknown),
]


@pytest.mark.parametrize(("status", "kind"), ENDS)
def test_what_becomes_of_a_refund(fake: StripeFake, provider: StripeProvider, status: str, kind: type[object]) -> None:
    charged = _charged(fake, provider)
    fake.books.refund_status = status
    assert isinstance(refund(provider, charged, "5.00").outcome, kind)
    assert len(fake.effects()) == 1


def test_a_disputed_charge_is_not_refunded(fake: StripeFake, provider: StripeProvider) -> None:
    charged = _charged(fake, provider)
    fake.books.dispute(charged)
    outcome = refund(provider, charged, "5.00").outcome
    assert isinstance(outcome, Declined) and outcome.code == "charge_disputed"
