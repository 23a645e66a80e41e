"""Bad input: refused by the field's name, with the fix, before anything reaches the engine."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from agentpay.errors import PlanUnknown
from agentpay_policies.names import ToolName
from agentpay_tools import CATALOG, ToolResult, run
from agentpay_tools.render import output_schema
from unit.tools.fakes import GOOD, FakeHandle


def call(tool: ToolName, changes: dict[str, object], leave_out: str = "") -> tuple[ToolResult, FakeHandle]:
    """Call a tool with good arguments, changed."""
    handle = FakeHandle()
    arguments = {key: value for key, value in {**GOOD[tool], **changes}.items() if key != leave_out}
    return run(CATALOG[tool], handle, arguments), handle


BAD: list[tuple[ToolName, dict[str, object], str]] = [
    ("charge", {"amount": 5}, "amount"),
    ("charge", {"amount": 5.0}, "amount"),
    ("charge", {"amount": True}, "amount"),
    ("charge", {"amount": None}, "amount"),
    ("charge", {"amount": ["5.00"]}, "amount"),
    ("charge", {"amount": {"value": "5.00"}}, "amount"),
    ("charge", {"amount": ""}, "amount"),
    ("charge", {"amount": "-5.00"}, "amount"),
    ("charge", {"amount": "+5.00"}, "amount"),
    ("charge", {"amount": "NaN"}, "amount"),
    ("charge", {"amount": "Infinity"}, "amount"),
    ("charge", {"amount": "1e400"}, "amount"),
    ("charge", {"amount": "1,000"}, "amount"),
    ("charge", {"amount": "1_000"}, "amount"),
    ("charge", {"amount": " 5.00"}, "amount"),
    ("charge", {"amount": "5.00\n"}, "amount"),
    ("charge", {"amount": "05.00"}, "amount"),
    ("charge", {"amount": "5."}, "amount"),
    ("charge", {"amount": "٥.00"}, "amount"),
    ("charge", {"amount": "9" * 10_000}, "amount"),
    ("charge", {"customer": ""}, "customer"),
    ("charge", {"customer": "   "}, "customer"),
    ("charge", {"customer": "a" * 10_240}, "customer"),
    ("charge", {"customer": 7}, "customer"),
    ("charge", {"currency": "U" * 11}, "currency"),
    ("charge", {"description": "x" * 501}, "description"),
    ("charge", {"idempotency_key": "k" * 201}, "idempotency_key"),
    ("charge", {"payee": "p" * 321}, "payee"),
    ("charge", {"payee": None}, "payee"),
    ("charge", {"max_amount": "5.00"}, "max_amount"),
    ("charge", {"agent": "somebody-else"}, "agent"),
    ("check_access", {"quantity": 0}, "quantity"),
    ("check_access", {"quantity": -1}, "quantity"),
    ("check_access", {"quantity": True}, "quantity"),
    ("check_access", {"quantity": "1"}, "quantity"),
    ("check_access", {"quantity": 1.0}, "quantity"),
    ("check_access", {"quantity": 10**30}, "quantity"),
    ("record_usage", {"cost": 0.01}, "cost"),
    ("record_usage", {"cost": "-1"}, "cost"),
    ("refund", {"amount": 2}, "amount"),
    ("refund", {"reason": ""}, "reason"),
    ("cancel_subscription", {"at_period_end": "false"}, "at_period_end"),
    ("cancel_subscription", {"at_period_end": 0}, "at_period_end"),
    ("get_payment", {"operation": "record_usage"}, "operation"),
    ("list_payments", {"limit": 0}, "limit"),
    ("list_payments", {"limit": 101}, "limit"),
    ("list_plans", {"all": True}, "all"),
]


@pytest.mark.parametrize(
    ("tool", "changes", "field"), BAD, ids=lambda value: str(value)[:40].encode("ascii", "replace").decode()
)
def test_bad_input_is_refused_by_its_field_and_never_reaches_the_engine(
    tool: ToolName, changes: dict[str, object], field: str
) -> None:
    result, handle = call(tool, changes)
    body = result.structured()
    assert handle.calls == []
    assert result.is_error
    assert body["status"] == "invalid"
    assert body["error"]["code"] == "INVALID_ARGUMENT"
    assert body["error"]["retryable"] is False
    assert body["error"]["message"].startswith(f"{field}: ")
    assert result.text.endswith("No money moved by this call.")
    assert len(result.text) < 500
    jsonschema.validate(body, output_schema(CATALOG[tool]))


@pytest.mark.parametrize("tool", ["charge", "subscribe", "refund", "record_usage"])
def test_the_key_is_required(tool: ToolName) -> None:
    result, handle = call(tool, {}, leave_out="idempotency_key")
    assert handle.calls == []
    assert "idempotency_key: is missing" in result.text


@pytest.mark.parametrize("changes", [{"payment_id": None}, {"idempotency_key": "k"}])
def test_get_payment_takes_exactly_one_name(changes: dict[str, object]) -> None:
    result, handle = call("get_payment", changes)
    assert handle.calls == []
    assert "give either payment_id or idempotency_key" in result.text


def test_a_number_is_answered_with_the_form_that_is_wanted() -> None:
    result, _ = call("charge", {"amount": 12.5})
    assert 'in quotes, such as "12.50"' in result.text


def test_the_name_of_an_extra_argument_is_shown_short_and_with_nothing_hidden() -> None:
    result, _ = call("charge", {"\u202e\n" + "x" * 10_000: 1})
    assert "\u202e" not in result.text
    assert "\\u202e" in result.text
    assert len(result.text) < 500


def test_only_the_first_faults_are_told() -> None:
    result, _ = call("charge", {f"extra{number}": number for number in range(1000)})
    assert "and 995 more" in result.text
    assert len(result.text) < 1000


def test_the_value_of_a_wrong_argument_is_not_repeated() -> None:
    result, _ = call("charge", {"amount": "sk_live_secret"})
    assert "sk_live" not in result.text
    assert "sk_live" not in str(result.structured())


@pytest.mark.parametrize(
    "customer", ["o'brien", "a&b", "😀", "'; DROP TABLE payments; --", "👨\u200d👩\u200d👧", "x" * 200, "客户"]
)
def test_ids_are_opaque(customer: str) -> None:
    result, handle = call("charge", {"customer": customer})
    assert not result.is_error
    assert handle.calls[0][1][0] == customer


@pytest.mark.parametrize("absent", ["provider", "method", "distinct_from"])
def test_an_optional_string_may_be_null(absent: str) -> None:
    result, handle = call("charge", {absent: None})
    assert not result.is_error
    assert handle.calls[0][2][absent] is None


def test_amounts_reach_the_engine_as_the_strings_they_were() -> None:
    _, handle = call("charge", {"amount": "19.999"})
    args: tuple[Any, ...] = handle.calls[0][1]
    assert args == ("alice", "19.999", "USD")


def test_an_unlisted_tool_is_denied_before_its_arguments_are_discussed() -> None:
    handle = FakeHandle()
    result = run(CATALOG["charge"], handle, {}, listed=False)
    assert handle.calls == []
    assert result.body.status == "denied"
    assert "TOOL_NOT_ALLOWED" in result.text
    assert result.text.endswith("No money moved by this call.")


def test_an_unlisted_tool_says_nothing_of_what_there_is() -> None:
    handle = FakeHandle(script={"subscribe": PlanUnknown("There is no such plan.")})
    result = run(CATALOG["subscribe"], handle, GOOD["subscribe"], listed=False)
    assert result.body.status == "denied"
    assert "TOOL_NOT_ALLOWED" in result.text
    assert "plan" not in result.text
