"""A process that dies in the middle of a call to the provider, as if it was killed: no clean-up, no answer."""

from __future__ import annotations

import os
from collections.abc import Callable

from agentpay.manager import PaymentManager
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_script import CRASH_EXIT, crash_at
from agentpay.providers.mock_store import books_beside
from support.bench import Bench


def dies(bench: Bench, point: str, call: Callable[[PaymentManager], object]) -> None:
    """Run `call` in a process of its own, on the database of `bench`; the process dies at a point of the mock's."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            mock = MockProvider(books_beside(bench.url), clock=bench.clock, script=crash_at(point))
            call(PaymentManager(bench.url, provider=mock, policy=False, throttle="off", clock=bench.clock))
        except BaseException as exc:
            os.write(2, f"the child did not die: {type(exc).__name__}: {exc}\n".encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == CRASH_EXIT, "the child was to die at the mock's point"
