"""A bounded number of threads of one's own, for an event loop to run the engine in."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Final, TypeVar

from agentpay.errors import ConfigurationError

T = TypeVar("T")

MOST: Final = 16
"""How many calls run at once where nothing else is said; the others wait their turn."""


class Threads:
    """Runs what blocks beside an event loop (asyncio), at most `most` at once.

    A caller that is cancelled is let go, but what has begun is not: it runs to its end, so that no payment is left in
    the middle. What still waits for a thread is not begun.
    """

    def __init__(self, most: int = MOST) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= 1000:
            raise ConfigurationError("The number of threads is a whole number from 1 to 1000.")
        from concurrent.futures import ThreadPoolExecutor  # as below: only where it is used, importing it costs

        self._pool = ThreadPoolExecutor(most, thread_name_prefix="agentpay")
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Run it in a thread, with the context of the caller, and give what it gives.

        Raises:
            ConfigurationError: the threads are closed; nothing was begun.
        """
        import asyncio

        if self._closed:
            raise ConfigurationError("This was closed; nothing was begun.", next_step="Open it again.")
        return await asyncio.wrap_future(self._pool.submit(contextvars.copy_context().run, call))

    def close(self) -> None:
        """Wait for what has begun, and begin nothing more."""
        self._closed = True
        self._pool.shutdown(wait=True)
