"""Customers: known, made on first mention, and linked to what a provider calls them."""

from __future__ import annotations

from datetime import datetime

from agentpay.audit.log import record
from agentpay.customers import queries
from agentpay.customers.models import Customer
from agentpay.errors import NotFound
from agentpay.ids import Ids
from agentpay.principal import Principal
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.text import identifier


def known(tx: Tx, external_id: str) -> Customer | None:
    """The customer whom the application calls so, or None where nobody was ever called so. Writes nothing.

    Raises:
        ValidationError: the id is not text of 1 to 200 visible characters.
    """
    row = queries.by_external_id(tx, identifier(external_id, "customer"))
    return None if row is None else _customer(row)


def ensure(tx: Tx, external_id: str, *, ids: Ids, now: datetime) -> Customer:
    """The customer whom the application calls so, made where this is the first mention. Safe under concurrency.

    Raises:
        ValidationError: the id is not text of 1 to 200 visible characters.
    """
    found = known(tx, external_id)
    if found is not None:
        return found
    queries.insert_new(tx, ids.new("cus"), external_id, now)
    row = queries.by_external_id(tx, external_id)  # a statement of its own: it sees whoever was faster
    assert row is not None
    return _customer(row)


def by_id(tx: Tx, customer_id: str) -> Customer:
    """The customer of our own id.

    Raises:
        NotFound: there is none.
    """
    row = queries.by_id(tx, customer_id)
    if row is None:
        raise NotFound(f"There is no customer {customer_id[:60]!r}.")
    return _customer(row)


def listed(tx: Tx, limit: int, after: str | None = None) -> list[Customer]:
    """At most `limit` customers by the application's ids, from behind the one called `after`."""
    return [_customer(row) for row in queries.page(tx, limit, after)]


def link(
    tx: Tx,
    customer: Customer,
    provider: str,
    reference: str,
    now: datetime,
    principal: Principal,
    *,
    told_at: datetime | None = None,
) -> bool:
    """Keep what a provider calls the customer. True where that changed anything; the change is audited.

    `told_at` is the provider's time of the event that says so: one that is older than the link changes nothing, since
    events come in any order. The reference itself stays out of the audit: a provider may use an e-mail address as one.

    Raises:
        ValidationError: the reference is not text of 1 to 255 visible characters.
    """
    identifier(reference, "reference", longest=255)
    at = told_at or now
    first = queries.insert_link(tx, customer.id, provider, reference, at)
    if not first:
        known = queries.lock_link(tx, customer.id, provider)
        if known.reference == reference or (told_at is not None and told_at < known.linked_at):
            return False
        queries.update_link(tx, customer.id, provider, reference, at)
    data = {"provider": provider, "replaced": not first}
    record(tx, principal=principal, action="customer.linked", object_id=customer.id, data=data, at=now)
    return True


def reference_of(tx: Tx, customer_id: str, provider: str) -> str | None:
    """What a provider calls the customer of our id, or None where they are not linked."""
    return queries.reference_of(tx, customer_id, provider)


def by_reference(tx: Tx, provider: str, reference: str) -> Customer | None:
    """The customer whom a provider calls so, or None where nobody is linked to that name."""
    row = queries.by_reference(tx, provider, reference)
    return None if row is None else _customer(row)


def lock(tx: Tx, customer_id: str) -> None:
    """Keep others from changing a customer until the end."""
    queries.lock(tx, customer_id)


def erased_as(tx: Tx, mark: str) -> str | None:
    """Our id of the customer who was erased under a mark, or None."""
    return queries.erased_as(tx, mark)


def erase(tx: Tx, customer_id: str, mark: str) -> None:
    """Put a mark, which tells nobody who it was, in the place of the application's id, and remove the links."""
    queries.erase(tx, customer_id, mark)


def _customer(row: Row) -> Customer:
    erased = row.external_id.startswith(queries.ERASED)
    return Customer(id=row.id, external_id="(erased)" if erased else row.external_id, created_at=row.created_at)
