"""Reading the active policy: what it is, and which counters a hold counts in under it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from agentpay.spending.tables import PolicyRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay_policies.decisions import CounterKey, Request
from agentpay_policies.evaluate import counted
from agentpay_policies.policy import Policy

_POLICIES = table(PolicyRow)
_NEWEST: Final = sa.select(_POLICIES.c.version, _POLICIES.c.hash).order_by(_POLICIES.c.version.desc()).limit(1)

parsed = lru_cache(maxsize=8)(Policy.from_json)
"""A stored policy; parsed once."""


def newest(tx: Tx) -> Row | None:
    """The version and the hash of the active policy, or None where none was ever applied."""
    return tx.first(_NEWEST)


def policy_of(tx: Tx, version: int) -> Policy:
    """The policy of a version."""
    return parsed(tx.scalar(sa.select(_POLICIES.c.body).where(_POLICIES.c.version == version)))


def policy(tx: Tx) -> Policy | None:
    """The active policy, or None where none was ever applied."""
    row = newest(tx)
    return None if row is None else policy_of(tx, row.version)


def keys(tx: Tx, request: Request, path: tuple[str, ...]) -> tuple[CounterKey, ...]:
    """The counters in which a hold counts under the active policy: by its request, and the path it was taken on."""
    return counted(policy(tx), request, path)
