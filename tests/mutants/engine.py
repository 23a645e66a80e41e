"""Mutants of the engine: the gate, holds, counters and approvals over a real database."""

from __future__ import annotations

from typing import Final

from mutants import Mutant

_S: Final = "agentpay/spending"
_T: Final = "tests/integration/spending"

MUTANTS: Final = (
    Mutant(
        "check-then-act: nothing is locked while a decision is made",
        f"{_S}/counters.py",
        '    if tx.dialect == "sqlite":\n        return\n',
        "    return\n",
        f"{_T}/test_machine.py::test_ten_processes_together_never_pass_a_cap[postgresql]",
    ),
    Mutant(
        "no consume-once: an approval that was used may be used again",
        f"{_S}/approvals.py",
        'close(tx, given.id, "consumed" if up else "expired", now)',
        'close(tx, given.id, "approved" if up else "expired", now)',
        f"{_T}/test_approvals.py::test_approved_it_runs_once_by_the_same_call[sqlite]",
    ),
    Mutant(
        "an approval is good for another amount",
        f"{_S}/approvals.py",
        '_A.status == "approved").order_by(_A.number.desc())\n    )\n'
        "    if row is None or row.expires_at <= now or row.digest != ask.digest:",
        '_A.status == "approved").order_by(_A.number.desc())\n    )\n    if row is None or row.expires_at <= now:',
        f"{_T}/test_approvals.py::test_an_approval_is_for_the_very_effect_that_people_saw[sqlite]",
    ),
    Mutant(
        "holds ignored: what is not captured counts in nothing",
        f"{_S}/holds.py",
        "counters.add(tx, {key: value(row, key.unit) for key in active.keys(tx, row)}, hold.held_at)",
        "counters.add(tx, {key: 0 for key in active.keys(tx, row)}, hold.held_at)",
        f"{_T}/test_approvals.py::test_above_the_amount_it_is_parked_and_holds_its_money[sqlite]",
    ),
    Mutant(
        "only captured counted, when counters are made anew",
        f"{_S}/holds.py",
        'live = _H.state.in_(("held", "captured"))',
        'live = _H.state.in_(("captured",))',
        f"{_T}/test_policy_changes.py::test_what_was_spent_before_counts_under_the_new_policy[sqlite]",
    ),
    Mutant(
        "own hold counted when an approval is used",
        f"{_S}/gate.py",
        "            if given is not None:\n                holds.void(tx, ask.owner_id, now)\n",
        "            if given is not None:\n                pass\n",
        f"{_T}/test_approvals.py::test_what_it_held_itself_is_not_counted_against_it[sqlite]",
    ),
    Mutant(
        "release booked at release time",
        f"{_S}/holds.py",
        "unit, amount, hold.held_at)",
        "unit, amount, tx.now())",
        f"{_T}/test_limits.py::test_what_is_declined_is_free_again_in_its_own_bucket[sqlite]",
    ),
    Mutant(
        "a refund restores although the policy does not say so",
        f"{_S}/holds.py",
        "if charge_id is not None and refund.restores else None",
        "if charge_id is not None else None",
        f"{_T}/test_fields.py::test_a_refund_gives_budget_back_only_where_the_policy_says_so[sqlite-False]",
    ),
    Mutant(
        "a subscription is held for its first period only",
        f"{_S}/granting.py",
        "weight_minor=weight(policy.agent(ask.agent), ask.request),",
        "weight_minor=money.minor,",
        f"{_T}/test_fields.py::test_a_subscription_counts_what_it_commits_to_unless_the_policy_says_paid[sqlite-committed-1-1.00]",
    ),
    Mutant(
        "agent id from an argument",
        "agentpay/manager/agent.py",
        "                self._principal,\n                customer,\n                amount,",
        "                agent(customer),\n                customer,\n                amount,",
        f"{_T}/test_limits.py::test_a_cap_is_exact_to_the_cent[sqlite-0.29]",
    ),
    Mutant(
        "a denial keeps no record for people",
        "agentpay/payments/refusing.py",
        "requests.keep(tx, request, denied.decision, denied.policy_hash, now, owner_id=owner_id)",
        "return",
        f"{_T}/test_fields.py::test_what_was_denied_is_kept_for_people_with_every_reason[sqlite]",
    ),
    Mutant(
        "usage that is refused is counted",
        "agentpay/usage/recording.py",
        "                savepoint.rollback()\n                return refused\n",
        "                return refused\n",
        f"{_T}/test_fields.py::test_what_is_recorded_counts_in_its_limits[sqlite]",
    ),
)
