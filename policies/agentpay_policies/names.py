"""The closed sets of words that every floor shares. A test holds the tool catalog to `ToolName`."""

from __future__ import annotations

from typing import Literal, get_args

ToolName = Literal[
    "check_access",
    "charge",
    "subscribe",
    "record_usage",
    "refund",
    "cancel_subscription",
    "get_payment",
    "get_approval",
    "get_subscription",
    "list_payments",
    "list_plans",
    "get_budget",
]
Operation = Literal["charge", "subscribe", "record_usage", "refund"]
Direction = Literal["collect", "send"]

TOOL_NAMES: tuple[ToolName, ...] = get_args(ToolName)
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)

ALWAYS_ALLOWED: frozenset[ToolName] = frozenset({"get_payment", "get_approval", "get_budget"})
"""An agent may always read its own payments, approvals and budget, whatever its policy lists."""
