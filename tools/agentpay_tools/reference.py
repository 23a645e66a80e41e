"""docs/tools.md, made from the catalog and the registry of codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentpay_tools import outputs
from agentpay_tools.catalog import CATALOG
from agentpay_tools.codes import CODES
from agentpay_tools.render import hints, input_schema, output_schema, schema
from agentpay_tools.spec import AnySpec

_HEAD = """\
# The agent tools

<!-- Made from the catalog by `python -m agentpay_tools.snapshot`; a test fails where it is out of date. -->

These are all the verbs that an agent has, over MCP and wherever else the catalog is rendered. Behind each stands the
spending policy. No tool changes a policy, a limit, a key, a payee list or an approval, and none takes the agent's
identity: that comes from the server's configuration.

- **Arguments** are strict: money is a decimal string (`"12.50"`), an unknown argument is refused, and so is an id of
  more than 200 characters.
- **Answers** are one flat object a tool. `status` is the payment's or the subscription's where a tool moves money,
  `ok` for reads, checks and usage, or one of the refusals below. Times are ISO 8601 in UTC, amounts decimal strings.
- **Refusals** have `isError: true`, fit the same output schema, and fill `error`: `code`, `message`, `retryable`,
  `next_step`, and where known `retry_at` and `violations` (each with `code`, `message` and, where they are the
  agent's own, `limit`, `used`, `held`, `attempted`, `remaining`, `retry_at`).
- **"No money moved by this call."** ends a refusal only where that is proved. Otherwise the text says how the payment
  stands, and not to pay again.
- **`approval_required`** is no error and no payment: its text begins with NOT PAID YET. A person decides; then the
  same call with the same `idempotency_key` runs it, once.
- **A repeat** with the same `idempotency_key` and arguments answers how things stand now, with `replayed: true`.
"""

_PARTS: Mapping[str, type[outputs.Part]] = {
    "payments": outputs.PaymentItem,
    "plans": outputs.PlanItem,
    "can_spend_now": outputs.SpendableItem,
    "limits": outputs.LimitItem,
}


def page() -> str:
    """The whole page."""
    sections = [_HEAD, _overview(), *(_tool(spec) for spec in CATALOG.values()), _refusals()]
    return "\n".join(sections)


def _overview() -> str:
    rows = [f"| [{spec.name}](#{spec.name}) | {_yes_no(spec)} |" for spec in CATALOG.values()]
    return "\n".join(
        ["| tool | reads only | destructive | idempotent | open world |", "|---|---|---|---|---|", *rows, ""]
    )


def _yes_no(spec: AnySpec) -> str:
    return " | ".join("yes" if value else "no" for value in hints(spec.hints).values())


def _tool(spec: AnySpec) -> str:
    return "\n".join([f"## {spec.name}", "", spec.description, "", *_arguments(spec), "", *_answer(spec), ""])


def _arguments(spec: AnySpec) -> Iterator[str]:
    found = input_schema(spec)
    fields: Mapping[str, Any] = found.get("properties", {})
    if not fields:
        yield "It takes no arguments."
        return
    yield "| argument | type | default | |"
    yield "|---|---|---|---|"
    for name, field in fields.items():
        needed = "required" if name in found.get("required", ()) else _default(field)
        yield f"| `{name}` | {_type(field)} | {needed} | {_cell(field.get('description', ''))} |"


def _answer(spec: AnySpec) -> Iterator[str]:
    fields: Mapping[str, Any] = output_schema(spec)["properties"]
    statuses = ", ".join(f"`{status}`" for status in fields["status"]["enum"])
    yield f"`status`: {statuses}."
    yield ""
    yield "Answer: " + ", ".join(f"`{name}`" for name in fields if name not in ("status", "error")) + ", `error`."
    for name in fields:
        if (part := _PARTS.get(name)) is not None:
            inner = ", ".join(f"`{each}`" for each in schema(part)["properties"])
            yield ""
            yield f"Each of `{name}`: {inner}."


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    bounds = f", {field['minimum']} to {field['maximum']}" if "maximum" in field else ""
    return ("decimal string" if "pattern" in field else str(field["type"])) + bounds


def _default(field: Mapping[str, Any]) -> str:
    if "default" not in field:
        return ""
    value = field["default"]
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _refusals() -> str:
    by_status: dict[str, list[str]] = {}
    for code in CODES.values():
        by_status.setdefault(code.status, []).append(f"`{code.code}`")
    rows = [f"| `{status}` | {', '.join(found)} |" for status, found in by_status.items()]
    note = (
        "A tool that reads, counts or cancels has fewer statuses: what it cannot have is answered as `internal`, with "
        "its own code."
    )
    return "\n".join(["## Refusals", "", "| status | codes |", "|---|---|", *rows, "", note, ""])
