"""Fixtures with a whole engine; a conftest imports those that its folder needs.

`bench` is an engine of the test's own on a fresh database; `make_bench` makes one with another policy or clock; both
are audited after the test. `shared` is one engine for all tests of a module: each uses customers of its own (`ana`,
`ben`), moves the clock only forwards, and leaves the policy alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentpay.clock import FixedClock
from conftest import START
from support.bench import Bench
from support.databases import Databases

__all__ = ["ana", "bench", "ben", "make_bench", "shared", "shared_engine"]

MakeBench = Callable[..., Bench]

_NUMBERS = itertools.count(1)


@pytest.fixture
def make_bench(database: str, clock: FixedClock) -> Iterator[MakeBench]:
    """Makes engines on the test's database: `make_bench(policy=…, clock=…)`. Each is audited after the test."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(**{"url": database, "clock": clock, **options}))
        return made[-1]

    yield make
    for bench in made:
        bench.check()
        bench.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """An engine on a fresh database, with a policy that lets `bot` do nearly everything."""
    return make_bench()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_engine(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Bench]:
    """The engine behind `shared`."""
    url = databases.create(request.param)
    made = Bench(url, clock=FixedClock(START))
    yield made
    made.close()
    databases.drop(url)


@pytest.fixture
def shared(shared_engine: Bench) -> Iterator[Bench]:
    """One engine for all tests of a module, audited after each."""
    yield shared_engine
    shared_engine.check()


@pytest.fixture
def ana() -> str:
    """A customer that no other test has."""
    return f"ana-{next(_NUMBERS)}"


@pytest.fixture
def ben() -> str:
    """Another one."""
    return f"ben-{next(_NUMBERS)}"
