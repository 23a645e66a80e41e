"""Sums over a window of time at any point of an order: what lets every past decision be checked again at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime


class WindowSums:
    """Values at moments, added one after the other; `since` sums those added so far, from a moment on (None: all).

    A Fenwick tree over the moments, which must all be known before: so the clock may have gone back in between.
    """

    def __init__(self, moments: Iterable[datetime]) -> None:
        self._moments = sorted(set(moments))
        self._tree = [0] * (len(self._moments) + 1)
        self._total = 0

    def add(self, moment: datetime, value: int) -> None:
        """Add a value at one of the moments."""
        self._total += value
        place = bisect_left(self._moments, moment) + 1
        while place < len(self._tree):
            self._tree[place] += value
            place += place & -place

    def since(self, start: datetime | None) -> int:
        """The sum of what was added so far at `start` or later."""
        place = 0 if start is None else bisect_left(self._moments, start)
        before = 0
        while place > 0:
            before += self._tree[place]
            place -= place & -place
        return self._total - before
