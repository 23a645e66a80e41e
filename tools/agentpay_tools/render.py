"""The catalog as JSON: schemas for MCP, LangChain and the files that are committed.

What pydantic writes is cleaned: no titles, no null defaults, no $ref, no descriptions of our Python classes. It is a
third smaller, and clients that know only simple schemas can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from agentpay_tools.spec import AnySpec, Hints

Json = dict[str, Any]


def schema(model: type[BaseModel]) -> Json:
    """A model's JSON Schema, cleaned. The caller owns it."""
    raw = model.model_json_schema()
    cleaned: Json = _clean(raw, raw.get("$defs", {}))
    return cleaned


def _clean(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_clean(each, definitions) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _clean(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    return {
        key: _properties(value, definitions) if key == "properties" else _clean(value, definitions)
        for key, value in node.items()
        if not _is_noise(key, value, node)
    }


def _properties(fields: Mapping[str, Any], definitions: Mapping[str, Any]) -> Json:
    # Names of fields, not keywords: a field may well be called `title` or `description`.
    return {name: _clean(field, definitions) for name, field in fields.items()}


def _is_noise(key: str, value: object, node: Mapping[str, Any]) -> bool:
    if key == "description":
        return node.get("type") == "object"  # the docstring of a class: written for us
    return key in ("title", "$defs") or (key == "default" and value is None)


def hints(given: Hints) -> dict[str, bool]:
    """The four hints under the names that MCP has for them on the wire."""
    return {
        "readOnlyHint": given.read_only,
        "destructiveHint": given.destructive,
        "idempotentHint": given.idempotent,
        "openWorldHint": given.open_world,
    }


@cache
def input_schema(spec: AnySpec) -> Json:
    """The schema of a tool's arguments; shared, so not to be changed."""
    return schema(spec.arguments)


@cache
def output_schema(spec: AnySpec) -> Json:
    """The schema of a tool's answer, refusals included; shared, so not to be changed."""
    return schema(spec.output)


def contract(spec: AnySpec) -> Json:
    """The whole agent-facing contract of a tool: what `tools/schemas/<tool>.json` holds."""
    return {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "annotations": hints(spec.hints),
        "inputSchema": input_schema(spec),
        "outputSchema": output_schema(spec),
    }
