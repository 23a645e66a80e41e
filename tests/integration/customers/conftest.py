"""The engines that the tests here run on."""

from __future__ import annotations

from support.bench_fixtures import ana, ben, bench, make_bench, shared, shared_engine

__all__ = ["ana", "bench", "ben", "make_bench", "shared", "shared_engine"]
