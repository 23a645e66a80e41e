"""The places at which a transfer of ours on a chain can die: every commit of its way, before and after; the signer; the
node that is given its bytes. See `support.failing` for those of any payment.

    [opened] → quote → [reserved] → [signing] → [stored] → [recorded] → [marked] → [broadcast] → look → [settled]

The engine's own commits and those of the chain's books are told apart by what they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, Literal, cast, get_args

import sqlalchemy as sa

from agentpay.clock import Clock
from agentpay.manager.wiring import Engine, wire
from agentpay.payments.queries import ATTEMPTS
from agentpay.providers.crypto.libraries import JSONBaseProvider, RPCEndpoint, RPCResponse
from agentpay.providers.crypto.provider import CryptoProvider
from agentpay.providers.crypto.rpc import Endpoint
from agentpay.providers.crypto.signers import KeySigner, Unsigned
from agentpay.providers.crypto.tables import ChainRawRow, ChainSendRow
from agentpay.providers.registry import Providers
from agentpay.spending.throttle import Throttle
from agentpay.storage import Store
from agentpay.storage.backends import backend_for
from agentpay.storage.types import table
from agentpay.testing.chain import LocalChain
from support.failing import Died, WatchedBackend
from support.rpc_server import ask

Step = Literal["opened", "reserved", "signing", "stored", "recorded", "marked", "broadcast", "settled"]
STEPS: Final[tuple[Step, ...]] = get_args(Step)
Spot = tuple[Literal["before", "after"], Step]
SPOTS: Final[tuple[Spot, ...]] = tuple((when, step) for step in STEPS for when in ("before", "after"))

_ENOUGH_GAS: Final = hex(100_000)
_SENDS, _RAWS = table(ChainSendRow), table(ChainRawRow)


def _count(column: sa.ColumnElement[Any], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count(column)).where(*where).scalar_subquery()


_STANDS: Final = sa.select(
    _count(ATTEMPTS.c.id).label("opened"),
    _count(_SENDS.c.id).label("reserved"),
    _count(_RAWS.c.tx_hash).label("stored"),
    _count(ATTEMPTS.c.id, ATTEMPTS.c.step == "broadcast").label("recorded"),
    _count(_SENDS.c.id, _SENDS.c.state == "sent").label("marked"),
    _count(ATTEMPTS.c.id, ATTEMPTS.c.outcome != "sent").label("settled"),
)
_TOLD_FIRST: Final[tuple[Step, ...]] = ("recorded", "opened", "reserved", "stored", "marked", "settled")
"""A broadcast's record opens an attempt and answers the one before it: it is told by what is only its own."""


class Spots:
    """Dies at one spot, the first time that it is reached."""

    def __init__(self, at: Spot | None = None) -> None:
        self._at = at
        self.reached: list[Spot] = []

    def __call__(self, when: Literal["before", "after"], step: Step) -> None:
        self.reached.append((when, step))
        if self._at == (when, step):
            self._at = None
            raise Died


class DyingBackend(WatchedBackend):
    """A backend whose commits call the spots."""

    def __init__(self, url: str, clock: Clock, spots: Spots) -> None:
        super().__init__(backend_for(url, clock=clock, lock_timeout=10.0), cast(Any, None))
        self._spots = spots

    @contextmanager
    def writing(self, *, accept_clock: bool) -> Iterator[tuple[sa.Connection, Callable[[], datetime]]]:
        with self._inner.writing(accept_clock=accept_clock) as (conn, time):
            before = conn.execute(_STANDS).one()._mapping
            yield conn, time
            after = conn.execute(_STANDS).one()._mapping
            step = next((one for one in _TOLD_FIRST if after[one] > before[one]), None)
            if step is not None:
                self._spots("before", step)
        if step is not None:
            self._spots("after", step)


class DyingSigner(KeySigner):
    """A signer that calls the spots."""

    def __init__(self, key: str, spots: Spots) -> None:
        super().__init__(key)
        self._spots = spots

    def sign(self, unsigned: Unsigned) -> bytes:
        self._spots("before", "signing")
        raw = super().sign(unsigned)
        self._spots("after", "signing")
        return raw


class DyingNode(JSONBaseProvider):
    """A chain that calls the spots when it is given a transaction. How much gas a transfer takes it does not work out:
    py-evm does that by trying it several times."""

    def __init__(self, chain: LocalChain, spots: Spots) -> None:
        super().__init__()
        self._chain = chain
        self._spots = spots

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        if method == "eth_sendRawTransaction":
            self._spots("before", "broadcast")
        said = {"result": _ENOUGH_GAS} if method == "eth_estimateGas" else ask(self._chain, method, params)
        if method == "eth_sendRawTransaction":
            self._spots("after", "broadcast")
        return cast(RPCResponse, {"jsonrpc": "2.0", "id": 0, **said})


def watched_endpoint(chain: LocalChain, spots: Spots) -> Endpoint:
    """A way to read a chain that calls the spots."""
    return Endpoint("local", DyingNode(chain, spots))


def dying_engine(url: str, clock: Clock, chain: LocalChain, spots: Spots, new: Callable[..., CryptoProvider]) -> Engine:
    """An engine with a provider, all of whose spots are called. `new` makes the provider of these options."""
    provider = new(
        endpoints=[watched_endpoint(chain, spots)],
        signer=DyingSigner(chain.key(1), spots),
        private_key=None,
    )
    provider._books._store = Store(url, clock=clock, backend=DyingBackend(url, clock, spots))
    store = Store(url, clock=clock, backend=DyingBackend(url, clock, spots))
    return wire(store, Providers([provider]), throttle=Throttle.parse("off"))
