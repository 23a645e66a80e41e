"""Whole engines for the tests of the worker."""

from __future__ import annotations

from support.bench_fixtures import bench, make_bench

__all__ = ["bench", "make_bench"]
