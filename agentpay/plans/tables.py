"""Plans: which version is the current one, what each version says, and which features each names."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime


class PlanRow(Base, table=True):
    """A plan and its current version: the row that is locked before a version is added."""

    __tablename__ = "plans"

    id: str = Field(primary_key=True)
    version: int
    created_at: datetime = Field(sa_type=UtcTime)


class PlanVersionRow(Base, table=True):
    """What a version says, for ever."""

    __tablename__ = "plan_versions"

    plan_id: str = Field(primary_key=True, foreign_key="plans.id")
    version: int = Field(primary_key=True)
    hash: str
    body: str
    created_at: datetime = Field(sa_type=UtcTime)


class PlanFeatureRow(Base, table=True):
    """That a version names a feature: for finding plans by what they give."""

    __tablename__ = "plan_features"
    __table_args__ = (
        sa.ForeignKeyConstraint(["plan_id", "version"], ["plan_versions.plan_id", "plan_versions.version"]),
    )

    feature: str = Field(primary_key=True)
    plan_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
