"""A random run: a child does the operations until it is killed, and another one goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import struct
import traceback
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentpay.clock import FixedClock
from agentpay.storage import Store
from conftest import START
from soak.operations import CUSTOMERS, perform, plan
from support.failing import PLACES, Places, closed, kill_myself, watched_engine
from support.fakes import Fake
from support.matrix import Findings, Lab, unanswered

_EACH: Final = timedelta(milliseconds=200)
_RESTART: Final = timedelta(seconds=3)
_NUMBER: Final = struct.Struct("<q")
_FAILED: Final = 3
MOST_BETWEEN_KILLS: Final = 25
"""How often a place is passed, at most, before a child is killed there."""


@dataclass
class Tally:
    """What a part of the soak did, and found."""

    operations: int = 0
    kills: int = 0
    unknowns: int = 0
    doubles: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def add(self, found: Findings) -> None:
        """Count what an audit found."""
        self.doubles += found.doubles
        self.losses += found.losses
        self.broken += found.broken


@dataclass
class Run:
    """One run on a database of its own."""

    url: str
    seed: int
    operations: int
    fake: Fake

    def go(self) -> Tally:
        """Do all operations, through every kill; then reconcile and audit."""
        self._steps = plan(self.seed, self.operations)
        self._rng = random.Random(self.seed + 1)
        self._tally, self._open = Tally(), set[str]()
        lab = Lab(self.url, FixedClock(START), self.fake)
        for customer in CUSTOMERS:
            self.fake.meet(lab.sound, self.url, customer)
        lab.close()
        done = 0
        while done < len(self._steps):
            done = self._one_life(done)
        lab.clock.set(self._moment(done))
        self._end(lab)
        self._tally.operations = done
        return self._tally

    def _one_life(self, start: int) -> int:
        """Let a child go on from an operation until it is done or killed. The number of the next operation."""
        place, skip = self._rng.choice(PLACES), self._rng.randrange(MOST_BETWEEN_KILLS)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            self._live(start, Places(place, kill_myself, skip=skip), writer)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            told = pipe.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        begun = [number for (number,) in _NUMBER.iter_unpack(told)]
        if code == 0:
            return len(self._steps)
        if code == -signal.SIGKILL:
            self._tally.kills += 1
            self._note_open()
            return begun[-1] if begun else start
        self._tally.broken.append(f"seed {self.seed}: operation {begun[-1] if begun else start} ended with {code}")
        return (begun[-1] if begun else start) + 1

    def _live(self, start: int, places: Places, writer: int) -> None:
        """The life of a child. It never returns."""
        try:
            clock = FixedClock(self._moment(start))
            provider = self.fake.provider(self.url, clock, places)
            engine = watched_engine(self.url, clock, provider, places)
            engine.payments.reconcile()
            for step in self._steps[start:]:
                clock.set(self._moment(step.number))
                os.write(writer, _NUMBER.pack(step.number))
                perform(engine, self._steps, step)
            closed(engine)
        except BaseException:
            traceback.print_exc()
            os._exit(_FAILED)
        os._exit(0)

    def _moment(self, number: int) -> datetime:
        waited = sum(step.hours for step in self._steps[: number + 1])
        return START + number * _EACH + timedelta(hours=waited) + self._tally.kills * _RESTART

    def _note_open(self) -> None:
        """Remember the attempts that a kill left without an outcome, or that are unknown."""
        store = Store(self.url)
        self._open |= store.read(unanswered)
        store.close()

    def _end(self, lab: Lab) -> None:
        """The last leases end, everything is looked up, and the auditor comes."""
        self._note_open()
        self._tally.add(lab.findings())
        store = Store(self.url)
        since = None if self.fake.forgets is None else lab.clock.now() - self.fake.forgets
        left, told = store.read(lambda tx: (unanswered(tx), unanswered(tx, since)))
        store.close()
        self._tally.unknowns = len(self._open - left)
        self._tally.losses += [f"seed {self.seed}: attempt {one} is still unknown" for one in sorted(told)]
