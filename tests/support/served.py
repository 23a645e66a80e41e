"""The servers of the providers behind a socket, in a process of their own: they outlive a client that dies.

One process serves them all; each database has a server, made when it is first asked for. `ask` goes to it from any
process, a fork of this one included: a question, an answer, and the connection is closed.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, Final, Protocol

from agentpay.clock import FixedClock
from agentpay.providers.paypal_ids import Mark
from agentpay.providers.stripe_requests import KEY
from agentpay.testing.paypal_fake import PayPalFake
from agentpay.testing.stripe_fake import Effect, StripeFake

Movement = tuple[str, str, int, str]
"""Money that moved: charge or refund, the key of its request, minor units, currency."""

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Server(Protocol):
    """What is asked of a server; each method is one question."""

    def settings(self) -> Mapping[str, str]:
        """What a client needs to reach it."""
        ...

    def at(self, now: datetime) -> int:
        """Set its clock to the client's, which cannot be seen from there. How often money moved until now."""
        ...

    def payer(self) -> str:
        """A new payer with a saved method, as `link_customer` takes them."""
        ...

    def arrange(self, ending: str) -> None:
        """Let the next request that moves money end so; `ok` takes back what was arranged."""
        ...

    def is_first(self, key: str) -> bool:
        """Whether nobody asked this of a key before."""
        ...

    def movements(self) -> list[Movement]:
        """Every movement of money."""
        ...


class _Asked:
    def __init__(self) -> None:
        self._asked: set[str] = set()

    def is_first(self, key: str) -> bool:
        first = key not in self._asked
        self._asked.add(key)
        return first


class StripeServer(_Asked):
    """A Stripe. A charge moves money when its intent is confirmed."""

    _FAULTS: Final[Mapping[str, Any]] = {
        "timeout_before": "drop_before",
        "timeout_after": "drop_after",
        "error_after": "500_after",
        "malformed": "html_after",
    }

    def __init__(self) -> None:
        super().__init__()
        self._clock = FixedClock(_START)
        self._fake = StripeFake(clock=self._clock)

    def settings(self) -> Mapping[str, str]:
        return {name.removeprefix("STRIPE_").lower(): value for name, value in self._fake.environment.items()}

    def at(self, now: datetime) -> int:
        self._clock.set(now)
        return len(self._fake.effects())

    def payer(self) -> str:
        return self._fake.customer()

    def arrange(self, ending: str) -> None:
        books, declines = self._fake.books, ending == "decline"
        with books.lock:
            self._fake.heal()
            books.acts = dict.fromkeys(books.acts, "decline:generic_decline" if declines else "ok")
            books.refund_status = "failed" if declines else "succeeded"
        for op in ("confirm", "refund") if ending in self._FAULTS else ():
            self._fake.fail(self._FAULTS[ending], op=op)

    def movements(self) -> list[Movement]:
        return [(one.kind, self._began(one), one.units, one.currency.upper()) for one in self._fake.effects()]

    def _began(self, effect: Effect) -> str:
        """The key of the request that began it: of a charge, that which made the intent."""
        return str(self._fake.books.intents[effect.intent]["metadata"][KEY] if effect.kind == "charge" else effect.key)


class PayPalServer(_Asked):
    """A PayPal. A charge of a saved method moves money by its one request."""

    _FAULTS: Final[Mapping[str, Any]] = {
        "timeout_before": "drop_before",
        "timeout_after": "drop_after",
        "error_after": "error_after",
        "malformed": "malformed",
    }

    def __init__(self) -> None:
        super().__init__()
        self._clock = FixedClock(_START)
        self._fake = PayPalFake(clock=self._clock).__enter__()

    def settings(self) -> Mapping[str, str]:
        fake = self._fake
        return {"client_id": fake.client_id, "client_secret": fake.client_secret, "endpoint": fake.url}

    def at(self, now: datetime) -> int:
        self._clock.set(now)
        return self._fake.effects()

    def payer(self) -> str:
        return self._fake.save_method()

    def arrange(self, ending: str) -> None:
        books = self._fake.books
        self._fake.faults.clear()
        books.refusals.clear()
        if ending == "decline":
            books.refusals |= dict.fromkeys(books.saved, "INSTRUMENT_DECLINED")
            books.refusals |= dict.fromkeys(books.captures, "REFUND_NOT_ALLOWED")
        for step in ("charge", "refund") if ending in self._FAULTS else ():
            self._fake.fault(step, self._FAULTS[ending])

    def movements(self) -> list[Movement]:
        found = ((Mark.read(one.key), one) for one in self._fake.movements())
        return [(one.kind, mark.key if mark else one.key, one.money.minor, one.money.currency) for mark, one in found]


_KINDS: Final[Mapping[str, Callable[[], Server]]] = {"stripe": StripeServer, "paypal": PayPalServer}


def ask(kind: str, url: str, question: str, *given: object) -> Any:
    """Ask the server of a kind that belongs to a database."""
    with Client(_address()) as line:
        line.send((kind, url, question, given))
        return line.recv()


@cache
def _address() -> tuple[str, int]:
    """Where the process answers; it is started by the first question, and ends with this process."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    there.close()
    _kept.append(here)
    address: tuple[str, int] = here.recv()
    return address


_kept: list[Connection] = []
"""The end of the pipe by which the process sees that this one is gone."""


def _serve(pipe: Connection) -> None:
    servers: dict[tuple[str, str], Server] = {}
    with Listener(("127.0.0.1", 0), backlog=16) as listener:
        pipe.send(listener.address)
        threading.Thread(target=_end_with, args=(pipe,), daemon=True).start()
        while True:
            with listener.accept() as line:
                kind, url, question, given = line.recv()
                if (kind, url) not in servers:
                    servers[kind, url] = _KINDS[kind]()
                line.send(getattr(servers[kind, url], question)(*given))


def _end_with(pipe: Connection) -> None:
    try:
        pipe.recv()
    except (EOFError, OSError):
        os._exit(0)
