"""All SQL about events that were received."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from agentpay.providers.tables import ProviderAccountRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table
from agentpay.webhooks.tables import WebhookEventRow, WebhookNewsRow

EVENTS = table(WebhookEventRow)
NEWS = table(WebhookNewsRow)
_E, _N = EVENTS.c, NEWS.c
_ACCOUNTS = table(ProviderAccountRow)


def stamped(tx: Tx, provider: str) -> Row | None:
    """The account and mode of a provider that this database belongs to."""
    return tx.first(sa.select(_ACCOUNTS).where(_ACCOUNTS.c.provider == provider))


def insert_new(tx: Tx, **values: Any) -> bool:
    """Insert an event, unless it is there. On PostgreSQL this waits for another delivery of it that is under way."""
    return tx.insert_new(WebhookEventRow, **values)


def insert_news(tx: Tx, **values: Any) -> None:
    """Insert one thing that an event tells."""
    tx.insert(WebhookNewsRow, **values)


def known(tx: Tx, provider: str, account: str, event_id: str) -> Row:
    """The row of an event that is there."""
    query = sa.select(EVENTS).where(_E.provider == provider, _E.account == account, _E.event_id == event_id)
    return tx.all(query)[0]


def event(tx: Tx, event_id: str, *, lock: bool = False) -> Row | None:
    """An event by our id of it."""
    statement = sa.select(EVENTS).where(_E.id == event_id)
    rows = tx.lock(statement) if lock else tx.all(statement)
    return rows[0] if rows else None


def news_of(tx: Tx, event_id: str) -> Sequence[Row]:
    """What an event tells, in its order."""
    return tx.all(sa.select(NEWS).where(_N.event_id == event_id).order_by(_N.position))


def about(objects: sa.Select[tuple[str]]) -> sa.Select[tuple[str]]:
    """The query for the ids of the events that tell of things that a query names."""
    return sa.select(_N.event_id).where(_N.object_id.in_(objects)).distinct()


def update_event(tx: Tx, event_id: str, **values: Any) -> None:
    """Change columns of an event."""
    tx.execute(sa.update(EVENTS).where(_E.id == event_id).values(**values))


def update_news(tx: Tx, event_id: str, position: int, **values: Any) -> None:
    """Change columns of one thing that an event tells."""
    tx.execute(sa.update(NEWS).where(_N.event_id == event_id, _N.position == position).values(**values))


def due(tx: Tx, now: datetime, limit: int, providers: Sequence[str]) -> list[str]:
    """The waiting events whose time has come, the longest due first."""
    query = (
        sa.select(_E.id)
        .where(_E.status == "waiting", _E.next_try_at <= now, _E.provider.in_(providers))
        .order_by(_E.next_try_at, _E.id)
        .limit(limit)
    )
    return [row.id for row in tx.all(query)]


def waiting_for(tx: Tx, key: str, reference: str | None) -> list[str]:
    """The events that wait for an attempt, by its key or by what the provider calls it."""
    about = [_N.key == key]
    if reference is not None:
        about += [_N.reference == reference, _N.charge == reference]
    query = sa.select(_N.event_id).where(_N.status == "waiting", sa.or_(*about)).distinct().order_by(_N.event_id)
    return [row.event_id for row in tx.all(query)]


def listed(tx: Tx, status: str | None, limit: int) -> Sequence[Row]:
    """Events, in one state where it is named, the newest first."""
    query = sa.select(EVENTS).order_by(_E.received_at.desc(), _E.id.desc()).limit(limit)
    return tx.all(query if status is None else query.where(_E.status == status))
