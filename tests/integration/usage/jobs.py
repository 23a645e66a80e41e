"""What worker processes do to the usage of a store."""

from __future__ import annotations

from agentpay.errors import UsageLimitExceeded
from agentpay.ids import RandomIds
from agentpay.storage import Store
from agentpay.usage.service import UsageTracker
from support.parallel import run_threads, values


def use_up(_index: int, url: str, threads: int, each: int) -> int:
    """Record in threads, each so often, and return how many were accepted."""
    store, ids = Store(url), RandomIds()
    tracker = UsageTracker(store, ids=ids)

    def work(_: int) -> int:
        accepted = 0
        for _n in range(each):
            try:
                tracker.record("ana", "api", idempotency_key=ids.new("key"))
                accepted += 1
            except UsageLimitExceeded:
                continue
        return accepted

    total = sum(values(run_threads(threads, work)))
    store.close()
    return total
