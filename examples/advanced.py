"""Let two agents spend from one budget: limits, an approval, the duplicate guard, a halt, and the doctor.

    python examples/advanced.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from agentpay import AgentHandle, DuplicateSuspected, PaymentManager, PolicyDenied

POLICY = """
version: 1
id: two-agents
budgets:
  team: {limits: [{id: day, amount: "100.00 USD", window: {rolling: 24h}}]}
agents:
  writer: &agent
    budget: team
    tools: [charge, refund]
    providers: {allow: [mock]}
    currencies: {allow: [USD]}
    customers: {allow: ["*"]}
    payees: {allow: [self]}
    charge: {per_transaction: {max: "80.00 USD"}}
    refund: {allow: own_charges}
    approvals:
      - {id: big, when: {amount_over: "50.00 USD"}, approvers: finance, quorum: 1, expires: 30m}
approvers:
  finance: {members: [olga]}
"""
SECRET = "only olga knows this"  # noqa: S105 - of an example


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    policy = folder / "policy.yaml"
    policy.write_text(two_agents(POLICY), "utf-8")
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock", policy=policy) as manager:
        manager.enrol_approver("olga", SECRET)
        writer, researcher = manager.for_agent("writer"), manager.for_agent("researcher")
        share_a_budget(writer, researcher)


def two_agents(text: str) -> str:
    return text


def share_a_budget(writer: AgentHandle, researcher: AgentHandle) -> None:
    pass
