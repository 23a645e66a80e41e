"""The gate: between what an agent asks and the money stands one decision, made in the payment's own transaction.

A decision locks the agent and its budgets, reads the clock and the counters after that, evaluates the active policy,
and writes the decision, the hold and the counters. Nothing here writes payments or calls a provider.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agentpay.ids import Ids
from agentpay.spending import active, approvals, counters, enrolments, granting, halts, holds
from agentpay.spending.models import Allowed, Ask, Denied, Rules, Verdict
from agentpay.storage.transaction import Tx
from agentpay_policies.decisions import Decision, Reading, Request, State, Sum
from agentpay_policies.evaluate import evaluate, readings
from agentpay_policies.names import Operation
from agentpay_policies.policy import Policy

_NOT_FOR_THIS_AGENT: Final = frozenset({"HALTED", "NO_POLICY", "AGENT_UNKNOWN", "TOOL_NOT_ALLOWED"})


@dataclass(frozen=True)
class Gate:
    """Decides for agents. Operators do not pass here: what they do is audited, not limited."""

    ids: Ids

    def enter(self, tx: Tx, agent: str) -> Rules:
        """Lock the policy, the agent and its budgets, before anything about the agent's payments is read.

        Returns what the active policy says of an agent's charges beside the decision itself.
        """
        policy = _locked(tx, agent)
        if policy is None:
            return Rules()
        entry = policy.agent(agent)
        return Rules(
            duplicate_window=policy.duplicate_window,
            duplicates=entry.charge.duplicates if entry and entry.charge else "deny",
            memo=entry.memo if entry else None,
        )

    def permit(self, tx: Tx, request: Request) -> Denied | None:
        """Decide about something that holds nothing: a check, a read. None where it is allowed."""
        decision, policy = self._foreseen(tx, request, None)
        return None if decision.outcome != "deny" else Denied(request, decision, _hash(policy))

    def permit_of_some_size(self, tx: Tx, request: Request) -> Denied | None:
        """`permit` of the least amount, for an amount that is not known yet: that it is too small says nothing."""
        denied = self.permit(tx, request)
        if denied is None:
            return None
        kept = _only(denied.decision, lambda code: code != "BELOW_MINIMUM")
        return replace(denied, decision=kept) if kept.violations else None

    def permit_customer(self, tx: Tx, request: Request) -> Denied | None:
        """The denial where the agent may have nothing to do with the customer; None where only the rest is against."""
        denied = self.permit(tx, request)
        if denied is None:
            return None
        kept = _only(denied.decision, lambda code: code == "CUSTOMER_NOT_ALLOWED" or code in _NOT_FOR_THIS_AGENT)
        return replace(denied, decision=kept) if kept.violations else None

    def foresee(self, tx: Tx, request: Request, *, look_alike: str | None = None) -> Decision:
        """What would be decided now, with every figure. It holds nothing, and nobody is asked."""
        return self._foreseen(tx, request, look_alike)[0]

    def unlisted(self, tx: Tx, agent: str, tool: Operation) -> Denied | None:
        """The denial of a tool that the active policy does not list for an agent; None where it is listed."""
        policy = active.policy(tx)
        if policy is not None and tool in policy.tools_of(agent):
            return None
        request = Request(tool=tool, agent=agent, operation=tool)
        state = State(halts=halts.halts(tx), enrolled=enrolments.enrolled(tx, agent))
        decision = evaluate(request, policy, state, tx.now())
        return Denied(request, _only(decision, lambda code: code in _NOT_FOR_THIS_AGENT), _hash(policy))

    def authorize(self, tx: Tx, ask: Ask) -> Verdict:
        """Decide about money, and hold it. A refusal writes nothing.

        An approval that people gave for this very owner and digest is used up by the decision that allows it; its hold
        is replaced by a new one of now. Without one, where the policy wants people to approve, the ask is parked.
        """
        policy = _locked(tx, ask.agent)
        now = tx.now()
        earlier = approvals.latest(tx, ask.owner_id)
        given = None if earlier is None else approvals.given(tx, ask, now)
        with tx.conn.begin_nested() as savepoint:
            if given is not None:
                holds.void(tx, ask.owner_id, now)
            elif earlier is not None:  # left open, it would end later, and free what is held from now on
                approvals.supersede_open(tx, ask.owner_id, now)
            rules = _answered(policy, ask.agent, given)
            decision = self._decide(tx, policy, ask.request, now, rules, ask.look_alike)
            if decision.outcome == "approve" and rules:
                rules = frozenset()  # it is asked anew, and about everything: an approval is one row
                decision = self._decide(tx, policy, ask.request, now, rules, ask.look_alike)
            if decision.outcome == "deny" or policy is None:
                savepoint.rollback()
                return Denied(ask.request, decision, _hash(policy))
            if given is not None:
                approvals.use(tx, given, ask, now, up=decision.outcome == "allow")
            parked = approvals.park(tx, ask, decision, policy.hash, now, self.ids) if decision.needs else None
            approved = bool(parked or rules)
            granting.hold(tx, self.ids, policy, ask, decision, now, approved=approved, parked=parked is not None)
            return parked or Allowed()

    def spend(self, tx: Tx, request: Request, owner_id: str, customer_id: str) -> Denied | None:
        """Decide about recorded usage, and count it: it is spent at once. A refusal writes nothing."""
        policy = _locked(tx, request.agent)
        now = tx.now()
        asked = replace(request, customer_ref=customer_id)
        decision = self._decide(tx, policy, asked, now, frozenset(), None)
        if decision.outcome == "deny" or policy is None:
            return Denied(asked, decision, _hash(policy))
        granting.count_usage(tx, self.ids, policy, asked, owner_id, customer_id, decision, now)
        return None

    def _foreseen(self, tx: Tx, request: Request, look_alike: str | None) -> tuple[Decision, Policy | None]:
        counters.lock_policy(tx, to_change=False)
        policy = active.policy(tx)
        return self._decide(tx, policy, request, tx.now(), frozenset(), look_alike), policy

    def _decide(
        self,
        tx: Tx,
        policy: Policy | None,
        request: Request,
        now: datetime,
        rules: frozenset[str],
        look_alike: str | None,
    ) -> Decision:
        """The decision; a denial with its figures, which cost more to read."""
        state = replace(self._state(tx, policy, request, now, rules), look_alike=look_alike)
        decision = evaluate(request, policy, state, now)
        if decision.outcome != "deny" or not state.sums:
            return decision
        explained = {
            reading: counters.detailed(tx, reading, holds.held_sum(tx, reading), now) for reading in state.sums
        }
        again = evaluate(request, policy, replace(state, sums=explained), now)
        return again if again.outcome == "deny" else decision

    def _state(self, tx: Tx, policy: Policy | None, request: Request, now: datetime, rules: frozenset[str]) -> State:
        sums: dict[Reading, Sum] = {r: Sum(total=counters.total(tx, r)) for r in readings(policy, request, now)}
        pending = approvals.pending_of(tx, request.agent) if request.money is not None else 0
        return State(
            sums=sums,
            halts=halts.halts(tx),
            pending_approvals=pending,
            approved_rules=rules,
            enrolled=enrolments.enrolled(tx, request.agent),
        )

    def still_allows(self, tx: Tx, ask: Ask) -> bool:
        """Whether what is held for an ask may still be spent: decided anew, now, without its own hold.

        An approval that it used up answers for its rules until that approval's time runs out. Nothing is written.
        """
        policy = _locked(tx, ask.agent)
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

    def is_halted(self, tx: Tx, agent: str) -> bool:
        """Whether an agent is halted: alone, with its pattern, or with all."""
        policy = active.policy(tx)
        entry = policy.agent(agent) if policy is not None else None
        scopes = {halts.EVERYBODY, halts.scope_of(agent), *([entry.subject] if entry else [])}
        return any(halt.scope in scopes for halt in halts.halts(tx))

    def has_approval(self, tx: Tx, owner_id: str) -> bool:
        """Whether people approved what a payment or refund waits for, and it was not used yet."""
        row = approvals.latest(tx, owner_id)
        return row is not None and row.status == "approved" and row.expires_at > tx.now()


def _only(decision: Decision, wanted: Callable[[str], bool]) -> Decision:
    """A denial with the reasons of some codes only, in both views."""
    found = [number for number, one in enumerate(decision.violations) if wanted(one.code)]
    return replace(
        decision,
        violations=tuple(decision.violations[number] for number in found),
        for_operator=tuple(decision.for_operator[number] for number in found),
    )


def _locked(tx: Tx, agent: str) -> Policy | None:
    """The active policy, kept as it is, and the agent and its budgets locked: what is read of them after is current."""
    counters.lock_policy(tx, to_change=False)
    policy = active.policy(tx)
    counters.lock_subjects(tx, policy.path(agent) if policy is not None else ())
    return policy


def _hash(policy: Policy | None) -> str | None:
    return None if policy is None else policy.hash


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
