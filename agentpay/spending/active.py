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
from agentpay_policies.money import Money, Price
from agentpay_policies.payees import Payee
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


def keys(tx: Tx, hold: Row) -> tuple[CounterKey, ...]:
    """The counters in which a hold counts under the active policy."""
    return keys_under(policy(tx), hold)


def keys_under(policy: Policy | None, hold: Row) -> tuple[CounterKey, ...]:
    """The counters in which a hold counts under a policy: by what it was taken for, and the path it was taken on."""
    return counted(policy, request_of(hold), tuple(hold.path.split("\n")), approved=hold.approved)


def request_of(hold: Row) -> Request:
    """The policy's view of what a hold was taken for, as far as it says in which counters it counts."""
    usage = hold.operation == "record_usage"
    return Request(
        tool=hold.operation,
        agent=hold.agent,
        operation=hold.operation,
        payee=Payee.parse(hold.payee),
        direction=hold.direction,
        provider=hold.provider,
        # Any amount: which one it is the hold says itself, and a payment of nothing would count nowhere.
        money=None if usage else Money.from_minor(1, hold.currency),
        cost=Price.from_nanos(1, hold.currency) if usage and hold.currency else None,
        customer_ref=hold.customer_id,
    )
