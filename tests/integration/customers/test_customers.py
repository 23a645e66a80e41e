"""Customers: made on first mention, once, whoever mentions them."""

from __future__ import annotations

import pytest

from agentpay.audit import queries as audit
from agentpay.clock import Clock
from agentpay.customers import service as customers
from agentpay.customers.models import Customer
from agentpay.errors import NotFound, ValidationError
from agentpay.ids import Ids
from agentpay.principal import OPERATOR
from agentpay.storage import Store, Tx
from support.parallel import run_threads, values


def made(store: Store, ids: Ids, external_id: str) -> Customer:
    return store.write(lambda tx: customers.ensure(tx, external_id, ids=ids, now=tx.now()))


def test_a_customer_is_made_on_first_mention_and_found_after(store: Store, ids: Ids, clock: Clock) -> None:
    assert store.read(lambda tx: customers.known(tx, "alice")) is None
    alice = made(store, ids, "alice")
    assert alice.external_id == "alice" and alice.id.startswith("cus_") and alice.created_at == clock.now()
    assert made(store, ids, "alice") == alice
    assert store.read(lambda tx: customers.known(tx, "alice")) == alice
    assert store.read(lambda tx: customers.by_id(tx, alice.id)) == alice


@pytest.mark.parametrize("name", ["O'Hara", "a & b", "🙂", "'; DROP TABLE customers; --", "%", "Ä" * 200])
def test_an_id_is_opaque(store: Store, ids: Ids, name: str) -> None:
    first = made(store, ids, name)
    assert first.external_id == name
    assert store.read(lambda tx: customers.known(tx, name)) == first


@pytest.mark.parametrize("name", ["", " ", "x" * 201, "a\nb", "a\u202eb", 7, None])
def test_an_id_that_is_none_is_refused(store: Store, ids: Ids, name: str) -> None:
    with pytest.raises(ValidationError):
        made(store, ids, name)
    assert store.read(lambda tx: customers.listed(tx, 10)) == []


def test_an_unknown_id_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.read(lambda tx: customers.by_id(tx, "cus_none"))


def test_threads_that_mention_a_customer_at_once_get_the_same_one(store: Store, ids: Ids) -> None:
    found = values(run_threads(8, lambda _: made(store, ids, "bob")))
    assert len(set(found)) == 1
    assert len(store.read(lambda tx: customers.listed(tx, 10))) == 1


def test_the_list_goes_on_behind_the_last_one(store: Store, ids: Ids) -> None:
    for name in ("c", "a", "d", "b"):
        made(store, ids, name)
    first = store.read(lambda tx: customers.listed(tx, 3))
    assert [customer.external_id for customer in first] == ["a", "b", "c"]
    rest = store.read(lambda tx: customers.listed(tx, 3, after="c"))
    assert [customer.external_id for customer in rest] == ["d"]


def test_a_link_is_kept_replaced_and_audited_without_its_reference(store: Store, ids: Ids) -> None:
    alice = made(store, ids, "alice")

    def link(reference: str) -> bool:
        def write(tx: Tx) -> bool:
            return customers.link(tx, alice, "mock", reference, tx.now(), OPERATOR)

        return store.write(write)

    assert store.read(lambda tx: customers.reference_of(tx, alice.id, "mock")) is None
    assert [link("ana@example.com"), link("ana@example.com"), link("mock_2")] == [True, False, True]
    assert store.read(lambda tx: customers.reference_of(tx, alice.id, "mock")) == "mock_2"
    assert store.read(lambda tx: customers.reference_of(tx, alice.id, "other")) is None
    rows = store.read(lambda tx: audit.history(tx, alice.id))
    assert [row.action for row in rows] == ["customer.linked", "customer.linked"]
    assert all("ana" not in row.body and "mock_2" not in row.body and "alice" not in row.body for row in rows)


def test_a_reference_that_is_none_is_refused(store: Store, ids: Ids) -> None:
    alice = made(store, ids, "alice")
    with pytest.raises(ValidationError):
        store.write(lambda tx: customers.link(tx, alice, "mock", "", tx.now(), OPERATOR))
