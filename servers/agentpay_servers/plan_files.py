"""Plans from a file, under the rules of policy files: whatever YAML would guess has to be quoted.

plans:
  - {id: pro, name: Pro, payment_type: subscription, price: "10.00", billing_period: monthly, features: [reports]}
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentpay_policies.errors import ConfigurationError, PolicyError, ValidationError
from agentpay_policies.tree import Items, Node, Scalar, Table, parse_yaml

if TYPE_CHECKING:
    from agentpay.plans.models import PaymentPlan

SAMPLE: Final = """\
# Plans to begin with. Change them and run: agentpay plans create FILE
# A price is a decimal number in quotes. Who subscribed before a change keeps the version of then.

plans:

  # For everyone, subscribed or not: 20 api_calls a month.
  - id: free
    name: Free
    payment_type: freemium
    billing_period: monthly
    requests_per_period: 20
    group: free
    features: [api_calls]

  # 10 dollars a month: 1000 api_calls, and reports without a limit.
  - id: pro
    name: Pro
    payment_type: subscription
    price: "10.00"
    currency: USD
    billing_period: monthly
    features:
      - {name: api_calls, limit: 1000}
      - premium_api
      - reports

  # No fee; each api_call is billed afterwards.
  - id: payg
    name: Pay as you go
    payment_type: pay_per_use
    price_per_request: "0.002"
    currency: USD
    features: [api_calls]
"""


def read_plans(file: str) -> list[PaymentPlan]:
    """The plans of a file: one plan, or a list under `plans`.

    Raises:
        ConfigurationError: the file cannot be read.
        ValidationError: a plan is none; the message has the line.
    """
    path = Path(file).expanduser().absolute()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"There is no file {path}.", next_step="Give the path of a file with plans.") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The file {path} cannot be read: {type(exc).__name__}.") from None
    return parse_plans(text)


def parse_plans(text: str) -> list[PaymentPlan]:
    """The plans that a text holds.

    Raises:
        ValidationError: a plan is none; the message has the line.
    """
    try:
        root = parse_yaml(text)
    except PolicyError as error:
        fault = error.faults[0]
        raise ValidationError(f"line {fault.line}: {fault.message}", next_step=_NEXT) from None
    found = _fields(root)
    if "plans" not in found:
        return [_plan(root)]
    if not isinstance(found["plans"], Items) or len(found) > 1:
        raise _fault(root, "a file with `plans` holds a list of them, and nothing beside it")
    return [_plan(node) for node in found["plans"].items]


_NEXT: Final = "Correct the file; `agentpay plans show PLAN --json` shows what a plan holds."


def _plan(node: Node) -> PaymentPlan:
    from agentpay.plans.models import Feature, PaymentPlan

    fields = _known(node, PaymentPlan)
    features = fields.pop("features", None)
    if features is not None and not isinstance(features, Items):
        raise _fault(features, "features is a list")
    values: dict[str, Any] = {name: _value(child) for name, child in fields.items()}
    made = [] if features is None else [_feature(one, Feature) for one in features.items]
    plan: PaymentPlan = _made(node, lambda: PaymentPlan(**values, features=made))
    return plan


def _feature(node: Node, kind: Any) -> Any:
    if isinstance(node, Scalar):
        return _made(node, lambda: kind(_value(node)))
    fields = {name: _value(child) for name, child in _known(node, kind).items()}
    return _made(node, lambda: kind(**fields))


def _made(node: Node, make: Any) -> Any:
    try:
        return make()
    except ValidationError as error:
        raise _fault(node, error.message) from None
    except TypeError as error:  # an argument is missing
        raise _fault(node, str(error).partition(") ")[2] or "a field is missing") from None


def _known(node: Node, kind: Any) -> dict[str, Node]:
    """The fields of a mapping, each of which the kind has."""
    names = inspect.signature(kind).parameters.keys() - {"version"}
    fields = _fields(node)
    for name, child in fields.items():
        if name not in names:
            raise _fault(child, f"there is no field {name[:60]!a}; there are {', '.join(sorted(names))}")
    return fields


def _fields(node: Node) -> dict[str, Node]:
    if not isinstance(node, Table):
        raise _fault(node, "this is a mapping of fields")
    fields: dict[str, Node] = {}
    for key, child in node.entries:
        if key.shown in fields:
            raise _fault(child, f"{key.shown[:60]!a} is there twice")
        fields[key.shown] = child
    return fields


def _value(node: Node) -> str | int | None:
    if not isinstance(node, Scalar):
        raise _fault(node, "this is one value")
    if node.kind == "text":
        return node.shown
    if node.kind == "integer":
        return int(node.shown)
    if node.shown in ("", "~", "null"):
        return None
    raise _fault(node, f"put {node.shown[:60]!a} in quotes")


def _fault(node: Node, message: str) -> ValidationError:
    return ValidationError(f"line {node.line}: {message}", next_step=_NEXT)
