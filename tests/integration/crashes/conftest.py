"""The engines that the tests here run on."""

from __future__ import annotations

from support.bench_fixtures import bench, make_bench

__all__ = ["bench", "make_bench"]
