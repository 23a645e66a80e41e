"""What an agent may use and what is left of it, by the same counters that decide."""

from __future__ import annotations

from agentpay.spending import active, counters, enrolments, halts, holds
from agentpay.storage.transaction import Tx
from agentpay_policies.budget import BudgetView, budget_readings, budget_view


def budget(tx: Tx, agent: str, *, currency: str | None, customer_ref: str | None) -> BudgetView:
    """The agent's budget as it stands now."""
    policy, now = active.policy(tx), tx.now()
    sums = {
        reading: counters.detailed(tx, reading, holds.held_sum(tx, reading), now)
        for reading in budget_readings(policy, agent, now, customer_ref)
    }
    known = enrolments.enrolled(tx, agent)
    return budget_view(policy, agent, sums, halts.halts(tx), now, customer_ref, currency, enrolled=known)
