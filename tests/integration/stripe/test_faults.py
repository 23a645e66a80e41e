"""What goes wrong on the way, at every request of a charge: a true outcome, and a look-up that finds the truth."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.providers.base import Found, NoAnswer, NotFound, Reference
from agentpay.providers.outcomes import Declined, NotSent, RequiresAction, Succeeded, Unknown
from agentpay.providers.stripe import StripeProvider
from agentpay.testing import RecordingSteps
from agentpay.testing.stripe_fake import StripeFake
from support.stripe import BACK, MakeProvider, charge, looked_up, order, refund

LOST_BEFORE: list[Any] = ["drop_before", "500_before", "503", "html_before", "409", "redirect"]
LOST_AFTER: list[Any] = ["drop_after", "500_after", "html_after", "cut_after", "odd_after"]
REFUSED: list[Any] = ["401", "403", "429"]


@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_an_intent_that_was_not_made_is_unknown_and_then_not_found(
    fake: StripeFake, provider: StripeProvider, fault: Any
) -> None:
    fake.fail(fault, op="create")
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Unknown) and done.names == ["charge"]
    assert looked_up(provider, done) == NotFound() and not fake.effects()


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_an_intent_whose_answer_was_lost_can_never_be_paid(
    fake: StripeFake, provider: StripeProvider, fault: Any, clock: FixedClock
) -> None:
    fake.fail(fault, op="create")
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Unknown) and done.names == ["charge"]
    found = looked_up(provider, done, at=clock.now())
    assert isinstance(found, Found) and isinstance(found.outcome, NotSent) and not fake.effects()


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("op", ["create", "page", "refund"])
def test_what_is_refused_at_the_door_was_not_sent(
    fake: StripeFake, provider: StripeProvider, fault: Any, op: str
) -> None:
    charged = charge(provider, order(fake.customer()), "first").outcome
    assert isinstance(charged, Succeeded)
    fake.fail(fault, op=op)
    if op == "refund":
        done = refund(provider, charged.reference, "5.00")
    else:
        done = charge(provider, order(fake.customer(), checkout=BACK if op == "page" else None))
    assert isinstance(done.outcome, NotSent) and len(fake.effects()) == 1
    assert looked_up(provider, done) == NotFound()


@pytest.mark.parametrize("fault", LOST_BEFORE)
def test_a_confirmation_that_did_not_arrive_is_found_unfinished(
    fake: StripeFake, provider: StripeProvider, fault: Any
) -> None:
    fake.fail(fault, op="confirm")
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Unknown) and not fake.effects()
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, RequiresAction) and found.outcome.url is None


@pytest.mark.parametrize("fault", LOST_AFTER)
@pytest.mark.parametrize(("act", "kind"), [("ok", Succeeded), ("decline:stolen_card", Declined)])
def test_a_confirmation_whose_answer_was_lost_is_found_as_it_is(
    fake: StripeFake, provider: StripeProvider, fault: Any, act: str, kind: type[object]
) -> None:
    fake.fail(fault, op="confirm")
    done = charge(provider, order(fake.customer(act)))
    assert isinstance(done.outcome, Unknown)
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, kind)
    assert len(fake.effects()) == (act == "ok")


def test_a_stored_500_is_not_resolved_by_sending_again_and_is_by_looking(
    fake: StripeFake, provider: StripeProvider
) -> None:
    wanted = order(fake.customer())
    fake.fail("500_after", op="confirm")
    assert isinstance(charge(provider, wanted).outcome, Unknown)
    done = charge(provider, wanted)  # the same keys: Stripe replays what it stored
    assert isinstance(done.outcome, Unknown) and len(fake.effects()) == 1
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, Succeeded)


def test_a_key_in_use_is_told_from_a_connection_that_dropped(fake: StripeFake, provider: StripeProvider) -> None:
    said = {}
    for fault in ("409", "drop_before"):
        fake.fail(fault, op="confirm")
        outcome = charge(provider, order(fake.customer()), fault).outcome
        assert isinstance(outcome, Unknown)
        said[fault] = outcome.evidence
    assert "409" in said["409"] and "idempotency_key_in_use" in said["409"]
    assert "no answer" in said["drop_before"]


def test_two_deliveries_of_one_key_at_once_pay_once(fake: StripeFake, make_provider: MakeProvider) -> None:
    wanted, first, second = order(fake.customer()), make_provider(), make_provider()
    fake.fail("late", op="confirm", times=1)
    outcomes: list[object] = []
    threads = [threading.Thread(target=lambda p=p: outcomes.append(charge(p, wanted).outcome)) for p in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(outcomes) == 2 and len(fake.effects()) == 1
    assert all(isinstance(one, Succeeded | Unknown) for one in outcomes)


def test_a_key_with_another_request_says_nothing_of_the_first(fake: StripeFake, provider: StripeProvider) -> None:
    charge(provider, order(fake.customer()))
    outcome = charge(provider, order(fake.customer(), "19.00")).outcome
    assert isinstance(outcome, Unknown) and "idempotency_error" in outcome.evidence


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_a_time_out_is_unknown_within_the_time_that_was_given(
    fake: StripeFake, make_provider: MakeProvider, fault: Any
) -> None:
    provider = make_provider(read=0.2)
    fake.fail(fault, op="confirm")
    done = charge(provider, order(fake.customer()))
    assert isinstance(done.outcome, Unknown) and len(fake.effects()) == (fault == "timeout_after")
    found = looked_up(provider, done)
    assert isinstance(found, Found)
    assert isinstance(found.outcome, Succeeded if fault == "timeout_after" else RequiresAction)


def test_where_nobody_listens_nothing_was_sent(make_provider: MakeProvider) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        provider = make_provider(api_base=f"http://127.0.0.1:{unused.getsockname()[1]}")
        done = charge(provider, order("cus_1"))
    assert done.outcome == NotSent("No connection to Stripe was made.")
    assert isinstance(looked_up(provider, done), NoAnswer)


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_a_page_whose_answer_was_lost_is_found_with_its_address(
    fake: StripeFake, provider: StripeProvider, fault: Any, clock: FixedClock
) -> None:
    fake.fail(fault, op="page")
    done = charge(provider, order("ana", checkout=BACK, linked=False))
    assert isinstance(done.outcome, Unknown)
    found = looked_up(provider, done, at=clock.now())
    assert isinstance(found, Found) and isinstance(found.outcome, RequiresAction) and found.outcome.url
    fake.customer_acts(found.outcome.reference)
    paid = looked_up(provider, done, at=clock.now())
    assert isinstance(paid, Found) and isinstance(paid.outcome, Succeeded)
    for reference in (found.outcome.reference, paid.outcome.reference):
        assert looked_up(provider, done, reference=reference) == paid


def test_what_becomes_of_a_page(fake: StripeFake, provider: StripeProvider) -> None:
    def page(key: str) -> tuple[Any, str]:
        done = charge(provider, order("ana", checkout=BACK, linked=False), key)
        assert isinstance(done.outcome, RequiresAction)
        return done, done.outcome.reference

    done, left = page("left")
    fake.customer_acts(left, approve=False)
    assert _outcome(provider, done, left) == "checkout_expired"
    for paid, expected in ((True, "Succeeded"), (False, "generic_decline")):
        done, slow = page(f"slow-{paid}")
        fake.pages.act(slow, "slow")
        assert _outcome(provider, done, slow) == "Pending"
        fake.pages.end(slow, paid=paid)
        assert _outcome(provider, done, slow) == expected


def _outcome(provider: StripeProvider, done: Any, reference: str) -> str:
    found = looked_up(provider, done, reference=reference)
    assert isinstance(found, Found)
    return found.outcome.code if isinstance(found.outcome, Declined) else type(found.outcome).__name__


@pytest.mark.parametrize("fault", LOST_AFTER)
def test_a_refund_whose_answer_was_lost_is_found(fake: StripeFake, provider: StripeProvider, fault: Any) -> None:
    charged = charge(provider, order(fake.customer())).outcome
    assert isinstance(charged, Succeeded)
    refund(provider, charged.reference, "1.00", key="another")
    fake.fail(fault, op="refund")
    done = refund(provider, charged.reference, "5.00")
    assert isinstance(done.outcome, Unknown) and len(fake.effects()) == 3
    found = looked_up(provider, done)
    assert isinstance(found, Found) and isinstance(found.outcome, Succeeded)
    assert looked_up(provider, done, reference=found.outcome.reference) == found


def test_a_refund_is_not_found_only_where_the_list_is_whole(fake: StripeFake, provider: StripeProvider) -> None:
    charged = charge(provider, order(fake.customer())).outcome
    assert isinstance(charged, Succeeded)
    fake.fail("drop_before", op="refund")
    done = refund(provider, charged.reference, "5.00")
    assert looked_up(provider, done) == NotFound()
    (made,) = fake.books.charges.values()
    made["amount_refunded"] = 500  # the charge knows of a refund that the list has not yet
    assert isinstance(looked_up(provider, done), NoAnswer)


@pytest.mark.parametrize("fault", ["503", "html_after", "drop_before", "403", "cut_after"])
@pytest.mark.parametrize("op", ["intents", "pages", "refunds", "intent"])
def test_a_look_up_that_is_not_answered_says_nothing(
    fake: StripeFake, provider: StripeProvider, fault: Any, op: str
) -> None:
    charged = charge(provider, order(fake.customer()), "first")
    assert isinstance(charged.outcome, Succeeded)
    if op == "intents":
        fake.fail("drop_before", op="create")
        done = charge(provider, order(fake.customer()))
    elif op == "pages":
        done = charge(provider, order("ana", checkout=BACK, linked=False))
    else:
        done = charged if op == "intent" else refund(provider, charged.outcome.reference, "1.00")
    fake.fail(fault, op=op)
    assert isinstance(looked_up(provider, done), NoAnswer)


def test_a_look_up_reads_every_page_of_a_list_and_only_around_its_time(
    fake: StripeFake, provider: StripeProvider, clock: FixedClock
) -> None:
    customer, then = fake.customer(), clock.now()
    fake.fail("500_after", op="create")
    done = charge(provider, order(customer), "lost")
    for _ in range(130):
        fake.books.create_intent({"amount": "100", "currency": "usd", "customer": customer})
    found = looked_up(provider, done, at=then)
    assert isinstance(found, Found)
    assert looked_up(provider, done, at=then + timedelta(hours=3)) == NotFound()


def test_a_list_that_never_ends_proves_nothing(fake: StripeFake, provider: StripeProvider) -> None:
    for _ in range(2001):
        fake.books.create_intent({"amount": "100", "currency": "usd"})
    request = provider.prepare(order("ana", method=None))
    assert isinstance(provider.lookup(Reference("k", "charge", "charge", {**request, "params": {}})), NoAnswer)


def test_nothing_follows_a_request_that_could_not_be_recorded(fake: StripeFake, pages: StripeProvider) -> None:
    """Whichever commit fails, at most one request more was sent than was recorded, and nothing can be paid twice."""

    class Failed(Exception):
        pass

    for failing in (2, 3, 4):
        wanted, sent = order(fake.customer("authenticate")), len(fake.seen())

        def commit(_step: object, failing: int = failing) -> None:
            commit.count += 1  # type: ignore[attr-defined]
            if commit.count == failing - 1:  # type: ignore[attr-defined]
                raise Failed

        commit.count = 0  # type: ignore[attr-defined]
        steps = RecordingSteps(pages.prepare(wanted), key=f"k{failing}", on_record=commit)
        with pytest.raises(Failed):
            pages.charge(wanted, steps)
        assert len(fake.seen()) - sent == failing - 1 == len(steps.recorded)
    assert not fake.effects()
