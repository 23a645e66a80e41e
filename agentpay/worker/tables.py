"""When each background job ran last, and when it is due: the rhythm that all workers of a database share."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime


class WorkerJobRow(Base, table=True):
    """One job. `failures` counts those since it went well last; `fault` is the newest one's kind."""

    __tablename__ = "worker_jobs"
    __table_args__ = (sa.CheckConstraint("failures >= 0", name="ck_job_failures"), {"info": {"exported": False}})

    name: str = Field(primary_key=True)
    worker: str
    ran_at: datetime | None = Field(default=None, sa_type=UtcTime)
    ended_at: datetime = Field(sa_type=UtcTime)
    due_at: datetime = Field(sa_type=UtcTime)
    failures: int = 0
    fault: str | None = None
