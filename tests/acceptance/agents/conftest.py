"""Fixtures of the tests with agents: an engine on SQLite."""

from __future__ import annotations

import pytest

from support.bench_fixtures import make_bench

__all__ = ["dialect", "make_bench"]


@pytest.fixture
def dialect() -> str:
    return "sqlite"
