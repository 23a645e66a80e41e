"""A `Steps` in memory: what the engine does with the requests of a charge, without a database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agentpay.providers.base import Request


@dataclass(frozen=True)
class RecordedStep:
    """One request as it was recorded. `reference` is what proved the request before it."""

    name: str
    key: str
    request: Request
    reference: str | None


class RecordingSteps:
    """Enforces what the engine relies on: a request is recorded before it is sent, and sent only as recorded.

    A provider that breaks a rule gets an `AssertionError`. `on_record` is called with each later step before it
    counts as recorded: what it raises is a commit that failed, and nothing may be sent after it.

    >>> steps = RecordingSteps({"op": "charge"}, key="k")
    >>> steps.key
    'k-1'
    """

    def __init__(
        self,
        request: Request,
        *,
        key: str,
        name: str = "charge",
        on_record: Callable[[RecordedStep], None] | None = None,
    ) -> None:
        self._base = key
        self._on_record = on_record
        self._used = False
        self._over = False
        self.recorded: list[RecordedStep] = []
        self._append(name, request, None)

    @property
    def key(self) -> str:
        self._check_open()
        self._used = True
        return self.recorded[-1].key

    @property
    def request(self) -> Request:
        self._check_open()
        self._used = True
        return self.recorded[-1].request

    def record(self, name: str, request: Request, *, reference: str) -> None:
        self._check_open()
        assert self._used, "the next request was recorded although the one before it was never sent"
        assert reference, "a later request needs the provider's id of what the request before it made"
        self._append(name, request, reference)

    def finish(self) -> None:
        """The call is over: the provider may not use these steps any more."""
        self._over = True

    def check_sent(self, key: str, request: Request) -> None:
        """Call it where a fake server receives a request: it must be the current one, exactly as it was recorded."""
        step = self.recorded[-1]
        assert key == step.key, f"a request was sent with the key {key!r}, which is not that of the recorded one"
        assert dict(request) == dict(step.request), "the request that was sent is not the one that was recorded"

    def _check_open(self) -> None:
        assert not self._over, "the steps of a call were used after the call was over"

    def _append(self, name: str, request: Request, reference: str | None) -> None:
        assert name, "a step needs a name"
        step = RecordedStep(name, f"{self._base}-{len(self.recorded) + 1}", _stored(request), reference)
        if self.recorded and self._on_record is not None:
            self._on_record(step)
        self.recorded.append(step)
        self._used = False


def _stored(request: Request) -> Mapping[str, object]:
    """The request as it comes back from storage: through JSON, and not to be changed any more."""
    check_json(request)
    stored: dict[str, object] = json.loads(json.dumps(dict(request), allow_nan=False))
    return MappingProxyType(stored)


def check_json(request: Request) -> None:
    """Check that a request can be stored and comes back as it was; money is never a float.

    Raises:
        AssertionError: it cannot, or does not.
    """
    try:
        text = json.dumps(dict(request), allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise AssertionError(f"a request must be JSON data: {exc}") from None
    assert json.loads(text) == dict(request), "a request must come back from JSON as it was: no tuples, no other keys"
    assert not _has_float(dict(request)), "a request must hold no float: amounts are strings or whole minor units"


def _has_float(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_float(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_float(item) for item in value)
    return isinstance(value, float)
