"""All SQL about customers."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa

from agentpay.customers.tables import CustomerLinkRow, CustomerRow, CustomerSetupRow
from agentpay.storage.transaction import Row, Tx
from agentpay.storage.types import table

_CUSTOMERS = table(CustomerRow)
_LINKS = table(CustomerLinkRow)
_SETUPS = table(CustomerSetupRow)

ERASED: Final = "\x7ferased:"
"""What stands in the place of an erased id begins so: no id can, since it has a character that nobody can see."""

_COLUMNS = (_CUSTOMERS.c.id, _CUSTOMERS.c.external_id, _CUSTOMERS.c.created_at)


def by_external_id(tx: Tx, external_id: str) -> Row | None:
    """The row of the application's id."""
    return tx.first(sa.select(*_COLUMNS).where(_CUSTOMERS.c.external_id == external_id))


def by_id(tx: Tx, customer_id: str) -> Row | None:
    """The row of our id."""
    return tx.first(sa.select(*_COLUMNS).where(_CUSTOMERS.c.id == customer_id))


def page(tx: Tx, limit: int, after: str | None) -> list[Row]:
    """Rows in the order of the application's ids, from behind one of them."""
    query = sa.select(*_COLUMNS).order_by(_CUSTOMERS.c.external_id).limit(limit)
    query = query.where(~_CUSTOMERS.c.external_id.startswith(ERASED, autoescape=True))
    return list(tx.all(query if after is None else query.where(_CUSTOMERS.c.external_id > after)))


def insert_new(tx: Tx, customer_id: str, external_id: str, now: datetime) -> bool:
    """Insert a customer unless the application's id is there already."""
    return tx.insert_new(CustomerRow, id=customer_id, external_id=external_id, created_at=now)


def reference_of(tx: Tx, customer_id: str, provider: str) -> str | None:
    """What a provider calls a customer."""
    found: str | None = tx.scalar(sa.select(_LINKS.c.reference).where(_is(customer_id, provider)))
    return found


def by_reference(tx: Tx, provider: str, reference: str) -> Row | None:
    """The row of the customer whom a provider calls so; the one who was linked first, where several are."""
    query = sa.select(*_COLUMNS).join(_LINKS, _LINKS.c.customer_id == _CUSTOMERS.c.id)
    query = query.where(_LINKS.c.provider == provider, _LINKS.c.reference == reference)
    return tx.first(query.order_by(_LINKS.c.linked_at, _CUSTOMERS.c.id))


def lock_link(tx: Tx, customer_id: str, provider: str) -> Row:
    """The link of a customer to a provider, locked until the end; it must be there."""
    return tx.lock(sa.select(_LINKS.c.reference, _LINKS.c.linked_at).where(_is(customer_id, provider)))[0]


def insert_link(tx: Tx, customer_id: str, provider: str, reference: str, now: datetime) -> bool:
    """Insert a link unless the customer has one with that provider."""
    return tx.insert_new(
        CustomerLinkRow, customer_id=customer_id, provider=provider, reference=reference, linked_at=now
    )


def update_link(tx: Tx, customer_id: str, provider: str, reference: str, now: datetime) -> None:
    """Point the link elsewhere."""
    changed = sa.update(_LINKS).where(_is(customer_id, provider))
    tx.execute(changed.values(reference=reference, linked_at=now))


def insert_setup(
    tx: Tx, setup_id: str, *, customer_id: str, provider: str, method: str | None, urls: tuple[str, str], now: datetime
) -> None:
    """Insert a page that is to be made."""
    tx.insert(
        CustomerSetupRow,
        id=setup_id,
        customer_id=customer_id,
        provider=provider,
        method=method,
        success_url=urls[0],
        cancel_url=urls[1],
        created_at=now,
    )


def setup(tx: Tx, setup_id: str) -> Row | None:
    """The row of a page."""
    return tx.first(sa.select(_SETUPS).where(_SETUPS.c.id == setup_id))


def keep_page(tx: Tx, setup_id: str, *, reference: str, url: str) -> None:
    """Keep where the page is."""
    tx.execute(sa.update(_SETUPS).where(_SETUPS.c.id == setup_id).values(reference=reference, url=url))


def lock(tx: Tx, customer_id: str) -> None:
    """Lock a customer's row until the end."""
    tx.lock(sa.select(_CUSTOMERS.c.id).where(_CUSTOMERS.c.id == customer_id))


def erased_as(tx: Tx, mark: str) -> str | None:
    """Our id of the customer whose id was replaced by that mark; the newest, where the id was used again since."""
    query = sa.select(_CUSTOMERS.c.id).where(_CUSTOMERS.c.external_id.startswith(f"{ERASED}{mark}:", autoescape=True))
    found: str | None = tx.scalar(query.order_by(_CUSTOMERS.c.created_at.desc(), _CUSTOMERS.c.id).limit(1))
    return found


def erase(tx: Tx, customer_id: str, mark: str) -> None:
    """Put a mark in the place of the application's id, and remove what providers call the customer, and their pages."""
    nobody = f"{ERASED}{mark}:{customer_id}"
    tx.execute(sa.update(_CUSTOMERS).where(_CUSTOMERS.c.id == customer_id).values(external_id=nobody))
    tx.execute(sa.delete(_LINKS).where(_LINKS.c.customer_id == customer_id))
    tx.execute(sa.delete(_SETUPS).where(_SETUPS.c.customer_id == customer_id))


def _is(customer_id: str, provider: str) -> sa.ColumnElement[bool]:
    return sa.and_(_LINKS.c.customer_id == customer_id, _LINKS.c.provider == provider)
