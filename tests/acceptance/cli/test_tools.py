"""`agentpay tools export`: the same tools that MCP clients and LangChain agents see."""

from __future__ import annotations

import json

import jsonschema
import pytest

from acceptance.cli.conftest import Cli
from agentpay_policies.names import TOOL_NAMES
from agentpay_tools import CATALOG
from agentpay_tools.snapshot import committed


def test_the_whole_contract_is_what_is_committed(cli: Cli) -> None:
    made = cli("tools", "export").data
    assert made == [json.loads(committed(name)) for name in TOOL_NAMES]


def test_openai_takes_functions(cli: Cli) -> None:
    for tool in cli("tools", "export", "--format", "openai").data:
        assert set(tool) == {"type", "function"}
        assert tool["type"] == "function"
        assert set(tool["function"]) == {"name", "description", "parameters"}
        assert tool["function"]["parameters"]["additionalProperties"] is False
        jsonschema.Draft202012Validator.check_schema(tool["function"]["parameters"])


def test_anthropic_takes_input_schemas(cli: Cli) -> None:
    tools = cli("tools", "export", "--format", "anthropic").data
    assert [tool["name"] for tool in tools] == list(TOOL_NAMES)
    assert {frozenset(tool) for tool in tools} == {frozenset({"name", "description", "input_schema"})}
    assert [tool["description"] for tool in tools] == [spec.description for spec in CATALOG.values()]


def test_some_of_them_in_the_catalogs_order(cli: Cli) -> None:
    made = cli("tools", "export", "get_budget", "charge", "--format", "anthropic").data
    assert [tool["name"] for tool in made] == ["charge", "get_budget"]


@pytest.mark.parametrize("call", [["approve"], ["--format", "xml"], ["charge", "x\u202ey"]], ids=str)
def test_what_there_is_not_is_a_wrong_call(cli: Cli, call: list[str]) -> None:
    said = cli("tools", "export", *call, code=2)
    assert "INVALID_ARGUMENT" in said.err
    assert "\u202e" not in said.err
