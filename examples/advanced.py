"""Let two agents spend from one budget: limits, an approval, the duplicate guard, a halt, and the doctor.

    python examples/advanced.py [FOLDER]

It works on a database in FOLDER, or on one in a temporary folder that is removed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from agentpay import AgentHandle, DuplicateSuspected, PaymentManager, PolicyDenied

AGENT = {
    "budget": "team",
    "tools": ["charge", "refund"],
    "providers": {"allow": ["mock"]},
    "currencies": {"allow": ["USD"]},
    "customers": {"allow": ["*"]},
    "payees": {"allow": ["self"]},
    "charge": {"per_transaction": {"max": "80.00 USD"}},
    "refund": {"allow": "own_charges"},
    "approvals": [
        {"id": "big", "when": {"amount_over": "50.00 USD"}, "approvers": "finance", "quorum": 1, "expires": "30m"}
    ],
}
POLICY = {
    "version": 1,
    "id": "two-agents",
    "budgets": {"team": {"limits": [{"id": "day", "amount": "100.00 USD", "window": {"rolling": "24h"}}]}},
    "agents": {"writer": AGENT, "researcher": AGENT},
    "approvers": {"finance": {"members": ["olga"]}},
}
SECRET = "only olga knows this"  # noqa: S105 - that of an example


def main(folder: Path) -> None:
    """Run the example on `folder/agentpay.db`."""
    with PaymentManager(f"sqlite:///{folder / 'agentpay.db'}", provider="mock", policy=POLICY) as manager:
        manager.enrol_approver("olga", SECRET)
        writer, researcher = manager.for_agent("writer"), manager.for_agent("researcher")
        approval(manager, writer)
        shared_budget(writer, researcher)
        duplicate(researcher)
        halt(manager, writer)
        print(f"In order: doctor {manager.doctor().ok}, audit {manager.verify_audit().ok}")


def approval(manager: PaymentManager, writer: AgentHandle) -> None:
    """What is over 50 USD waits for a person. The agent repeats its call when they have decided."""
    parked = writer.charge("acme", "60.00", "USD", description="White paper", idempotency_key="paper")
    print(f"60.00 USD by writer: {parked.status}")
    for asked in manager.list_approvals():
        print(f"  olga approves: {asked.operation} of {asked.amount} {asked.currency} from {asked.customer}")
        manager.approve(asked.id, approver="olga", secret=SECRET)
    paid = writer.charge("acme", "60.00", "USD", description="White paper", idempotency_key="paper")
    print(f"The same call again: {paid.status}")


def shared_budget(writer: AgentHandle, researcher: AgentHandle) -> None:
    """The team may spend 100 USD a day. 60 are gone, so 45 are too much, whoever asks."""
    try:
        researcher.charge("acme", "45.00", "USD", description="Survey", idempotency_key="survey")
    except PolicyDenied as denied:
        print(f"45.00 USD by researcher: {', '.join(violation.code for violation in denied.violations)}")
    for agent in (writer, researcher):
        (most,) = agent.get_budget().can_spend_now
        print(f"  {agent.agent} can spend {most.amount} now")


def duplicate(researcher: AgentHandle) -> None:
    """Another key for what looks like the same payment is stopped, unless the agent names the first one."""
    first = researcher.charge("acme", "10.00", "USD", description="Data set", idempotency_key="data-1")
    try:
        researcher.charge("acme", "10.00", "USD", description="Data set", idempotency_key="data-2")
    except DuplicateSuspected as suspected:
        print(f"A second 10.00 USD: {suspected.code}, it looks like the first: {suspected.look_alike == first.id}")
    second = researcher.charge(
        "acme", "10.00", "USD", description="Data set", idempotency_key="data-2", distinct_from=first.id
    )
    print(f"Meant as a second one: {second.status}")


def halt(manager: PaymentManager, writer: AgentHandle) -> None:
    """The operator stops an agent; from then on every decision is a denial."""
    manager.halt("writer", reason="Look into the white paper first")
    try:
        writer.charge("acme", "1.00", "USD", description="Comma", idempotency_key="comma")
    except PolicyDenied as denied:
        print(f"1.00 USD by writer: {denied.violations[0].code}")
    manager.resume("writer")
    print(f"Resumed: {writer.charge('acme', '1.00', 'USD', description='Comma', idempotency_key='comma').status}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
