"""The mock's books, on both databases: one key moves money once, whoever sends it, and what moved stays written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import ModeMismatch, StorageError
from agentpay.providers.base import Found, NotFound, Reference
from agentpay.providers.mock import MockProvider, from_settings
from agentpay.providers.mock_script import CRASH_EXIT, CRASH_VARIABLE
from agentpay.providers.mock_store import MOVEMENTS, BooksStore, books_beside
from agentpay.providers.outcomes import Succeeded
from agentpay.providers.registry import Providers
from agentpay.storage import Store
from integration.providers.jobs import THREADS, charge, order, refund
from support.parallel import run_threads, values

PROCESSES = 4


@pytest.fixture
def mock(database: str) -> Iterator[MockProvider]:
    made = from_settings(database_url=database)
    yield made
    made.close()


def test_twenty_threads_with_one_key_move_money_once(mock: MockProvider) -> None:
    outcomes = values(run_threads(20, lambda _: charge(mock, "one-key")))
    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Succeeded)
    assert len(mock.movements()) == 1


def test_four_processes_open_the_books_first_and_move_money_once(
    database: str, mock: MockProvider, run_processes: Callable[..., list[Any]]
) -> None:
    outcomes = values(run_processes(PROCESSES, "integration.providers.jobs:charge_one_key", (database,)))
    assert len({outcome for each in outcomes for outcome in each}) == 1
    assert len(mock.movements()) == 1


def test_parallel_refunds_never_exceed_the_charge(
    database: str, mock: MockProvider, run_processes: Callable[..., list[Any]]
) -> None:
    paid = charge(mock, "k")
    assert isinstance(paid, Succeeded)
    job = "integration.providers.jobs:refund_in_parts"
    outcomes = values(run_processes(PROCESSES, job, (database, paid.reference)))
    names = [name for each in outcomes for name in each]
    assert names.count("succeeded") == 6
    assert names.count("declined") == PROCESSES * THREADS - 6
    assert mock.balance("clearing", "USD") == 200


def test_another_process_object_finds_the_books(database: str, mock: MockProvider) -> None:
    outcome = charge(mock, "k", order("13.10"))
    other = from_settings(database_url=database)
    assert [found.status for found in other.charges()] == ["pending"]
    other.complete(other.charges()[0].id, "succeeded")
    finding = mock.lookup(Reference("k-1", "charge", "charge", {}))
    assert finding == Found(Succeeded(other.charges()[0].id))
    assert finding != Found(outcome)
    other.close()


def test_a_movement_is_never_changed_or_removed(database: str, mock: MockProvider) -> None:
    charge(mock, "k")
    store = BooksStore(books_beside(database))
    for statement in (sa.update(MOVEMENTS).values(amount=1), sa.delete(MOVEMENTS)):
        with pytest.raises(StorageError), store.writing() as conn:
            conn.execute(statement)
    store.close()
    assert mock.balance("clearing", "USD") == 2000


def test_the_books_survive_a_rollback_of_ours(database: str, mock: MockProvider) -> None:
    store = Store(database)

    def write(_tx: object) -> None:
        charge(mock, "k")
        raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        store.write(write)
    assert len(mock.movements()) == 1
    store.close()


CHARGE = """
import sys
from integration.providers.jobs import charge, order
from agentpay.providers.registry import create_payment_provider
charge(create_payment_provider("mock", database_url=sys.argv[1]), "k", order(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("where", "amount", "exits", "moved", "found"),
    [
        ("before_move", "20.00", CRASH_EXIT, 0, False),
        ("after_move", "20.00", CRASH_EXIT, 1, True),
        ("before_answer", "20.00", CRASH_EXIT, 1, True),
        ("before_move:refund", "20.00", 0, 1, True),
        ("before_move:capture", "13.30", CRASH_EXIT, 0, True),
    ],
)
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_process_dies_where_the_environment_says(
    database: str, mock: MockProvider, where: str, amount: str, exits: int, moved: int, found: bool
) -> None:
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, CRASH_VARIABLE: where, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", CHARGE, database, amount], env=environment, timeout=60, check=False)
    assert done.returncode == exits
    assert len(mock.movements()) == moved
    assert (mock.lookup(Reference("k-1", "charge", "charge", {})) != NotFound()) == found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(mock: MockProvider) -> None:
    charge(mock, "before")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if isinstance(charge(mock, "in-child"), Succeeded) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    charge(mock, "after")
    assert len(mock.movements()) == 3


def test_refunds_and_completions_are_seen_by_all(mock: MockProvider) -> None:
    paid = charge(mock, "k")
    assert isinstance(paid, Succeeded)
    refund(mock, paid.reference, "14.10", "r")
    mock.complete(mock.refunds()[0].id, "succeeded")
    assert [movement.kind for movement in mock.movements()] == ["charge", "refund"]


class Elsewhere(MockProvider):
    @property
    def account(self) -> str:
        return "another"


def test_a_database_belongs_to_one_account_of_a_provider(store: Store, database: str, mock: MockProvider) -> None:
    ours, theirs = Providers([mock]), Providers([Elsewhere(books_beside(database))])
    assert not store.read(ours.stamped)
    store.write(lambda tx: ours.stamp(tx, tx.now()))
    store.write(lambda tx: ours.stamp(tx, tx.now()))
    assert store.read(ours.stamped)
    with pytest.raises(ModeMismatch, match=r"account mock \(test\); this program was started for another"):
        store.write(lambda tx: theirs.stamp(tx, tx.now()))
    with pytest.raises(ModeMismatch):
        store.read(theirs.stamped)
    theirs.close()


def test_private_books_are_gone_when_closed() -> None:
    made = MockProvider("memory://")
    charge(made, "k")
    folder = made._books._store._temporary
    assert folder is not None
    assert folder.exists()
    made.close()
    assert not folder.exists()
