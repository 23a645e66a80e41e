"""The closed registry of reasons for which the policy, or a person it asked, says no.

Every `Violation` has one of these codes; the documentation is made from this table, and each code has a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from agentpay_policies.decisions import Finding, OperatorViolation, Violation


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
        "AGENT_NOT_YET_ACTIVE",
        "The agent may not act before a moment that the policy names.",
        "Wait until `retry_at`.",
    ),
    ViolationCode("AGENT_EXPIRED", "The time is over until which the agent might act.", _ASK),
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
    ViolationCode("CATEGORY_NOT_ALLOWED", "The agent may not pay payees of this kind.", _ASK),
    ViolationCode(
        "OUTSIDE_HOURS",
        "The agent may not change anything at this time.",
        "Wait until `retry_at`.",
    ),
    ViolationCode("DIRECTION_NOT_ALLOWED", "The agent may not move money in this direction.", _ASK),
    ViolationCode("PLAN_NOT_ALLOWED", "The agent may not subscribe customers to this plan.", _ASK),
    ViolationCode(
        "PERIOD_NOT_ALLOWED",
        "The plan is billed in periods that the agent may not subscribe customers to.",
        "Choose a plan with another billing period; list_plans shows each.",
    ),
    ViolationCode("TERM_TOO_LONG", "The plan commits the customer for longer than the policy allows.", _ASK),
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
        "DUPLICATE_SUSPECTED",
        "The charge looks like an earlier one.",
        "If it is really another one, name the earlier payment in distinct_from; otherwise do not pay again.",
    ),
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


_SHARED: Final = frozenset({"limit", "used", "held", "remaining"})
"""The figures of a shared budget, which no agent sees."""


def finding(
    code: str,
    message: str = "",
    *,
    full_message: str = "",
    shared: bool = False,
    subject: str = "",
    asked: str = "",
    allowed: tuple[str, ...] = (),
    **details: object,
) -> Finding:
    """A violation in its two views; the figures of what is `shared`, and `full_message`, are the operator's only."""
    own = {name: value for name, value in details.items() if not (shared and name in _SHARED)}
    agent = violation(code, message, **own)
    said = full_message or agent.message
    operator = OperatorViolation(code, said, subject=subject, asked=asked, allowed=allowed)
    return Finding(agent, replace(operator, **details))  # type: ignore[arg-type]
