"""The closed registry of reasons for which the policy, or a person it asked, says no.

Every `Violation` has one of these codes; the documentation is made from this table, and each code has a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from agentpay_policies.decisions import Violation


@dataclass(frozen=True)
class ViolationCode:
    """A code, what it means, and what an agent can do about it."""

    code: str
    meaning: str
    next_step: str


_ASK: Final = "Do not repeat this call; tell the person you work for, who can ask the operator."

_ALL: Final = (
    ViolationCode(
        "HALTED",
        "The operator has stopped this agent, or all agents.",
        "Stop spending. Only the operator can resume.",
    ),
    ViolationCode(
        "NO_POLICY",
        "No spending policy is active, so nothing may be spent.",
        "The operator writes one with `agentpay init`, or makes one active with `agentpay policy apply FILE`.",
    ),
    ViolationCode("AGENT_UNKNOWN", "The policy has no entry for this agent.", _ASK),
    ViolationCode(
        "TOOL_NOT_ALLOWED", "The policy does not list this tool for the agent.", "Use another of your tools."
    ),
    ViolationCode(
        "OPERATION_NOT_ALLOWED", "The policy has no section for this operation, so nothing is allowed.", _ASK
    ),
    ViolationCode(
        "PROVIDER_NOT_ALLOWED",
        "The agent may not use this payment provider.",
        "Leave the provider out, or use one that get_budget lists.",
    ),
    ViolationCode(
        "CURRENCY_NOT_ALLOWED",
        "The agent may not use this currency.",
        "Use a currency that get_budget lists.",
    ),
    ViolationCode("CUSTOMER_NOT_ALLOWED", "The agent may not act for this customer.", _ASK),
    ViolationCode("PAYEE_NOT_ALLOWED", "The agent may not pay this payee.", _ASK),
    ViolationCode("DIRECTION_NOT_ALLOWED", "The agent may not move money in this direction.", _ASK),
    ViolationCode("PLAN_NOT_ALLOWED", "The agent may not subscribe customers to this plan.", _ASK),
    ViolationCode("NOT_OWN_PAYMENT", "The agent may refund only what it charged itself.", _ASK),
    ViolationCode(
        "BELOW_MINIMUM",
        "The amount is below the least that one payment may be.",
        "Charge at least the amount that `limit` names, if that is what is owed.",
    ),
    ViolationCode(
        "ABOVE_MAXIMUM",
        "The amount is above the most that one payment may be.",
        "Ask for no more than `limit` names. Do not split one payment into several.",
    ),
    ViolationCode(
        "LIMIT_EXCEEDED",
        "The amount is more than what is left of a limit.",
        "Ask for no more than `remaining` names, or wait until `retry_at`.",
    ),
    ViolationCode(
        "COUNT_EXCEEDED",
        "There were already as many operations as the limit allows.",
        "Wait until `retry_at`.",
    ),
    ViolationCode(
        "BUDGET_EXHAUSTED",
        "A budget that is shared with others has too little left.",
        "Wait until `retry_at`, or ask for less.",
    ),
    ViolationCode(
        "QUANTITY_TOO_LARGE",
        "More is recorded at once than the policy allows.",
        "Record no more at once than `limit` names.",
    ),
    ViolationCode("COST_TOO_HIGH", "The cost of what is recorded is above what the policy allows.", _ASK),
    ViolationCode(
        "APPROVALS_PENDING",
        "As many requests of this agent wait for approval as may wait at once.",
        "Wait until people have decided on them; get_approval shows each.",
    ),
    ViolationCode(
        "EVALUATION_FAILED",
        "The policy could not be evaluated, and what cannot be evaluated is denied.",
        "Try again once; if it is denied again, tell the operator.",
    ),
    ViolationCode("APPROVAL_DENIED", "A person said no to this payment.", "Do not ask for the same payment again."),
    ViolationCode(
        "APPROVAL_EXPIRED",
        "Nobody approved this payment in time.",
        "Ask again, under a new idempotency_key, if the payment is still wanted.",
    ),
    ViolationCode(
        "APPROVAL_STALE",
        "What was approved is no longer what would be done, so the approval is void.",
        "Ask again, under a new idempotency_key, if the payment is still wanted.",
    ),
)

VIOLATIONS: Final[Mapping[str, ViolationCode]] = MappingProxyType({entry.code: entry for entry in _ALL})
"""Every code there is."""


def violation(code: str, message: str = "", **details: object) -> Violation:
    """A violation of a registered code, with the registry's next step; `details` are further fields of `Violation`."""
    entry = VIOLATIONS[code]
    made = Violation(code, message or entry.meaning, next_step=entry.next_step)
    return replace(made, **details)  # type: ignore[arg-type]
