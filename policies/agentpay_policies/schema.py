"""`policy.schema.json`, so that editors complete and check policy files: made from the description of the language.

    python -m agentpay_policies.schema > policies/policy.schema.json

It offers what this version enforces, and nothing that the loader would refuse by its name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from agentpay_policies.enforced import NOT_ENFORCED_BY_ENGINE
from agentpay_policies.language import SECTIONS, Field, Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def policy_schema(refused: frozenset[str] = NOT_ENFORCED_BY_ENGINE) -> Schema:
    """The JSON Schema of a policy file, without the parts of the language that are refused."""
    sections = {name: _section(fields, refused) for name, fields in SECTIONS.items()}
    return {
        "$schema": _DIALECT,
        "title": "AgentPay spending policy",
        "description": "What agents may spend. Whatever is not allowed here is denied.",
        **sections.pop("file"),
        "$defs": {name: section for name, section in sections.items() if section["properties"]},
    }


def schema_text(refused: frozenset[str] = NOT_ENFORCED_BY_ENGINE) -> str:
    """The schema as the file holds it."""
    return json.dumps(policy_schema(refused), indent=2, ensure_ascii=False) + "\n"


def _section(fields: Mapping[str, Field], refused: frozenset[str]) -> Schema:
    required = [name for name, field in fields.items() if field.required]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": {name: shape for name, field in fields.items() if (shape := _shape(field, refused))},
    }


def _shape(field: Field, refused: frozenset[str]) -> Schema:
    """The schema of a field; of one that is not enforced only the value that changes nothing; empty where none does."""
    if field.later not in refused:
        return {"description": field.says, **_pruned(field.schema, refused)}
    if not field.neutral:
        return {}
    neutral = False if field.neutral == "false" else field.neutral
    return {"description": f"{field.says} Not enforced yet.", "const": neutral}


def _pruned(node: Any, refused: frozenset[str]) -> Any:
    """The schema without the words that are refused, and without our own marks."""
    if isinstance(node, list):
        return [_pruned(item, refused) for item in node]
    if not isinstance(node, dict):
        return node
    later = node.get("x-later-words", {})
    kept = {key: _pruned(value, refused) for key, value in node.items() if not key.startswith("x-")}
    if later:
        kept["enum"] = [word for word in kept["enum"] if later.get(word) not in refused]
    return kept


if __name__ == "__main__":
    sys.stdout.write(schema_text())
