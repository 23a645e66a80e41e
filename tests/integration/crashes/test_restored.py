"""A database that was restored from a copy sends the same keys, and the provider's books move nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentpay.clock import FixedClock
from agentpay.manager import PaymentManager
from conftest import START
from support.databases import Databases
from support.failing import Died, Places, closed, watched_engine
from support.fakes import FAKES
from support.matrix import OPERATIONS, Lab, Operation


@pytest.fixture(params=FAKES, ids=lambda fake: fake.name)
def lab(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Lab]:
    """On SQLite: there the books of each provider lie elsewhere, and outlive what is restored."""
    url = databases.create("sqlite")
    made = Lab(url, FixedClock(START), request.param)
    yield made
    databases.drop(url)


def path(lab: Lab) -> Path:
    return Path(lab.url.removeprefix("sqlite:///"))


def backed_up(lab: Lab) -> Path:
    """A copy of the closed database; `lab.sound` is opened anew."""
    lab.close()
    copy = path(lab).with_suffix(".copy")
    shutil.copyfile(path(lab), copy)
    lab.sound = lab.started()
    return copy


def restore(lab: Lab, copy: Path) -> None:
    lab.close()
    for found in path(lab).parent.glob(f"{path(lab).name}-*"):
        found.unlink()  # its log belongs to what is replaced
    shutil.copyfile(copy, path(lab))
    lab.sound = lab.started()


def keys(lab: Lab) -> set[str]:
    return {effect.key for effect in lab.effects()}


def ready(lab: Lab, name: str) -> tuple[Operation, Callable[[PaymentManager], object]]:
    operation = OPERATIONS[name]
    lab.fake.meet(lab.sound, lab.url, "ana")
    operation.prepare(lab.sound, "ana")
    if name == "renew":
        lab.clock.advance(START.replace(day=2) - START.replace(day=1))
    return operation, lambda manager: operation.run(manager._engine, "ana")


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_copy_from_before_the_operation_repeats_it_by_the_same_key(lab: Lab, name: str) -> None:
    """The copy knows nothing of it: the same call makes a new row, and the key that the provider knows already."""
    _, call = ready(lab, name)
    copy, before = backed_up(lab), lab.effects()
    call(lab.sound)
    first = keys(lab)
    restore(lab, copy)
    call(lab.sound)
    lab.clock.advance(lab.fake.lease)
    lab.sound.reconcile()
    assert keys(lab) == first and len(lab.effects()) == len(before) + 1
    lab.audit()
    lab.close()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_copy_from_the_middle_of_the_operation_looks_it_up_by_the_same_key(lab: Lab, name: str) -> None:
    operation, call = ready(lab, name)
    before = lab.effects()
    places = Places("after_first_commit")
    provider = lab.fake.provider(lab.url, lab.clock, places)
    engine = watched_engine(lab.url, lab.clock, provider, places)
    with pytest.raises(Died):
        operation.run(engine, "ana")
    closed(engine)
    copy = backed_up(lab)
    lab.clock.advance(lab.fake.lease)
    lab.sound.reconcile()  # proved not sent,
    call(lab.sound)  # and paid by a second attempt
    restore(lab, copy)
    lab.sound.reconcile()  # the copy proves the same of its first attempt,
    call(lab.sound)  # and its second one has the key of the second one
    lab.sound.reconcile()
    assert len(lab.effects()) == len(before) + 1
    lab.audit()
    lab.close()
