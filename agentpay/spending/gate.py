"""The gate: between what an agent asks and the money stands one decision, made in the payment's own transaction.

A decision locks the agent and its budgets, reads the clock and the counters after that, evaluates the active policy,
and writes the decision, the hold and the counters. Nothing here writes payments or calls a provider.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from agentpay.ids import Ids
from agentpay.spending import active, approvals, counters, halts, holds
from agentpay.spending.models import Allowed, Ask, Denied, Verdict
from agentpay.spending.tables import DecisionRow, HoldRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import to_micros
from agentpay_policies.decisions import COUNT, Decision, Reading, Request, State, Sum
from agentpay_policies.evaluate import counted, evaluate, readings
from agentpay_policies.names import Operation
from agentpay_policies.policy import Policy

_NOT_FOR_THIS_AGENT: Final = frozenset({"HALTED", "NO_POLICY", "AGENT_UNKNOWN", "TOOL_NOT_ALLOWED"})


@dataclass(frozen=True)
class Gate:
    """Decides for agents. Operators do not pass here: what they do is audited, not limited."""

    ids: Ids

    def enter(self, tx: Tx, agent: str) -> timedelta:
        """Lock the policy, the agent and its budgets, before anything about the agent's payments is read.

        Returns the window of the duplicate guard, by the active policy.
        """
        counters.lock_policy(tx, to_change=False)
        policy = active.policy(tx)
        if policy is None:
            return timedelta(0)
        counters.lock_subjects(tx, policy.path(agent))
        return policy.duplicate_window

    def permit(self, tx: Tx, request: Request) -> Denied | None:
        """Decide about something that holds no money: a check, a read, usage. None where it is allowed."""
        counters.lock_policy(tx, to_change=False)
        policy = active.policy(tx)
        now = tx.now()
        decision = evaluate(request, policy, self._state(tx, policy, request, now, frozenset()), now)
        return Denied(decision.violations) if decision.outcome == "deny" else None

    def unlisted(self, tx: Tx, agent: str, tool: Operation) -> Denied | None:
        """The denial of a tool that the active policy does not list for an agent; None where it is listed."""
        policy = active.policy(tx)
        if policy is not None and tool in policy.tools_of(agent):
            return None
        now, request = tx.now(), Request(tool=tool, agent=agent, operation=tool)
        found = evaluate(request, policy, State(halts=halts.halts(tx)), now).violations
        return Denied(tuple(one for one in found if one.code in _NOT_FOR_THIS_AGENT))

    def authorize(self, tx: Tx, ask: Ask) -> Verdict:
        """Decide about money, and hold it. A refusal writes nothing.

        An approval that people gave for this very owner and digest is used up by the decision that allows it; its hold
        is replaced by a new one of now. Without one, where the policy wants people to approve, the ask is parked.
        """
        counters.lock_policy(tx, to_change=False)
        policy = active.policy(tx)
        path = policy.path(ask.agent) if policy is not None else ()
        counters.lock_subjects(tx, path)
        now = tx.now()
        given = approvals.given(tx, ask, now)
        with tx.conn.begin_nested() as savepoint:
            if given is not None:
                holds.void(tx, ask.owner_id, now)
            rules = _answered(policy, ask.agent, given)
            decision = self._decide(tx, policy, ask.request, now, rules)
            if (
                decision.outcome == "approve" and rules
            ):  # it is asked anew, and about everything: an approval is one row
                decision = self._decide(tx, policy, ask.request, now, frozenset())
            if decision.outcome == "deny":
                savepoint.rollback()
                return Denied(decision.violations)
            return self._granted(tx, policy, ask, decision, given, now)

    def _granted(
        self,
        tx: Tx,
        policy: Policy | None,
        ask: Ask,
        decision: Decision,
        given: approvals.Given | None,
        now: datetime,
    ) -> Verdict:
        assert policy is not None, "nothing is granted without a policy"
        if given is not None:
            approvals.use(tx, given, ask, now, up=decision.outcome == "allow")
        parked = approvals.park(tx, ask, decision, policy.hash, now, self.ids) if decision.needs else None
        self._hold(tx, policy, ask, decision, "approval" if parked else "attempt", now)
        return parked or Allowed()

    def _decide(
        self, tx: Tx, policy: Policy | None, request: Request, now: datetime, rules: frozenset[str]
    ) -> Decision:
        """The decision; a denial with its figures, which cost more to read."""
        state = self._state(tx, policy, request, now, rules)
        decision = evaluate(request, policy, state, now)
        if decision.outcome != "deny":
            return decision
        explained = {
            reading: counters.detailed(tx, reading, holds.held_sum(tx, reading), now) for reading in state.sums
        }
        again = evaluate(request, policy, replace(state, sums=explained), now)
        return again if again.outcome == "deny" else decision

    def _state(self, tx: Tx, policy: Policy | None, request: Request, now: datetime, rules: frozenset[str]) -> State:
        sums: dict[Reading, Sum] = {r: Sum(total=counters.total(tx, r)) for r in readings(policy, request, now)}
        pending = approvals.pending_of(tx, request.agent) if request.money is not None else 0
        return State(sums=sums, halts=halts.halts(tx), pending_approvals=pending, approved_rules=rules)

    def _hold(self, tx: Tx, policy: Policy, ask: Ask, decision: Decision, kind: str, now: datetime) -> None:
        """Write down the decision with every cap that it was held against, take the hold, and count it."""
        money = ask.request.money
        assert money is not None, "only money is held"
        decision_id = self.ids.new("dec")
        checks = [
            {
                "rule": check.pointer,
                "subject": holds.opaque(tx, check.subject),
                "unit": check.unit,
                "cap": str(check.cap),
                "total": str(check.total),
                "attempted": str(check.attempted),
                "from": None if check.window_start is None else str(to_micros(check.window_start)),
            }
            for check in decision.checks
        ]
        tx.insert(
            DecisionRow,
            id=decision_id,
            owner_id=ask.owner_id,
            agent=ask.agent,
            operation=ask.operation,
            outcome=decision.outcome,
            policy_hash=policy.hash,
            checks=json.dumps(checks),
            decided_at=now,
        )
        tx.insert(
            HoldRow,
            id=self.ids.new("hld"),
            owner_id=ask.owner_id,
            decision_id=decision_id,
            agent=ask.agent,
            path="\n".join(decision.path),
            operation=ask.operation,
            direction=ask.request.direction,
            customer_id=ask.customer_id,
            payee=str(ask.request.payee),
            provider=ask.provider,
            currency=money.currency,
            amount_minor=money.minor,
            kind=kind,
            state="held",
            held_at=now,
        )
        values = {key: 1 if key.unit == COUNT else money.minor for key in counted(policy, ask.request)}
        counters.add(tx, values, now)

    def still_allows(self, tx: Tx, ask: Ask) -> bool:
        """Whether what is held for an ask may still be spent: decided anew, now, without its own hold.

        An approval that it used up answers for its rules until that approval's time runs out. Nothing is written.
        """
        counters.lock_policy(tx, to_change=False)
        policy = active.policy(tx)
        counters.lock_subjects(tx, policy.path(ask.agent) if policy is not None else ())
        if not holds.is_held(tx, ask.owner_id):
            return False
        now = tx.now()
        rules = _answered(policy, ask.agent, approvals.used(tx, ask, now))
        with tx.conn.begin_nested() as savepoint:
            holds.void(tx, ask.owner_id, now)
            decision = evaluate(ask.request, policy, self._state(tx, policy, ask.request, now, rules), now)
            savepoint.rollback()
        return decision.outcome == "allow"

    def all_halted(self, tx: Tx) -> bool:
        """Whether everybody is halted: nothing is sent then but what a person asks for."""
        return any(halt.scope == halts.EVERYBODY for halt in halts.halts(tx))

    def has_approval(self, tx: Tx, owner_id: str) -> bool:
        """Whether people approved what a payment or refund waits for, and it was not used yet."""
        row = approvals.latest(tx, owner_id)
        return row is not None and row.status == "approved" and row.expires_at > tx.now()

    def recapture(self, tx: Tx, owner_id: str, now: datetime) -> None:
        """A success that came after the hold was let go: it counts again, even above a cap."""
        counters.lock_policy(tx, to_change=False)
        holds.recapture(tx, owner_id, now)


def _answered(policy: Policy | None, agent: str, given: approvals.Given | None) -> frozenset[str]:
    """The rules of the active policy that an approval answers: asked by them, and by enough of whom they ask now."""
    entry = policy.agent(agent) if policy is not None else None
    if policy is None or entry is None or given is None:
        return frozenset()
    return frozenset(
        rule.id
        for rule in entry.approvals
        if rule.id in given.rules
        and len(given.approving.intersection(policy.group(rule.approvers).members)) >= rule.quorum
    )
