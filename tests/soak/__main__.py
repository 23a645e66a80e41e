"""`python -m soak`: see the package."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentpay.clock import FixedClock
from conftest import START
from soak.runs import Run, Tally
from support.databases import Databases, Dialect
from support.fakes import FAKES, SERVED, Fake
from support.matrix import How, Lab, every_cell
from support.postgres import Postgres, PostgresUnavailable
from support.workload import work

_HEAD: Final = ("part", "operations", "kills", "unknowns resolved", "doubles", "losses", "broken invariants")
_SHOWN: Final = 5
_CELLS_AT_ONCE: Final = 33
_STEPS: Final = 50
_FEWER: Final = 5
"""Of the random runs, behind a socket only one in so many is made: they take their time."""


def main(arguments: list[str]) -> int:
    """Run what was asked for, and print what was found."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="agentpay-soak-") as folder:
        try:
            server = Postgres(Path(folder) / "postgres") if "postgresql" in asked.on else None
        except PostgresUnavailable as exc:
            print(f"PostgreSQL NOT TESTED: {exc}")
            return 1
        databases = Databases(Path(folder), lambda: _some(server))
        try:
            return _all(databases, asked)
        finally:
            if server is not None:
                server.close()


def _all(databases: Databases, asked: argparse.Namespace) -> int:
    end, found, left_out = time.monotonic() + asked.seconds, dict[str, Tally](), 0
    print(_line(_HEAD), flush=True)
    for name, part in _parts(databases, asked):
        if time.monotonic() > end:
            left_out += 1
            continue
        found[name] = part.go()
        print(_line(_row(name, found[name])), flush=True)
    total = Tally()
    for one in found.values():
        total.operations += one.operations
        total.kills += one.kills
        total.unknowns += one.unknowns
        total.doubles += one.doubles
        total.losses += one.losses
        total.broken += one.broken
    print(_line(_row("all", total)))
    for fault in (*total.doubles, *total.losses, *total.broken)[:_SHOWN]:
        print(f"FAULT: {fault}")
    if left_out:
        print(f"NOT DONE: {left_out} parts, for want of time (--seconds).")
    return 1 if left_out or total.doubles or total.losses or total.broken else 0


class Matrix:
    """The whole matrix in one way on one kind of database."""

    def __init__(self, databases: Databases, dialect: Dialect, how: How, fake: Fake) -> None:
        self._databases, self._dialect, self._how, self._fake = databases, dialect, how, fake

    def go(self) -> Tally:
        """Run it, some cells on each database."""
        tally, cells = Tally(), every_cell()
        for first in range(0, len(cells), _CELLS_AT_ONCE):
            url = self._databases.create(self._dialect)
            lab = Lab(url, FixedClock(START), self._fake)
            for cell in cells[first : first + _CELLS_AT_ONCE]:
                try:
                    lab.run(cell, self._how)
                except AssertionError as fault:
                    tally.losses.append(str(fault))
                tally.operations += 1
                tally.kills += self._how == "kill"
            tally.unknowns += lab.resolved
            tally.add(lab.findings())
            lab.close()
            self._databases.drop(url)
        return tally


class RandomRun:
    """One random run on a database of its own."""

    def __init__(self, databases: Databases, dialect: Dialect, seed: int, operations: int, fake: Fake) -> None:
        self._databases, self._dialect = databases, dialect
        self._seed, self._operations, self._fake = seed, operations, fake

    def go(self) -> Tally:
        """Run it."""
        url = self._databases.create(self._dialect)
        tally = Run(url, self._seed, self._operations, self._fake).go()
        self._databases.drop(url)
        return tally


class Predicted:
    """The workload with its model, made up anew from the seed. A call that ends otherwise is a broken invariant."""

    def __init__(self, databases: Databases, dialect: Dialect, seed: int, examples: int) -> None:
        self._databases, self._dialect, self._seed, self._examples = databases, dialect, seed, examples

    def go(self) -> Tally:
        """Run it."""
        tally = Tally(operations=self._examples * _STEPS)
        try:
            work(
                lambda: self._databases.create(self._dialect),
                self._databases.drop,
                examples=self._examples,
                steps=_STEPS,
                seed=self._seed,
            )
        except AssertionError as fault:
            tally.broken.append(str(fault))
        return tally


def _parts(databases: Databases, asked: argparse.Namespace) -> Iterator[tuple[str, Matrix | RandomRun | Predicted]]:
    for dialect in asked.on:
        if asked.examples:
            yield f"{dialect} workload and model", Predicted(databases, dialect, asked.seed, asked.examples)
    hows: tuple[How, How] = ("exception", "kill")
    for fake in (fake for fake in FAKES if fake.name in asked.providers):
        for dialect in asked.on:
            for how in () if asked.no_matrix else hows:
                yield f"{fake.name} {dialect} matrix by {how}", Matrix(databases, dialect, how, fake)
            for n in range(asked.runs if fake not in SERVED else -(-asked.runs // _FEWER)):
                seed = asked.seed + n
                run = RandomRun(databases, dialect, seed, asked.operations, fake)
                yield f"{fake.name} {dialect} run, seed {seed}", run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="soak", description="The whole crash matrix, and random runs with kills.")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the first run; each later one has the next")
    parser.add_argument("--runs", type=int, default=20, help="random runs on each database; a fifth behind a socket")
    parser.add_argument("--operations", type=int, default=1000, help="operations in a run")
    parser.add_argument("--examples", type=int, default=200, help="examples of the workload with a model")
    parser.add_argument("--seconds", type=float, default=5400, help="nothing new is begun after so long: then it fails")
    parser.add_argument("--on", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    names = [fake.name for fake in FAKES]
    parser.add_argument("--providers", nargs="+", choices=names, default=names)
    parser.add_argument("--no-matrix", action="store_true", help="the random runs only")
    return parser


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    counts = (tally.operations, tally.kills, tally.unknowns, *map(len, (tally.doubles, tally.losses, tally.broken)))
    return (name, *(str(count) for count in counts))


def _line(cells: tuple[str, ...]) -> str:
    widths = (34, *(max(10, len(title)) for title in _HEAD[1:]))
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)])


def _some(server: Postgres | None) -> Postgres:
    assert server is not None, "PostgreSQL was not asked for"
    return server


if __name__ == "__main__":
    logging.getLogger("agentpay").setLevel(logging.ERROR)  # that providers fail is the point of it
    sys.exit(main(sys.argv[1:]))
