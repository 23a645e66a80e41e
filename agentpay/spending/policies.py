"""The active policy: a row in the database, so that every process decides by the same one."""

from __future__ import annotations

import json

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.errors import PolicyNotActive
from agentpay.principal import Principal
from agentpay.spending import active, counters, holds
from agentpay.spending.models import ActivePolicy
from agentpay.spending.tables import PolicyRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.policy import Policy

_POLICIES = table(PolicyRow)


def active_row(tx: Tx) -> ActivePolicy | None:
    """Which policy is active, since when, and by whom."""
    row = tx.first(sa.select(_POLICIES).order_by(_POLICIES.c.version.desc()).limit(1))
    return None if row is None else _described(row, changed=False)


def is_active(tx: Tx, policy: Policy) -> bool:
    """Whether the active policy is this one."""
    row = active.newest(tx)
    return row is not None and row.hash == policy.hash


def apply(tx: Tx, policy: Policy, principal: Principal) -> ActivePolicy:
    """Make a policy the active one. The same policy again changes nothing.

    The counters that it reads are built anew from the holds, so that what was spent before counts under it too.
    """
    from agentpay_policies.compare import loosenings

    counters.lock_policy(tx, to_change=True)
    newest = active.newest(tx)
    if newest is not None and newest.hash == policy.hash:
        found = active_row(tx)
        assert found is not None
        return found
    now = tx.now()
    before = None if newest is None else active.policy_of(tx, newest.version)
    loosened = loosenings(before, policy)
    version = 1 if newest is None else newest.version + 1
    tx.insert(
        PolicyRow,
        version=version,
        policy_id=policy.id,
        hash=policy.hash,
        body=policy.to_json(),
        applied_by=str(principal),
        applied_at=now,
        loosening=bool(loosened),
        loosened=json.dumps(loosened),
    )
    _count_anew(tx, policy)
    data = {"version": str(version), "hash": policy.hash, "loosening": "yes" if loosened else "no"}
    log.record(tx, principal=principal, action="policy.applied", object_id=f"policy:{policy.id}", data=data, at=now)
    return _described(tx.all(sa.select(_POLICIES).where(_POLICIES.c.version == version))[0], changed=True)


def adopt(tx: Tx, policy: Policy, principal: Principal) -> ActivePolicy:
    """What a policy given at start means: it becomes active where none is, and must be the active one otherwise.

    Raises:
        PolicyNotActive: another policy is active.
    """
    newest = active.newest(tx)
    if newest is not None and newest.hash != policy.hash:
        current = active.policy_of(tx, newest.version)
        raise PolicyNotActive(
            f"The policy given is {policy.id} ({policy.hash[:12]}); "
            f"this database decides by {current.id} ({newest.hash[:12]}), version {newest.version}."
        )
    return apply(tx, policy, principal)


def _count_anew(tx: Tx, policy: Policy) -> None:
    holds.move_to_paths(tx, policy.path)
    counters.make_anew(tx, holds.rebuilt(tx, lambda hold: active.keys_under(policy, hold)))


def _described(row: Row, *, changed: bool) -> ActivePolicy:
    return ActivePolicy(
        version=row.version,
        id=row.policy_id,
        hash=row.hash,
        applied_by=row.applied_by,
        applied_at=row.applied_at,
        loosened=tuple(json.loads(row.loosened)),
        warnings=active.parsed(row.body).warnings,
        changed=changed,
    )
