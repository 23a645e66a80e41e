"""Fixtures of the LangChain tests: an engine on SQLite (PostgreSQL has the engine's own tests)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentpay.clock import FixedClock
from conftest import START
from support.bench import Bench, policy
from support.bench_fixtures import bench, make_bench
from support.databases import Databases

__all__ = ["anyio_backend", "bench", "dialect", "make_bench", "shop", "shop_engine"]


@pytest.fixture
def dialect() -> str:
    return "sqlite"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shop_engine(databases: Databases) -> Iterator[Bench]:
    """The engine behind `shop`: its policy names `bot`, `third`, who may do the same, and `idle`, who may nothing."""
    made = Bench(
        databases.create("sqlite"),
        clock=FixedClock(START),
        policy=policy({"bot": {}, "third": {}, "idle": {"tools": []}}),
    )
    yield made
    made.check()
    made.close()


@pytest.fixture
def shop(shop_engine: Bench) -> Iterator[Bench]:
    """One engine for the tests of a module that move nothing, which is checked."""
    before = shop_engine.movements()
    yield shop_engine
    assert shop_engine.movements() == before
