"""Which account of each provider this database belongs to: nothing crosses it."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime


class ProviderAccountRow(Base, table=True):
    """The one account of a provider that this database has seen."""

    __tablename__ = "provider_accounts"

    provider: str = Field(primary_key=True)
    account: str
    mode: str
    first_seen_at: datetime = Field(sa_type=UtcTime)
