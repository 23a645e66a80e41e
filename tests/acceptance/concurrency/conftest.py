"""The engines that the tests here run on."""

from __future__ import annotations

from support.bench_fixtures import make_bench

__all__ = ["make_bench"]
