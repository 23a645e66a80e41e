"""The ground of AgentPay: money, payees, the root of the errors, and the spending policy (load, check, evaluate).

Everything here is pure: no database, no network, no clock. `agentpay_policies.evaluate` decides,
`agentpay_policies.budget` says what is left, `agentpay_policies.explain` says the rules in plain sentences,
`agentpay_policies.compare` what a new policy loosens, `agentpay_policies.backtest` what it would have said in the past,
`agentpay_policies.memo` renders the text for a payee, and `agentpay_policies.schema` makes the JSON Schema of files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentpay_policies.codes import VIOLATIONS, ViolationCode
from agentpay_policies.decisions import (
    ApprovalNeed,
    CounterKey,
    Decision,
    Halt,
    LimitCheck,
    Notice,
    OperatorViolation,
    Reading,
    Request,
    Shadowed,
    State,
    Sum,
    Violation,
)
from agentpay_policies.errors import (
    AgentPayError,
    ConfigurationError,
    CurrencyMismatch,
    CurrencyUnknown,
    Fault,
    MoneyError,
    PayeeInvalid,
    PolicyDenied,
    PolicyError,
    ValidationError,
)
from agentpay_policies.money import Money, Price
from agentpay_policies.names import Direction, Operation, ToolName
from agentpay_policies.payees import Payee
from agentpay_policies.policy import Policy

if TYPE_CHECKING:
    from agentpay_policies.files import ready_file
    from agentpay_policies.loader import load_mapping, load_policy

__all__ = [
    "VIOLATIONS",
    "AgentPayError",
    "ApprovalNeed",
    "ConfigurationError",
    "CounterKey",
    "CurrencyMismatch",
    "CurrencyUnknown",
    "Decision",
    "Direction",
    "Fault",
    "Halt",
    "LimitCheck",
    "Money",
    "MoneyError",
    "Notice",
    "Operation",
    "OperatorViolation",
    "Payee",
    "PayeeInvalid",
    "Policy",
    "PolicyDenied",
    "PolicyError",
    "Price",
    "Reading",
    "Request",
    "Shadowed",
    "State",
    "Sum",
    "ToolName",
    "ValidationError",
    "Violation",
    "ViolationCode",
    "load_mapping",
    "load_policy",
    "ready_file",
]


def __getattr__(name: str) -> object:
    # The loader is needed once a policy is read, not by every program that knows what money is.
    if name in ("load_mapping", "load_policy"):
        from agentpay_policies import loader

        return getattr(loader, name)
    if name == "ready_file":
        from agentpay_policies.files import ready_file

        return ready_file
    raise AttributeError(f"module 'agentpay_policies' has no attribute {name!r}")
