"""What Stripe's refusals mean: one row, one test; what no row knows proves nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agentpay.providers.outcomes import Declined, NotSent, Unknown
from agentpay.providers.stripe_errors import (
    DECLINES,
    MESSAGES,
    PARAMETERS,
    REFUSALS,
    Fault,
    decline_of,
    outcome_of,
)

CARD = Fault(402, "card_error", code="card_declined")
INVALID = Fault(400, "invalid_request_error")


@pytest.mark.parametrize(("theirs", "ours"), DECLINES.items())
def test_a_decline_code_is_declined(theirs: str, ours: str) -> None:
    assert outcome_of(replace(CARD, decline_code=theirs), "pi_1") == Declined(ours, MESSAGES[ours], "pi_1")
    assert outcome_of(replace(CARD, code=theirs)) == Declined(ours, MESSAGES[ours], None)


@pytest.mark.parametrize(("theirs", "ours"), REFUSALS.items())
@pytest.mark.parametrize("status", [400, 402, 404])
def test_a_refused_request_is_declined(theirs: str, ours: str, status: int) -> None:
    assert outcome_of(replace(INVALID, status=status, code=theirs)) == Declined(ours, MESSAGES[ours], None)


@pytest.mark.parametrize(("theirs", "ours"), PARAMETERS.items())
def test_a_refused_parameter_is_declined_where_there_is_no_code(theirs: str, ours: str) -> None:
    assert outcome_of(replace(INVALID, param=theirs)) == Declined(ours, MESSAGES[ours], None)
    assert isinstance(outcome_of(replace(INVALID, param=theirs, code="a_code_of_tomorrow")), Unknown)


UNKNOWN = [
    replace(CARD, decline_code="a_code_of_tomorrow"),
    replace(CARD, code="a_code_of_tomorrow"),
    replace(CARD, decline_code="a_code_of_tomorrow", intent_status="succeeded"),
    replace(CARD, kind="api_error", decline_code="stolen_card"),
    *(replace(CARD, decline_code="stolen_card", intent_status=paid) for paid in ("succeeded", "processing")),
    replace(INVALID, code="payment_method_currency_mismatch", intent_status="processing"),  # by an earlier confirmation
    replace(INVALID, code="amount_too_small", intent_status="requires_capture"),
    INVALID,
    replace(INVALID, code="a_code_of_tomorrow"),
    replace(INVALID, code="payment_intent_unexpected_state"),
    replace(INVALID, kind="a_kind_of_tomorrow", code="amount_too_small"),
    Fault(400, "idempotency_error"),
    Fault(409, "idempotency_error", code="idempotency_key_in_use"),
    *map(Fault, (200, 302, 402, 418, 424, 502, 503, 504)), Fault(500, "api_error"),
    Fault(None),
]  # fmt: skip


@pytest.mark.parametrize("fault", UNKNOWN, ids=str)
def test_what_no_row_knows_proves_nothing(fault: Fault) -> None:
    outcome = outcome_of(fault, "pi_1")
    assert isinstance(outcome, Unknown) and outcome.reference == "pi_1" and outcome.evidence


def test_a_card_error_that_no_row_knows_is_a_decline_where_the_intent_came_along_unpaid() -> None:
    outcome = outcome_of(replace(CARD, decline_code="a_code_of_tomorrow", intent_status="requires_payment_method"))
    assert outcome == Declined("generic_decline", MESSAGES["generic_decline"], None)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_what_is_turned_away_at_the_door_was_not_sent(status: int) -> None:
    assert isinstance(outcome_of(Fault(status, "invalid_request_error")), NotSent)


def test_without_a_connection_nothing_was_sent() -> None:
    assert isinstance(outcome_of(Fault(None, connected=False)), NotSent)


def test_the_tables_are_whole_and_say_no_more_than_they_may() -> None:
    ours = {*DECLINES.values(), *REFUSALS.values(), *PARAMETERS.values()}
    assert ours <= set(MESSAGES) and all(re.fullmatch(r"[a-z0-9_]{1,60}", code) for code in MESSAGES)
    for secret in ("stolen_card", "lost_card", "pickup_card", "fraudulent", "merchant_blacklist"):
        assert DECLINES[secret] == "generic_decline", "the customer is not told that a card is reported stolen"
    assert decline_of("a_code_of_tomorrow", "") is None
