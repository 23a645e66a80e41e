"""What goes wrong between a client and the fake, on demand: by kind of request, by key, so many times."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal, get_args

FaultName = Literal[
    "drop_before", "drop_after", "timeout_before", "timeout_after", "late", "500_before", "500_after", "503", "429",
    "409", "401", "403", "html_before", "html_after", "cut_after", "redirect", "odd_after",
    "other_after",
]  # fmt: skip
"""`before`: nothing is done. `after`: it is done, and its answer is lost or spoilt. `late`: it is done after the client
gave up. `500_after` is what the key answers from then on. `other_after`: it is done, and the answer is the first of its
kind that was ever made, which is another one's."""

AFTER: frozenset[str] = frozenset(
    {"drop_after", "timeout_after", "500_after", "html_after", "cut_after", "odd_after", "other_after", "late"}
)

STATUS: dict[str, tuple[int, str, str]] = {
    "500_before": (500, "api_error", ""),
    "500_after": (500, "api_error", ""),
    "503": (503, "api_error", ""),
    "429": (429, "invalid_request_error", "rate_limit"),
    "409": (409, "idempotency_error", "idempotency_key_in_use"),
    "401": (401, "invalid_request_error", ""),
    "403": (403, "invalid_request_error", ""),
}


@dataclass
class Fault:
    """A fault that waits for its requests. None as `op` or `key` means any."""

    name: FaultName
    op: str | None
    key: str | None
    times: int
    skip: int

    def meets(self, op: str, key: str | None) -> bool:
        """Whether a request is one of those."""
        return self.times > 0 and self.op in (None, op) and self.key in (None, key)


class Faults:
    """The faults that wait, the first first. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, name: FaultName, *, op: str | None, key: str | None, times: int, skip: int) -> None:
        """Let the next requests of a kind, or of a key, meet a fault; `skip` of them pass before."""
        if name not in get_args(FaultName):
            raise ValueError(f"there is no fault {name!r}")
        with self._lock:
            self._waiting.append(Fault(name, op, key, times, skip))

    def next_for(self, op: str, key: str | None) -> FaultName | None:
        """What a request meets; that time is used up."""
        with self._lock:
            for fault in self._waiting:
                if fault.meets(op, key):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault.name
        return None

    def clear(self) -> None:
        """Let everything pass."""
        with self._lock:
            self._waiting.clear()
