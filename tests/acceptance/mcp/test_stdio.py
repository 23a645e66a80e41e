"""The main job through a real MCP client: a subprocess over stdio, the engine behind it, SQLite under that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import MCPError

from acceptance.mcp.servers import AGENT, SECRET, Place, body_of, text_of
from agentpay_policies.names import TOOL_NAMES
from agentpay_tools import CATALOG
from agentpay_tools.render import output_schema

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A database on which a server can be started."""
    made = Place(tmp_path)
    made.fill()
    return made


def charge(amount: str, key: str) -> dict[str, Any]:
    """The arguments of a charge."""
    return {
        "customer": "alice",
        "amount": amount,
        "currency": "USD",
        "description": "AI analysis",
        "idempotency_key": key,
    }


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_main_job(place: Place, mode: Any) -> None:
    async with place.client(mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == list(TOOL_NAMES)

        async def call(tool: str, **arguments: Any) -> tuple[dict[str, Any], str, bool]:
            result = await client.call_tool(tool, arguments)
            jsonschema.validate(body_of(result), output_schema(CATALOG[tool]))
            return body_of(result), text_of(result), result.is_error

        body, _, error = await call("check_access", customer="alice", feature="premium_api")
        assert (body["status"], body["allowed"], error) == ("ok", False, False)

        body, _, error = await call("subscribe", customer="alice", plan="pro", idempotency_key="sub-1")
        assert (body["status"], error) == ("active", False)
        body, _, _ = await call("check_access", customer="alice", feature="premium_api")
        assert body["allowed"] is True
        body, _, _ = await call("record_usage", customer="alice", feature="premium_api", idempotency_key="use-1")
        assert (body["status"], body["replayed"]) == ("ok", False)

        body, text, _ = await call("charge", **charge("5.00", "order-1"))
        assert (body["status"], body["amount"]) == ("succeeded", "5.00")
        assert text.startswith("Paid: payment ")
        body, text, _ = await call("charge", **charge("5.00", "order-1"))
        assert body["replayed"] is True
        assert "This is a repeat" in text

        paid = body["payment_id"]
        body, _, _ = await call("refund", payment_id=paid, amount="2.00", reason="partial", idempotency_key="r-1")
        assert (body["status"], body["amount"], body["payment_id"]) == ("succeeded", "2.00", paid)
        body, _, _ = await call("get_payment", payment_id=paid)
        assert (body["payment_status"], body["refunded"]) == ("succeeded", "2.00")

        parked, text, error = await call("charge", **charge("30.00", "order-2"))
        assert (parked["status"], error) == ("approval_required", False)
        assert text.startswith("NOT PAID YET")
        assert parked["approval_id"] in text
        body, _, _ = await call("get_approval", approval_id=parked["approval_id"])
        assert (body["approval_status"], body["needed"]) == ("pending", 1)
        with place.manager() as operator:
            operator.approve(parked["approval_id"], approver="owner", secret=SECRET)
        body, _, _ = await call("charge", **charge("30.00", "order-2"))
        assert (body["status"], body["payment_id"]) == ("succeeded", parked["payment_id"])

        body, text, error = await call("charge", **charge("60.00", "order-3"))
        assert (body["status"], error) == ("denied", True)
        assert body["error"]["violations"][0]["code"] == "ABOVE_MAXIMUM"
        assert text.endswith("No money moved by this call.")
        assert "payment_id" not in body

        body, _, _ = await call("get_budget")
        assert body["can_spend_now"][0]["currency"] == "USD"
        body, _, _ = await call("list_payments", customer="alice")
        assert [item["amount"] for item in body["payments"]] == ["30.00", "5.00", "10.00"]
        body, _, _ = await call("list_plans")
        assert [plan["id"] for plan in body["plans"]] == ["pro"]
        body, _, _ = await call("get_subscription", customer="alice")
        assert (body["status"], body["subscription_status"]) == ("ok", "active")
        body, _, _ = await call("cancel_subscription", customer="alice")
        assert body["cancel_at_period_end"] is True

    with place.manager() as operator:
        assert operator.verify_audit().ok


async def test_exactly_the_printed_configuration_starts_a_server_from_the_root_folder(place: Place) -> None:
    async with place.client(arguments=place.config["args"]) as client:
        result = await client.call_tool("get_budget", {})
    assert body_of(result)["agent_known"] is True


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"amount": 5}, "INVALID_ARGUMENT"),
        ({"amount": "-5"}, "INVALID_ARGUMENT"),
        ({"amount": "0"}, "AMOUNT_INVALID"),
        ({"amount": "0.00"}, "AMOUNT_INVALID"),
        ({"amount": "19.999"}, "AMOUNT_INVALID"),
        ({"amount": "0.5", "currency": "JPY"}, "AMOUNT_INVALID"),
        ({"amount": "9" * 18}, "AMOUNT_INVALID"),
        ({"currency": "usd"}, "CURRENCY_UNKNOWN"),
        ({"currency": "DOGE"}, "CURRENCY_UNKNOWN"),
        ({"payee": "https://evil.example"}, "PAYEE_INVALID"),
        ({"customer": "bo\u202eb"}, "INVALID_ARGUMENT"),
        ({"customer": "x" * 10_240}, "INVALID_ARGUMENT"),
        ({"idempotency_key": "\u200b"}, "INVALID_ARGUMENT"),
        ({"provider": "nobody"}, "PROVIDER_UNKNOWN"),
    ],
    ids=str,
)
async def test_bad_input_is_refused_with_its_code_and_nothing_is_kept(
    engine: Any, changes: dict[str, object], code: str
) -> None:
    result = await engine.call_tool("charge", {**charge("5.00", "bad-1"), **changes})
    body = body_of(result)
    jsonschema.validate(body, output_schema(CATALOG["charge"]))
    assert result.is_error
    assert body["error"]["code"] == code
    assert body["error"]["next_step"]
    assert text_of(result).endswith("No money moved by this call.")
    listed = body_of(await engine.call_tool("list_payments", {"customer": "alice"}))
    assert listed["payments"] == []


@pytest.mark.parametrize("customer", ["o'brien", "a&b", "😀", "x'); DROP TABLE payments;--", "👨\u200d👩\u200d👧"])
async def test_ids_are_opaque(engine: Any, customer: str) -> None:
    result = await engine.call_tool("charge", {**charge("5.00", "k"), "customer": customer})
    assert body_of(result)["status"] == "succeeded"
    assert body_of(result)["customer"] == customer


async def test_a_server_that_dies_in_the_middle_of_a_charge(place: Place) -> None:
    place.extra = {"AGENTPAY_MOCK_CRASH": "after_move"}
    with pytest.raises((MCPError, ExceptionGroup)):
        async with place.client() as client:
            await client.call_tool("charge", charge("5.00", "order-1"))
    place.extra = {}
    async with place.client() as client:
        found = body_of(await client.call_tool("get_payment", {"idempotency_key": "order-1"}))
        again = body_of(await client.call_tool("charge", charge("5.00", "order-1")))
        listed = body_of(await client.call_tool("list_payments", {"customer": "alice"}))
    assert found["payment_status"] == "succeeded"
    assert (again["status"], again["payment_id"], again["replayed"]) == ("succeeded", found["payment_id"], True)
    assert len(listed["payments"]) == 1


async def test_arguments_that_fit_no_schema_are_audited_and_throttled(place: Place) -> None:
    place.extra = {"AGENTPAY_THROTTLE": "600/2"}
    async with place.client() as client:
        codes = [
            body_of(await client.call_tool("charge", {**charge("5.00", f"n-{n}"), "amount": 5}))["error"]["code"]
            for n in range(3)
        ]
    assert codes == ["INVALID_ARGUMENT", "INVALID_ARGUMENT", "THROTTLED"]


# ---- starting


def test_the_server_says_on_stderr_which_database_and_policy_it_uses(place: Place) -> None:
    ended = place.run()
    assert ended.returncode == 0
    assert ended.stdout == ""
    assert f"agent {AGENT}" in ended.stderr
    assert str(place.folder / "agentpay.db") in ended.stderr
    assert "starter, version 1, hash " in ended.stderr
    assert place.config["env"]["AGENTPAY_POLICY"] in ended.stderr


def test_the_server_refuses_an_approvers_secret_in_its_environment(place: Place) -> None:
    ended = place.run({**place.environment, "AGENTPAY_APPROVER_SECRET": SECRET})
    assert ended.returncode == 1
    assert "APPROVER_SECRET_EXPOSED" in ended.stderr
    assert SECRET not in ended.stderr
    assert ended.stdout == ""


def test_the_server_refuses_a_missing_policy_file_by_its_full_path(place: Place) -> None:
    ended = place.run({**place.environment, "AGENTPAY_POLICY": "no/such.yaml"})
    assert ended.returncode == 1
    assert "/no/such.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_server_refuses_a_policy_that_is_not_the_active_one(place: Place) -> None:
    other = place.folder / "other.yaml"
    other.write_text("version: 1\nid: other\nagents: {}\n")
    ended = place.run({**place.environment, "AGENTPAY_POLICY": str(other)})
    assert ended.returncode == 1
    assert "POLICY_NOT_ACTIVE" in ended.stderr


async def test_an_agent_that_the_policy_does_not_know_may_read_only_its_own(tmp_path: Path) -> None:
    made = Place(tmp_path)
    made.fill()
    from acceptance.mcp.servers import PROGRAM

    async with made.client(arguments=["-c", PROGRAM, "stranger"]) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        result = await client.call_tool("charge", charge("5.00", "k"))
    assert names == ["get_payment", "get_approval", "get_budget"]
    assert body_of(result)["error"]["violations"][0]["code"] == "AGENT_UNKNOWN"
