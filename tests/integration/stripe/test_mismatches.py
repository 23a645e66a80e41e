"""What Stripe answers is believed only where it is what was asked for: the same object, the same amount and currency.

Whoever has the key, another program or a person, can change an intent between two of our requests.
"""

from __future__ import annotations

from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.providers.base import Found, NoAnswer
from agentpay.providers.outcomes import RequiresAction, Succeeded, Unknown
from agentpay.providers.stripe import StripeProvider
from agentpay.testing import RecordingSteps
from agentpay.testing.stripe_fake import StripeFake
from support.stripe import BACK, Done, charge, looked_up, order, refund, resume

CHANGES: list[dict[str, Any]] = [{"amount": 1000}, {"amount": 200000}, {"currency": "eur"}]


def changed_before_it_is_confirmed(fake: StripeFake, provider: StripeProvider, change: dict[str, Any]) -> Done:
    """A charge of 20 USD whose intent somebody changes before our second request."""
    wanted = order(fake.customer())
    steps = RecordingSteps(
        provider.prepare(wanted), key="key", on_record=lambda _: next(iter(fake.books.intents.values())).update(change)
    )
    return Done(provider.charge(wanted, steps), steps, wanted)


@pytest.mark.parametrize("change", CHANGES)
def test_an_intent_of_another_amount_is_no_success(
    fake: StripeFake, provider: StripeProvider, change: dict[str, Any], clock: FixedClock
) -> None:
    done = changed_before_it_is_confirmed(fake, provider, change)
    (moved,) = fake.effects()
    assert (moved.units, moved.currency) != (2000, "usd")
    assert isinstance(done.outcome, Unknown) and done.outcome.reference == moved.intent
    found = looked_up(provider, done, at=clock.now())
    assert isinstance(found, Found) and isinstance(found.outcome, Unknown)
    event = fake.events()[-1]
    assert event["type"] == "payment_intent.succeeded"
    assert not provider.parse_webhook(*fake.signed(event), clock.now()).news


def test_an_intent_of_which_less_was_captured_is_no_success(fake: StripeFake, provider: StripeProvider) -> None:
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Succeeded)
    fake.books.intents[done.outcome.reference]["amount_received"] = 500
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, Unknown)


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_begun_is_not_confirmed_for_another_amount(
    fake: StripeFake, provider: StripeProvider, change: dict[str, Any]
) -> None:
    fake.fail("drop_before", op="confirm")
    begun = charge(provider, order(fake.customer()))
    found = looked_up(provider, begun)
    assert isinstance(found, Found) and isinstance(found.outcome, RequiresAction)
    (intent,) = fake.books.intents.values()
    intent.update(change)
    done = resume(provider, intent["id"])
    assert isinstance(done.outcome, Unknown) and done.names == ["resume"] and not fake.effects()


@pytest.mark.parametrize("op", ["create", "confirm", "cancel"])
def test_an_answer_about_another_object_proves_nothing(fake: StripeFake, provider: StripeProvider, op: Any) -> None:
    """The other charge was paid, and by that answer this one would count as paid."""
    other = charge(provider, order(fake.customer()), "other")
    assert isinstance(other.outcome, Succeeded)
    fake.fail("other_after", op=op)
    done = charge(provider, order(fake.customer("authenticate" if op == "cancel" else "ok")))
    assert isinstance(done.outcome, Unknown) and done.names[-1] == ("charge" if op == "create" else op)


@pytest.mark.parametrize("change", [{"amount": 100}, {"currency": "eur"}])
def test_a_refund_of_another_amount_is_no_success(
    fake: StripeFake, provider: StripeProvider, change: dict[str, Any], clock: FixedClock
) -> None:
    charged = charge(provider, order(fake.customer())).outcome
    assert isinstance(charged, Succeeded)
    fake.fail("drop_after", op="refund")
    done = refund(provider, charged.reference, "5.00")
    (made,) = fake.books.refunds.values()
    made.update(change)
    for reference in (None, made["id"]):
        found = looked_up(provider, done, reference=reference)
        assert isinstance(found, Found) and isinstance(found.outcome, Unknown)
    fake.books.tell("refund.updated", made)
    assert not provider.parse_webhook(*fake.signed(fake.events()[-1]), clock.now()).news


def test_a_refund_of_another_charge_proves_nothing(fake: StripeFake, provider: StripeProvider) -> None:
    first, second = (charge(provider, order(fake.customer()), key).outcome for key in ("one", "two"))
    assert isinstance(first, Succeeded) and isinstance(second, Succeeded)
    assert isinstance(refund(provider, first.reference, "5.00", key="a").outcome, Succeeded)
    fake.fail("other_after", op="refund")
    assert isinstance(refund(provider, second.reference, "5.00", key="b").outcome, Unknown)


def test_an_account_that_knows_nothing_of_what_waits_does_not_end_it(
    fake: StripeFake, pages: StripeProvider, clock: FixedClock
) -> None:
    """The key was exchanged for that of another account: the customer can still pay what waits at the first one."""
    waits = charge(pages, order("ana", method="stablecoin:usdc", linked=False))
    assert isinstance(waits.outcome, RequiresAction)
    with StripeFake(clock=clock) as another:
        moved = another.provider(success_url=BACK.success, cancel_url=BACK.cancel)
        outcome = resume(moved, waits.outcome.reference).outcome
        moved.close()
    assert isinstance(outcome, Unknown) and outcome.reference == waits.outcome.reference
    fake.customer_acts(waits.outcome.reference)
    assert resume(pages, waits.outcome.reference).outcome == Succeeded(waits.outcome.reference)


def test_a_refund_at_an_account_that_does_not_know_the_charge_is_not_proved_unsent(
    fake: StripeFake, provider: StripeProvider, clock: FixedClock
) -> None:
    charged = charge(provider, order(fake.customer())).outcome
    assert isinstance(charged, Succeeded)
    fake.fail("drop_after", op="refund")
    done = refund(provider, charged.reference, "5.00")
    assert isinstance(done.outcome, Unknown) and len(fake.effects()) == 2
    with StripeFake(clock=clock) as another:
        moved = another.provider()
        assert isinstance(looked_up(moved, done), NoAnswer)
        moved.close()
