"""The catalog: complete, small, strict, and the same as what is committed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from agentpay.subscriptions.states import Status
from agentpay_policies.names import TOOL_NAMES
from agentpay_tools import CATALOG, AnySpec, reference, snapshot
from agentpay_tools.outputs import SubscriptionStatus
from agentpay_tools.render import contract, input_schema, output_schema

SPECS = pytest.mark.parametrize("spec", CATALOG.values(), ids=lambda spec: spec.name)
TREE = Path(__file__).parents[3]

HINTS = {
    "check_access": "TFTF",
    "charge": "FTTT",
    "subscribe": "FTTT",
    "record_usage": "FFTF",
    "refund": "FTTT",
    "cancel_subscription": "FTTT",
    "get_payment": "TFTF",
    "get_approval": "TFTF",
    "get_subscription": "TFTF",
    "list_payments": "TFTF",
    "list_plans": "TFTF",
    "get_budget": "TFTF",
}


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a schema."""
    if isinstance(schema, list):
        for each in schema:
            yield from nodes(each)
    if isinstance(schema, dict):
        yield schema
        for each in schema.values():
            yield from nodes(each)


def test_the_catalog_is_the_closed_set_of_names() -> None:
    assert tuple(CATALOG) == TOOL_NAMES
    assert all(spec.name == name for name, spec in CATALOG.items())


@SPECS
def test_the_hints_are_those_of_the_contract(spec: AnySpec) -> None:
    given = (spec.hints.read_only, spec.hints.destructive, spec.hints.idempotent, spec.hints.open_world)
    assert "".join("T" if hint else "F" for hint in given) == HINTS[spec.name]


@SPECS
def test_descriptions_are_short_and_every_tool_has_a_title(spec: AnySpec) -> None:
    assert 0 < len(spec.description) < 420
    assert spec.title


@SPECS
def test_arguments_use_only_simple_types_and_forbid_extras(spec: AnySpec) -> None:
    schema = input_schema(spec)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    for name, field in schema.get("properties", {}).items():
        assert field["type"] in ("string", "integer", "boolean"), name
        assert not {"anyOf", "oneOf", "$ref"} & field.keys(), name


@SPECS
def test_schemas_have_no_null_no_reference_and_no_title(spec: AnySpec) -> None:
    for schema in (input_schema(spec), output_schema(spec)):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert '"null"' not in json.dumps(schema)
        for node in nodes(schema):
            assert not {"$ref", "$defs", "title", "anyOf"} & node.keys()
            assert node.get("default", "") is not None


@SPECS
def test_money_is_a_decimal_string(spec: AnySpec) -> None:
    for name in ("amount", "cost"):
        if (field := input_schema(spec).get("properties", {}).get(name)) is not None:
            assert field["type"] == "string"
            assert field["pattern"] == r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$"


@SPECS
def test_the_output_is_one_flat_object_of_which_only_the_status_is_required(spec: AnySpec) -> None:
    schema = output_schema(spec)
    assert schema["type"] == "object"
    assert schema["required"] == ["status"]
    assert {"denied", "invalid", "internal"} <= set(schema["properties"]["status"]["enum"])
    fields = schema["properties"]["error"]["properties"]
    assert set(fields) == {"code", "message", "retryable", "retry_at", "next_step", "violations"}


@SPECS
def test_what_moves_money_has_a_required_key(spec: AnySpec) -> None:
    moves = spec.name in ("charge", "subscribe", "refund")
    assert (spec.money is not None) == moves
    assert spec.money in (None, spec.name)
    if moves:
        assert "idempotency_key" in input_schema(spec)["required"]


def test_no_tool_takes_the_agents_identity() -> None:
    names = {name for spec in CATALOG.values() for name in input_schema(spec).get("properties", {})}
    assert not {"agent", "agent_id", "principal", "approver", "secret"} & names


@SPECS
def test_the_committed_schema_is_the_catalogs(spec: AnySpec) -> None:
    assert json.loads(snapshot.committed(spec.name)) == contract(spec), "run: python -m agentpay_tools.snapshot"


def test_no_other_file_is_among_the_committed_schemas() -> None:
    assert {path.name for path in (TREE / "tools" / "schemas").iterdir()} == set(snapshot.rendered())


def test_the_page_of_the_tools_is_the_catalogs() -> None:
    assert (TREE / "docs" / "tools.md").read_text("utf-8") == reference.page(), "run: python -m agentpay_tools.snapshot"


def test_the_snapshot_writes_what_is_missing_and_removes_what_is_not_a_tool(tmp_path: Path) -> None:
    folder = tmp_path / "tools" / "schemas"
    assert snapshot.main(tmp_path) == 2
    folder.mkdir(parents=True)
    (folder / "approve.json").write_text("{}", "utf-8")
    assert snapshot.main(tmp_path) == 0
    assert {path.name for path in folder.iterdir()} == set(snapshot.rendered())


def test_importing_the_tools_loads_neither_mcp_nor_a_provider() -> None:
    code = "import sys, agentpay_tools; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "agentpay_tools" in loaded
    assert not {"mcp", "mcp_types", "typer", "stripe", "web3", "alembic", "langchain_core"} & set(loaded)


def test_the_statuses_of_subscriptions_are_the_engines() -> None:
    assert get_args(SubscriptionStatus) == get_args(Status)
