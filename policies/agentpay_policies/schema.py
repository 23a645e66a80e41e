"""`policy.schema.json`, so that editors complete and check policy files: made from the description of the language.

python -m agentpay_policies.schema > policies/policy.schema.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

from agentpay_policies.language import SECTIONS, Field, Schema

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def policy_schema() -> Schema:
    """The JSON Schema of a policy file."""
    sections = {name: _section(fields) for name, fields in SECTIONS.items()}
    return {
        "$schema": _DIALECT,
        "title": "AgentPay spending policy",
        "description": "What agents may spend. Whatever is not allowed here is denied.",
        **sections.pop("file"),
        "$defs": sections,
    }


def schema_text() -> str:
    """The schema as the file holds it."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


def _section(fields: Mapping[str, Field]) -> Schema:
    required = [name for name, field in fields.items() if field.required]
    return {
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": {name: {"description": field.says, **field.schema} for name, field in fields.items()},
    }


if __name__ == "__main__":
    sys.stdout.write(schema_text())
