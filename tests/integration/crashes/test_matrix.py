"""The crash matrix: wherever an operation dies, whatever its provider does, money moves once and nothing is lost.

With the mock all of it by exception on SQLite, and a fixed sample by SIGKILL on both databases; with each provider
behind a socket the sample by exception, and two cells by SIGKILL, on SQLite. `make soak` runs everything on both.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentpay.clock import FixedClock
from agentpay.ids import RandomIds
from agentpay.manager import AgentHandle
from agentpay.manager.wiring import Engine
from conftest import START
from support.databases import Databases
from support.failing import PLACES, Place, Places, closed, watched_engine
from support.fakes import ENDINGS, FAKES, REACHED, SERVED, Effect, Ending, Fake, MockFake
from support.matrix import OPERATIONS, Cell, Lab, Operation, cells, every_cell, sample


@pytest.fixture(scope="module", params=FAKES, ids=lambda fake: fake.name)
def fake(request: pytest.FixtureRequest) -> Fake:
    """Each provider in turn."""
    found: Fake = request.param
    return found


@pytest.fixture
def lab(databases: Databases, fake: Fake) -> Iterator[Lab]:
    """A database of the test's own, audited after it."""
    url = databases.create("sqlite")
    made = Lab(url, FixedClock(START), fake)
    yield made
    made.audit()
    made.close()
    databases.drop(url)


mocked = pytest.mark.parametrize("fake", [MockFake()], ids=["mock"], indirect=True)
served = pytest.mark.parametrize("fake", SERVED, ids=[fake.name for fake in SERVED], indirect=True)


@mocked
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_that_dies_there_happens_once(lab: Lab, operation: str, place: Place) -> None:
    for cell in cells(operation, place):
        lab.run(cell)


@served
@pytest.mark.slow
def test_at_a_provider_behind_a_socket_it_happens_once_as_well(lab: Lab) -> None:
    for cell in sample():
        lab.run(cell)


@served
@pytest.mark.parametrize(
    "cell", [Cell("charge", "before_provider", "ok"), Cell("refund", "after_move", "error_after")], ids=str
)
def test_a_process_that_is_killed_before_such_a_provider_leaves_one_truth(lab: Lab, cell: Cell) -> None:
    lab.run(cell, "kill")


@mocked
@pytest.mark.slow
def test_a_process_that_is_killed_there_leaves_nothing_but_one_truth(
    databases: Databases, dialect: str, fake: Fake
) -> None:
    url = databases.create("postgresql" if dialect == "postgresql" else "sqlite")
    lab = Lab(url, FixedClock(START), fake)
    for cell in sample():
        lab.run(cell, "kill")
    lab.audit()
    lab.close()
    databases.drop(url)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_undisturbed_call_reaches_the_places_that_the_matrix_says(lab: Lab, fake: Fake, ending: Ending) -> None:
    """So that no cell is left out because its place was thought not to be reached."""
    fake.meet(lab.sound, lab.url, f"ana-{ending}")
    places = Places()
    provider = fake.provider(lab.url, lab.clock, places)
    engine = watched_engine(lab.url, lab.clock, provider, places)
    fake.arrange(provider, ending)
    try:
        OPERATIONS["charge"].run(engine, f"ana-{ending}")
    except Exception as error:
        assert ending == "decline", error
    closed(engine)
    assert places.reached == [place for place in PLACES if place.endswith("commit") or place in REACHED[ending]]


def _with_a_fresh_key(engine: Engine, customer: str) -> object:
    """What a client does that takes no answer for no payment."""
    handle = AgentHandle(engine, "bot")
    return handle.charge(customer, "20.00", "USD", description="x", idempotency_key=RandomIds().new("key"))


def test_the_matrix_finds_a_client_that_retries_with_a_fresh_key(lab: Lab) -> None:
    naive = Operation(lambda manager, customer: None, _with_a_fresh_key, _with_a_fresh_key)
    with pytest.raises(AssertionError):
        lab.run(Cell("charge", "after_move", "ok"), operation=naive)


class Forgetful(MockFake):
    """Its books lack what moved last: what an engine looks like that takes no answer for a success."""

    def effects(self, url: str) -> list[Effect]:
        return super().effects(url)[:-1]


class Doubling(MockFake):
    """Its books have every movement twice."""

    def effects(self, url: str) -> list[Effect]:
        return super().effects(url) * 2


@pytest.mark.parametrize("wrong", [Forgetful(), Doubling()], ids=["lost", "doubled"])
def test_the_audit_finds_money_that_is_lost_and_money_that_moved_twice(databases: Databases, wrong: Fake) -> None:
    url = databases.create("sqlite")
    lab = Lab(url, FixedClock(START), wrong)
    OPERATIONS["charge"].run(lab.sound._engine, "ana")
    with pytest.raises(AssertionError, match=r"not moved|moved 2 times"):
        lab.audit()
    lab.close()
    databases.drop(url)


def test_the_matrix_is_whole() -> None:
    every = every_cell()
    assert len(every) == len(set(every)) == 4 * (4 * 6 + 5 + 4)
    assert {cell.ending for cell in sample()} == set(ENDINGS)
    assert {(cell.operation, cell.place) for cell in sample()} == {
        (one, place) for one in OPERATIONS for place in PLACES
    }
