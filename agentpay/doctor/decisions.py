"""Invariant 2, of decisions: each that took a hold kept every cap, by what it says and by the holds themselves.

The second is computed without the counters and without the rules that keep them: from the holds, from the policy that
the decision names, and from which holds were taken before it. A hold that was let go since is left out, so the sum is
never more than what it was then; so is one whose payment succeeded late, which is flagged and may exceed a cap.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Final

import sqlalchemy as sa

from agentpay.doctor.model import Check
from agentpay.doctor.sums import WindowSums
from agentpay.payments.tables import PaymentRow, RefundRow
from agentpay.spending.holds import opaque, value
from agentpay.spending.tables import DecisionRow, HoldRow, PolicyRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import from_micros, table
from agentpay_policies.decisions import COUNT, NANO
from agentpay_policies.errors import PolicyError
from agentpay_policies.limits import BUDGETED, NO_CATEGORY, cap_nanos
from agentpay_policies.payees import Payee
from agentpay_policies.policy import AgentEntry, Limit, Policy, cap_in

_DECISIONS = table(DecisionRow)
_HOLDS = table(HoldRow)
_POLICIES = table(PolicyRow)
_PAYMENTS = table(PaymentRow)
_REFUNDS = table(RefundRow)
_D, _H = _DECISIONS.c, _HOLDS.c

_LIVE: Final = ("held", "captured")


@dataclass(frozen=True)
class Kept:
    """One cap as a decision stored it, with what the decision's hold says of the request."""

    decision: str
    hold_seq: int
    operation: str
    direction: str
    rule: str
    subject: str
    unit: str
    cap: int
    total: int
    attempted: int
    start: datetime | None

    @property
    def place(self) -> tuple[str, str, str, str, str]:
        """What must be equal for two of them to be sums over the same holds."""
        return self.rule, self.subject, self.unit, self.operation, self.direction


def _unreadable(tx: Tx) -> list[str]:
    return [f"decision {row.id}: its checks cannot be read" for row in _decided(tx) if _kept(row) is None]


def _exceeded(tx: Tx) -> list[str]:
    return [
        f"decision {one.decision}: {one.total} + {one.attempted} is more than {one.cap} {one.unit} of {one.rule}"
        for row in _decided(tx)
        for one in _kept(row) or ()
        if one.total + one.attempted > one.cap
    ]


def _without_hold(tx: Tx) -> list[str]:
    """Decisions and holds that do not stand for each other, one for one."""
    columns = (_D.id, _D.owner_id, _H.id.label("hold"), _H.owner_id.label("held_for"))
    query = sa.select(*columns).select_from(_DECISIONS.join(_HOLDS, _H.decision_id == _D.id, full=True))
    rows = tx.all(query.where(sa.or_(_D.id.is_(None), _H.id.is_(None), _D.owner_id != _H.owner_id)))
    twice = sa.select(_H.decision_id).group_by(_H.decision_id).having(sa.func.count() > 1)
    return [
        f"decision {row.id} for {row.owner_id}: hold {row.hold} for {row.held_for}" for row in rows
    ] + [f"decision {row.decision_id}: it has several holds" for row in tx.all(twice)]  # fmt: skip


def _recomputed(tx: Tx) -> list[str]:
    holds, policies = tx.all(_with_late()), _policies(tx)
    payees = {payee: opaque(tx, f"|payee:{payee}")[1:] for payee in {hold.payee for hold in holds}}
    decided: dict[str, list[Kept]] = {}
    for row in _decided(tx):
        decided.setdefault(row.policy_hash, []).extend(_kept(row) or ())
    found: list[str] = []
    for hashed, kept in decided.items():
        if hashed in policies:
            found += _faults(policies, hashed, kept, holds, payees)
        else:
            found.append(f"decision {kept[0].decision if kept else ''}: there is no policy {hashed[:12]}")
    return found


def _faults(
    policies: Mapping[str, Policy],
    hashed: str,
    kept: Sequence[Kept],
    holds: Sequence[Row],
    payees: Mapping[str, str],
) -> Iterator[str]:
    """The caps of one policy's decisions that are not the policy's, or that the holds exceed."""
    limits = dict(_limits(policies[hashed]))
    places: dict[tuple[str, ...], list[Kept]] = {}
    for one in kept:
        limit = limits.get(one.rule)
        if limit is None or _cap(limit, one.unit) != one.cap:
            yield f"decision {one.decision}: {one.rule} of its policy is not {one.cap} {one.unit}"
        else:
            places.setdefault(one.place, []).append(one)
    by_subject = _by_subject(policies, hashed, holds, {one.subject for one in kept}, payees)
    for (rule, subject, unit, operation, direction), group in places.items():
        limit = limits[rule]
        operations = limit.operations or (BUDGETED if subject.startswith("budget:") else (operation,))
        directions = limit.directions or (direction,)
        counted = [
            hold for hold in by_subject.get(subject, ())
            if hold.operation in operations and hold.direction in directions and _value(hold, unit)
        ]  # fmt: skip
        yield from _above(group, counted, unit)


def _above(group: Iterable[Kept], holds: Sequence[Row], unit: str) -> Iterator[str]:
    """Walk through the holds and the decisions about them in the order in which they were taken."""
    sums, place = WindowSums(hold.held_at for hold in holds), 0
    for one in sorted(group, key=lambda one: one.hold_seq):
        while place < len(holds) and holds[place].seq <= one.hold_seq:
            sums.add(holds[place].held_at, _value(holds[place], unit))
            place += 1
        total = sums.since(one.start)
        if total > one.cap:
            yield f"decision {one.decision}: the holds for {one.subject} add up to {total}, above {one.cap} {unit}"


def _value(hold: Row, unit: str) -> int:
    """What a hold counts: an attempt unless it was never sent, an amount unless it was let go."""
    if hold.late:
        return 0
    if unit == COUNT:
        return int(hold.state != "void")
    return value(hold, unit) if hold.state in _LIVE and hold.currency == unit.removeprefix(NANO) else 0


def _by_subject(
    policies: Mapping[str, Policy], hashed: str, holds: Sequence[Row], wanted: set[str], payees: Mapping[str, str]
) -> Mapping[str, list[Row]]:
    """The holds of each subject: as one policy places their agents, and in the budgets under which they were taken."""
    found: dict[str, list[Row]] = {subject: [] for subject in wanted}
    category = cache(lambda payee: policies[hashed].category_of(Payee.parse(payee)) or NO_CATEGORY)
    for hold in holds:
        present = policies[hashed].path(hold.agent)
        then = policies[hold.policy_hash].path(hold.agent) if hold.policy_hash in policies else ()
        left = tuple(node for node in then if node.startswith("budget:") and node not in present)
        parts = (
            f"customer:{hold.customer_id}",
            payees[hold.payee],
            f"provider:{hold.provider}",
            f"category:{category(hold.payee)}",
        )
        for subject in (*_subjects(present, (*parts, *present[:1])), *_subjects(left, (*parts, *then[:1]))):
            if subject in found:
                found[subject].append(hold)
    return found


def _subjects(nodes: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    for node in nodes:
        yield node
        yield from (f"{node}|{part}" for part in parts)


def _limits(policy: Policy) -> Iterator[tuple[str, Limit]]:
    """Every limit of a policy by where it stands."""
    for budget in policy.budgets:
        yield from ((f"budgets.{budget.id}.limits.{limit.id}", limit) for limit in budget.limits)
    for entry in policy.agents:
        yield from _limits_of(entry)


def _limits_of(entry: AgentEntry) -> Iterator[tuple[str, Limit]]:
    sections = (("charge", entry.charge), ("record_usage", entry.record_usage), ("refund", entry.refund))
    for operation, section in sections:
        if section is not None:
            yield from ((f"{entry.pointer}.{operation}.limits.{limit.id}", limit) for limit in section.limits)


def _cap(limit: Limit, unit: str) -> int | None:
    if unit == COUNT:
        return limit.count
    money = cap_in(limit.amounts, unit.removeprefix(NANO))
    if money is None:
        return None
    return cap_nanos(money) if unit.startswith(NANO) else money.minor


def _policies(tx: Tx) -> dict[str, Policy]:
    """Every policy that was ever applied, by its hash; one whose body does not have the hash is left out."""
    found: dict[str, Policy] = {}
    for row in tx.all(sa.select(_POLICIES.c.hash, _POLICIES.c.body)):
        try:
            policy = Policy.from_json(row.body)
        except PolicyError:
            continue
        if policy.hash == row.hash:
            found[row.hash] = policy
    return found


def _decided(tx: Tx) -> Sequence[Row]:
    columns = (_D.id, _D.operation, _D.policy_hash, _D.checks, _H.seq, _H.direction)
    return tx.all(sa.select(*columns).join(_HOLDS, _H.decision_id == _D.id).order_by(_H.seq))


def _with_late() -> sa.Select[tuple[object, ...]]:
    """Every hold, with whether what it was taken for is flagged late, and by which policy it was taken."""
    refunded = _PAYMENTS.alias("refunded")
    late = sa.func.coalesce(_PAYMENTS.c.late, refunded.c.late, sa.false()).label("late")
    return (
        sa.select(_HOLDS, late, _D.policy_hash)
        .outerjoin(_DECISIONS, _D.id == _H.decision_id)
        .outerjoin(_PAYMENTS, _PAYMENTS.c.id == _H.owner_id)
        .outerjoin(_REFUNDS, _REFUNDS.c.id == _H.owner_id)
        .outerjoin(refunded, refunded.c.id == _REFUNDS.c.payment_id)
        .order_by(_H.seq)
    )


def _kept(row: Row) -> list[Kept] | None:
    """The caps that a decision stored; None where they cannot be read."""
    try:
        return [
            Kept(
                decision=row.id,
                hold_seq=row.seq,
                operation=row.operation,
                direction=row.direction,
                rule=str(check["rule"]),
                subject=str(check["subject"]),
                unit=str(check["unit"]),
                cap=int(check["cap"]),
                total=int(check["total"]),
                attempted=int(check["attempted"]),
                start=None if check["from"] is None else from_micros(int(check["from"])),
            )
            for check in json.loads(row.checks)
        ]
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


CHECKS: Final = (
    Check(2, "every decision that took a hold has exactly one, for the same payment or refund", _without_hold),
    Check(2, "the caps stored with every decision can be read", _unreadable),
    Check(2, "every decision kept the caps that are stored with it", _exceeded),
    Check(2, "the holds up to every decision keep the caps of its policy; late successes are flagged", _recomputed),
)
