"""The catalog for programs that take tools as JSON: OpenAI's and Anthropic's form, and the whole contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from agentpay.errors import ValidationError
from agentpay_policies.text import escaped
from agentpay_tools.catalog import CATALOG
from agentpay_tools.render import Json, contract, input_schema
from agentpay_tools.spec import AnySpec

Format = Literal["openai", "anthropic", "json-schema"]
FORMATS: tuple[Format, ...] = get_args(Format)


def exported(kind: Format, names: Iterable[str] = ()) -> list[Json]:
    """The tools named, or all, in the catalog's order.

    Raises:
        ValidationError: there is no such format, or no such tool.
    """
    if kind not in FORMATS:
        raise ValidationError(f"There is no format {escaped(kind)[:40]}.", next_step=f"Use {', '.join(FORMATS)}.")
    wanted = list(names)
    if unknown := [name for name in wanted if name not in CATALOG]:
        raise ValidationError(
            f"There is no tool {escaped(unknown[0])[:60]}.", next_step=f"The tools are: {', '.join(CATALOG)}."
        )
    return [_rendered(kind, spec) for spec in CATALOG.values() if not wanted or spec.name in wanted]


def _rendered(kind: Format, spec: AnySpec) -> Json:
    match kind:
        case "openai":
            function = {"name": spec.name, "description": spec.description, "parameters": input_schema(spec)}
            return {"type": "function", "function": function}
        case "anthropic":
            return {"name": spec.name, "description": spec.description, "input_schema": input_schema(spec)}
        case "json-schema":
            return contract(spec)
