"""Writes of threads and processes at once are exact; and the harness would see it if they were not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agentpay.storage import Store
from support.counting import count, count_naively, counted, make_counter
from support.parallel import run_threads, values

JOB = "support.counting:count_in_process"


def repeat(times: int, fn: Callable[[Store], None], store: Store) -> None:
    for _ in range(times):
        fn(store)


def test_threads_lose_no_count(store: Store) -> None:
    make_counter(store)
    values(run_threads(8, lambda _: repeat(10, count, store)))
    assert counted(store) == 80


def test_processes_lose_no_count(store: Store, database: str, run_processes: Callable[..., list[Any]]) -> None:
    make_counter(store)
    values(run_processes(4, JOB, (database, 20, False)))
    assert counted(store) == 80


def test_the_harness_finds_lost_counts_of_threads(store: Store) -> None:
    make_counter(store)
    values(run_threads(8, lambda _: repeat(10, count_naively, store)))
    assert counted(store) < 80


def test_the_harness_finds_lost_counts_of_processes(
    store: Store, database: str, run_processes: Callable[..., list[Any]]
) -> None:
    make_counter(store)
    values(run_processes(4, JOB, (database, 20, True)))
    assert counted(store) < 80
