"""All SQL about plans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

import sqlalchemy as sa

from agentpay.canonical import canonical, digest
from agentpay.plans.models import PaymentPlan
from agentpay.plans.tables import PlanFeatureRow, PlanRow, PlanVersionRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

_PLANS = table(PlanRow)
_VERSIONS = table(PlanVersionRow)
_FEATURES = table(PlanFeatureRow)

_CURRENT: Final = sa.and_(_VERSIONS.c.plan_id == _PLANS.c.id, _VERSIONS.c.version == _PLANS.c.version)
_BODY: Final = (_VERSIONS.c.version, _VERSIONS.c.body)

_ONE: Final = sa.select(*_BODY).where(
    _VERSIONS.c.plan_id == sa.bindparam("plan"), _VERSIONS.c.version == sa.bindparam("version")
)
_ONE_CURRENT: Final = sa.select(*_BODY).join(_PLANS, _CURRENT).where(_PLANS.c.id == sa.bindparam("plan"))
_ALL_CURRENT: Final = sa.select(*_BODY).join(_PLANS, _CURRENT).order_by(_PLANS.c.id)
_CURRENT_NAMING: Final = (
    sa.select(*_BODY)
    .join(_PLANS, _CURRENT)
    .join(_FEATURES, sa.and_(_FEATURES.c.plan_id == _PLANS.c.id, _FEATURES.c.version == _PLANS.c.version))
    .where(_FEATURES.c.feature == sa.bindparam("feature"))
    .order_by(_PLANS.c.id)
)
_NAMED: Final = sa.select(sa.literal(1)).where(_FEATURES.c.feature == sa.bindparam("feature")).limit(1)


@lru_cache(maxsize=1024)
def parsed(version: int, body: str) -> PaymentPlan:
    """The plan of a stored body. Kept by the body itself, so it cannot be stale: a plan is parsed once a process."""
    return PaymentPlan.from_content(json.loads(body), version=version)


def one(tx: Tx, plan_id: str, version: int | None) -> PaymentPlan | None:
    """A version of a plan, the current one where none is given; None where there is no such."""
    if version is None:
        row = tx.execute(_ONE_CURRENT, [{"plan": plan_id}]).first()
    else:
        row = tx.execute(_ONE, [{"plan": plan_id, "version": version}]).first()
    return None if row is None else parsed(row.version, row.body)


def all_current(tx: Tx) -> list[PaymentPlan]:
    """The current version of every plan, by id."""
    return [parsed(row.version, row.body) for row in tx.all(_ALL_CURRENT)]


def current_naming(tx: Tx, feature: str) -> Sequence[PaymentPlan]:
    """The current versions that name a feature, by id."""
    return [parsed(row.version, row.body) for row in tx.execute(_CURRENT_NAMING, [{"feature": feature}]).all()]


def ever_named(tx: Tx, feature: str) -> bool:
    """Whether any version of any plan names the feature, a replaced one included: somebody may still hold it."""
    return tx.execute(_NAMED, [{"feature": feature}]).first() is not None


def lock_current(tx: Tx, plan_id: str, now: datetime) -> int:
    """The number of the current version, locked until the end; the plan's row is made where it is missing, with 0."""
    tx.insert_new(PlanRow, id=plan_id, version=0, created_at=now)
    (row,) = tx.lock(sa.select(_PLANS.c.version).where(_PLANS.c.id == plan_id))
    return int(row.version)


def hash_of(tx: Tx, plan_id: str, version: int) -> str | None:
    """The hash of a version's content."""
    found: str | None = tx.scalar(
        sa.select(_VERSIONS.c.hash).where(_VERSIONS.c.plan_id == plan_id, _VERSIONS.c.version == version)
    )
    return found


def content_hash(plan: PaymentPlan) -> str:
    """The hash by which one content is told from another."""
    return digest("agentpay.plan", plan.content())


def add_version(tx: Tx, plan: PaymentPlan, version: int, now: datetime) -> None:
    """Store a version and make it the current one; the plan's row is locked."""
    body = canonical(plan.content())
    tx.insert(PlanVersionRow, plan_id=plan.id, version=version, hash=content_hash(plan), body=body, created_at=now)
    for feature in plan.features:
        tx.insert(PlanFeatureRow, feature=feature.name, plan_id=plan.id, version=version)
    tx.execute(sa.update(_PLANS).where(_PLANS.c.id == plan.id).values(version=version))
