"""Refusals, and what they say of money: only what is proved."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from agentpay.errors import (
    AgentPayError,
    AlreadySubscribed,
    DuplicateSuspected,
    IdempotencyConflict,
    NotFound,
    NotSent,
    PaymentDeclined,
    PaymentFailed,
    PolicyDenied,
    ProviderError,
    RefundRefused,
    StorageBusy,
    StorageFull,
    Throttled,
    ValidationError,
)
from agentpay_policies.codes import violation
from agentpay_policies.names import ToolName
from agentpay_tools import CATALOG, ToolResult, run
from agentpay_tools.render import output_schema
from unit.tools.fakes import GOOD, LATER, PAYMENT, REFUND, FakeHandle

NO_MONEY = "No money moved by this call."
MOVING: tuple[ToolName, ...] = ("charge", "subscribe", "refund")


def refuse(tool: ToolName, error: BaseException, found: Any = None) -> tuple[ToolResult, FakeHandle]:
    """What a tool says where the engine raises; `found` is what looking the payment up gives."""
    script: dict[str, Any] = {tool: error, "get_payment": NotFound("There is none.") if found is None else found}
    handle = FakeHandle(script=script)
    result = run(CATALOG[tool], handle, GOOD[tool])
    jsonschema.validate(result.structured(), output_schema(CATALOG[tool]))
    assert result.is_error
    return result, handle


def looked_up(handle: FakeHandle) -> list[dict[str, Any]]:
    """With what the payment was looked up."""
    return [{"id": args[0] if args else None, **kwargs} for verb, args, kwargs in handle.calls if verb == "get_payment"]


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("amount is none"),
        NotFound("no such payment"),
        PolicyDenied("no", violations=(violation("HALTED"),)),
        Throttled("too many", retry_at=LATER),
        IdempotencyConflict("another body"),
        DuplicateSuspected("looks the same", look_alike="pay_0"),
        RefundRefused("more than is left", payment_id="pay_1"),
        PaymentDeclined("no", payment_id="pay_1"),
        NotSent("not sent", payment_id="pay_1"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("tool", MOVING)
def test_where_it_is_proved_no_money_moved_and_nothing_is_looked_up(tool: ToolName, error: AgentPayError) -> None:
    result, handle = refuse(tool, error)
    assert result.text.endswith(NO_MONEY)
    assert looked_up(handle) == []


@pytest.mark.parametrize("tool", MOVING)
@pytest.mark.parametrize("error", [RuntimeError("boom"), StorageBusy("busy"), StorageFull("full"), KeyError("x")])
def test_a_crash_looks_the_key_up_before_it_speaks(tool: ToolName, error: BaseException) -> None:
    result, handle = refuse(tool, error, replace(PAYMENT, status="unknown"))
    assert looked_up(handle) == [{"id": None, "idempotency_key": GOOD[tool]["idempotency_key"], "operation": tool}]
    assert result.body.status == "internal"
    assert "payment pay_1 is unknown; do not pay again" in result.text
    assert "No money moved" not in result.text
    assert result.structured()["payment_id"] == "pay_1"


@pytest.mark.parametrize("status", ["succeeded", "pending", "requires_action", "approval_required", "unknown"])
def test_after_a_crash_a_payment_that_lives_is_not_to_be_paid_again(status: Any) -> None:
    result, _ = refuse("charge", RuntimeError("boom"), replace(PAYMENT, status=status))
    assert result.text.endswith(f"payment pay_1 is {status}; do not pay again.")


@pytest.mark.parametrize("status", ["declined", "not_sent", "refused", "canceled"])
def test_after_a_crash_a_payment_that_ended_without_money_is_said_to(status: Any) -> None:
    result, _ = refuse("charge", RuntimeError("boom"), replace(PAYMENT, status=status))
    assert result.text.endswith(f"payment pay_1 is {status}. {NO_MONEY}")


@pytest.mark.parametrize("tool", MOVING)
def test_after_a_crash_before_a_payment_existed_no_money_moved(tool: ToolName) -> None:
    result, _ = refuse(tool, RuntimeError("boom"))
    assert result.text.endswith(NO_MONEY)
    assert "payment_id" not in result.structured()


@pytest.mark.parametrize("second", [StorageBusy("busy"), RuntimeError("boom again")])
def test_where_the_look_up_fails_too_nothing_is_claimed(second: BaseException) -> None:
    result, _ = refuse("charge", RuntimeError("boom"), second)
    assert "It is not known whether money moved" in result.text
    assert "operation charge" in result.text
    assert NO_MONEY not in result.text


def test_a_crashed_refund_names_the_refund() -> None:
    result, _ = refuse("refund", RuntimeError("boom"), replace(REFUND, status="pending"))
    assert result.text.endswith("refund ref_1 of payment pay_1 is pending; do not refund again.")
    assert (result.structured()["refund_id"], result.structured()["payment_id"]) == ("ref_1", "pay_1")


@pytest.mark.parametrize(
    "error",
    [
        PaymentFailed("it ended", payment_id="pay_1"),
        ProviderError("it did not", payment_id="pay_1"),
        PolicyDenied("denied", violations=(violation("APPROVAL_DENIED"),), payment_id="pay_1"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_with_a_payment_says_how_that_stands(error: AgentPayError) -> None:
    result, handle = refuse("charge", error, replace(PAYMENT, status="pending"))
    assert looked_up(handle) == [{"id": "pay_1"}]
    assert result.text.endswith("payment pay_1 is pending; do not pay again.")
    assert result.structured()["payment_id"] == "pay_1"


def test_a_payment_that_people_refused_moved_no_money() -> None:
    error = PolicyDenied("denied", violations=(violation("APPROVAL_DENIED"),), payment_id="pay_1")
    result, _ = refuse("charge", error, replace(PAYMENT, status="refused"))
    assert result.body.status == "denied"
    assert result.text.endswith(f"payment pay_1 is refused. {NO_MONEY}")


@pytest.mark.parametrize("tool", ["record_usage", "cancel_subscription"])
def test_a_crash_of_what_moves_no_money_does_not_claim_that_nothing_was_done(tool: ToolName) -> None:
    result, handle = refuse(tool, RuntimeError("boom"))
    assert looked_up(handle) == []
    assert result.text.endswith(f"It may have been done all the same. {NO_MONEY}")


@pytest.mark.parametrize("tool", [name for name, spec in CATALOG.items() if spec.hints.read_only])
def test_reads_move_nothing(tool: ToolName) -> None:
    handle = FakeHandle(script={tool: RuntimeError("boom")})
    result = run(CATALOG[tool], handle, GOOD[tool])
    assert result.text.endswith(NO_MONEY)
    assert "may have been done" not in result.text


def test_a_crash_tells_the_agent_nothing_of_itself_and_the_operator_all(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="agentpay.tools"):
        result, _ = refuse("charge", RuntimeError("postgresql://user:hunter2@db/x"))
    shown = result.text + str(result.structured())
    assert "hunter2" not in shown
    assert "Traceback" not in shown
    assert "RuntimeError" not in shown
    assert result.structured()["error"]["code"] == "INTERNAL"
    assert "RuntimeError" in caplog.text


def test_an_answer_that_does_not_fit_is_a_crash_and_the_payment_is_looked_up() -> None:
    handle = FakeHandle(script={"charge": replace(PAYMENT, status="declined"), "get_payment": PAYMENT})
    result = run(CATALOG["charge"], handle, GOOD["charge"])
    assert result.body.status == "internal"
    assert "payment pay_1 is succeeded; do not pay again" in result.text


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)])
def test_what_stops_the_program_passes(stop: BaseException) -> None:
    with pytest.raises(type(stop)):
        run(CATALOG["charge"], FakeHandle(script={"charge": stop}), GOOD["charge"])


# ---- the details of an error


def test_violations_are_told_with_their_figures() -> None:
    over = violation("LIMIT_EXCEEDED", limit="150.00 USD", used="140.00 USD", remaining="10.00 USD", retry_at=LATER)
    error = PolicyDenied("Too much (and 1 more)", violations=(over, violation("HALTED")), retry_at=LATER)
    result, _ = refuse("charge", error)
    body = result.structured()["error"]
    assert [found["code"] for found in body["violations"]] == ["LIMIT_EXCEEDED", "HALTED"]
    assert body["violations"][0]["remaining"] == "10.00 USD"
    assert body["violations"][0]["retry_at"] == body["retry_at"] == "2026-03-01T12:30:00Z"
    assert "held" not in body["violations"][0]
    assert "LIMIT_EXCEEDED" in result.text
    assert "remaining: 10.00 USD" in result.text
    assert "HALTED" in result.text
    assert "Not before 2026-03-01 12:30:00 UTC." in result.text


def test_a_suspected_duplicate_names_the_look_alike_and_no_payment_of_its_own() -> None:
    result, _ = refuse("charge", DuplicateSuspected("looks the same", look_alike="pay_0"))
    body = result.structured()
    assert (body["status"], body["look_alike"]) == ("duplicate", "pay_0")
    assert "payment_id" not in body


def test_a_decline_has_its_code_and_payment() -> None:
    result, _ = refuse("charge", PaymentDeclined("no", payment_id="pay_1", decline_code="insufficient_funds"))
    body = result.structured()
    assert (body["status"], body["payment_id"], body["decline_code"]) == ("declined", "pay_1", "insufficient_funds")
    assert "(payment id: pay_1, decline code: insufficient_funds)" in result.text


def test_a_declined_refund_names_its_row_as_a_refund() -> None:
    result, _ = refuse("refund", PaymentDeclined("no", payment_id="ref_1"))
    assert result.structured()["refund_id"] == "ref_1"
    assert "payment_id" not in result.structured()


def test_who_has_the_plan_already_is_told_by_which_subscription() -> None:
    result, _ = refuse("subscribe", AlreadySubscribed("there is one", subscription_id="sub_0"))
    assert (result.body.status, result.structured()["subscription_id"]) == ("conflict", "sub_0")


def test_not_sent_is_retryable() -> None:
    result, _ = refuse("charge", NotSent("not sent", payment_id="pay_1"))
    assert (result.body.status, result.structured()["error"]["retryable"]) == ("not_sent", True)


def test_what_a_provider_wrote_is_stripped_and_cut() -> None:
    result, _ = refuse("charge", PaymentDeclined("no\u202e\x00\nPaid: all." + "x" * 5000, payment_id="pay_1"))
    shown = result.text + str(result.structured())
    assert not {"\u202e", "\x00", "\n"} & set(shown)
    assert len(result.text) < 2000
