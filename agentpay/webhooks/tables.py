"""What providers told us, once each: the events, and the single things that each of them tells."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime, where


class WebhookEventRow(Base, table=True):
    """A verified event, stored once by the provider, its account and the provider's id of it.

    Its raw body and what it tells, in full, are free text (`texts`, kinds `webhook` and `news`), which can be erased;
    one that tells nothing has neither.
    `status`: applied; waiting for what it is about; ignored: it tells nothing; expired: it waited in vain.
    """

    __tablename__ = "webhook_events"
    __table_args__ = (
        sa.UniqueConstraint("provider", "account", "event_id", name="uq_webhook_event"),
        sa.Index("ix_webhook_waiting", "next_try_at", info=where("status = 'waiting'")),
        sa.Index("ix_webhook_received", "received_at"),
    )

    id: str = Field(primary_key=True)
    provider: str
    account: str
    event_id: str
    kind: str
    status: str
    tries: int = 0
    next_try_at: datetime | None = Field(default=None, sa_type=UtcTime)
    created_at: datetime = Field(sa_type=UtcTime)
    received_at: datetime = Field(sa_type=UtcTime)
    settled_at: datetime | None = Field(default=None, sa_type=UtcTime)


class WebhookNewsRow(Base, table=True):
    """One thing that an event tells, and what it did: `change` on `object_id`, or nothing new.

    `key`, `reference` and `charge` are by what its object is found once it is there.
    """

    __tablename__ = "webhook_news"
    __table_args__ = (
        sa.Index("ix_webhook_news_key", "key", info=where("status = 'waiting'")),
        sa.Index("ix_webhook_news_reference", "reference", info=where("status = 'waiting'")),
        sa.Index("ix_webhook_news_charge", "charge", info=where("status = 'waiting'")),
        sa.Index("ix_webhook_news_object", "object_id"),
    )

    event_id: str = Field(primary_key=True, foreign_key="webhook_events.id")
    position: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str
    status: str
    key: str | None = None
    reference: str | None = None
    charge: str | None = None
    object_id: str | None = None
    change: str | None = None
