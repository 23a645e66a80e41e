"""The one way to PayPal for both of its SDKs: a session with an end to everything.

A plain `requests` time-out runs anew with every byte, follows redirects with the request, takes passwords from a file
in the user's home, and reads an answer of any size. Here a whole exchange ends by a deadline, there are no redirects,
credentials are only ours, and an answer has at most 4 MB.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.util import Timeout

MOST_BYTES: Final = 4 * 1024 * 1024

_CHUNK: Final = 16 * 1024
_BEFORE_SENDING: Final = (ConnectTimeoutError, NewConnectionError, NameResolutionError, ProxyError)


class NotReached(Exception):
    """No connection came about, so nothing was sent."""


class NoReply(Exception):
    """The request may have arrived; no whole answer came back."""


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """No other credentials than those that the request has."""
    return request


class Session(requests.Session):
    """A session in which each exchange takes at most `timeout` seconds, and all of a block of `within` at most its own.

    Safe to share between threads, as far as `requests` is. Nothing of a request or an answer is logged.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout
        self._ends = threading.local()
        self.auth = _as_given  # otherwise a .netrc in somebody's home takes the place of our token
        self._pid = 0

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """All exchanges of this thread in the block end within so many seconds together."""
        before = getattr(self._ends, "at", None)
        self._ends.at = time.monotonic() + seconds
        try:
            yield
        finally:
            self._ends.at = before

    def left(self) -> float:
        """The seconds that the next exchange of this thread may take."""
        end = getattr(self._ends, "at", None)
        return self.timeout if end is None else min(self.timeout, end - time.monotonic())

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - none is followed
        """Nowhere: a redirect is an answer as it stands."""
        return None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request and read the whole answer before the deadline.

        Raises:
            NotReached: there was no connection.
            NoReply: anything else that is no whole answer.
        """
        self._own_connections()
        left = self.left()
        if left <= 0:
            raise NotReached("no time is left")
        end = time.monotonic() + left
        given = {**kwargs, "stream": True, "timeout": Timeout(total=left)}
        try:
            response = super().send(request, **given)
        except (requests.ConnectionError, requests.Timeout) as exc:
            raise _failure(exc) from None
        except (requests.RequestException, HTTPError, OSError) as exc:
            raise NoReply(type(exc).__name__) from None
        try:
            response._content = _read(response, end)
        finally:
            response.close()
        return response

    def _own_connections(self) -> None:
        """Share no connection with the process that this one was forked from: each would get the other's answers."""
        if self._pid != os.getpid():
            self.mount("https://", HTTPAdapter(max_retries=0, pool_maxsize=20))
            self.mount("http://", HTTPAdapter(max_retries=0, pool_maxsize=20))
            self._pid = os.getpid()


@contextmanager
def waiting(lock: threading.Lock, seconds: float) -> Iterator[bool]:
    """Hold a lock, if it comes free in time: whether it did."""
    ours = lock.acquire(timeout=max(seconds, 0.0))
    try:
        yield ours
    finally:
        if ours:
            lock.release()


def _read(response: requests.Response, end: float) -> bytes:
    read = b""
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):  # whatever is there: a full chunk may never be
            read += chunk
            if len(read) > MOST_BYTES:
                raise NoReply("the answer is too long")
            if time.monotonic() > end:
                raise NoReply("the answer took too long")
    except (requests.RequestException, HTTPError, OSError) as exc:
        raise NoReply(type(exc).__name__) from None
    return read


def _failure(exc: requests.RequestException) -> NotReached | NoReply:
    """Whether the request can have left. A connection that was kept open and broke proves nothing."""
    cause: Any = exc.args[0] if exc.args else exc
    reason: Any = getattr(cause, "reason", cause)
    if isinstance(reason, SSLError) and reason.args and isinstance(reason.args[0], ssl.SSLCertVerificationError):
        return NotReached("its certificate is not trusted")
    if isinstance(reason, _BEFORE_SENDING):
        return NotReached(type(reason).__name__)
    return NoReply(type(reason).__name__)
