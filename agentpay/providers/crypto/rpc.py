"""Reading a chain through several endpoints that may be slow, wrong, or behind.

An endpoint is believed only if it answers with the configured chain id, is not behind what was seen before (by block
number, across restarts), and its newest block is young. Everything that can go wrong is a `ChainFault` with a kind;
nothing else leaves this module, and no message holds a URL: a URL may hold a key.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeVar, cast

from agentpay.clock import Clock
from agentpay.providers.crypto.libraries import (
    BaseProvider,
    ContractLogicError,
    HexBytes,
    JSONBaseProvider,
    RPCEndpoint,
    RPCResponse,
    TransactionNotFound,
    Web3,
    Web3Exception,
    Web3RPCError,
)

T = TypeVar("T")

_SENSELESS: Final = (
    Web3Exception,
    http.client.HTTPException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,  # a time or a number that nobody can reckon with
    RecursionError,  # JSON as deep as a stack
)

FaultKind = Literal["unreachable", "rate_limited", "bad_answer", "behind", "wrong_chain", "refused", "reverted"]

_LARGEST_ANSWER: Final = 32 * 1024 * 1024
_REST_SECONDS: Final = 30.0
_LIMIT_CODES: Final = frozenset({-32005, -32097, -32029, 429})
_TOO_MUCH: Final = ("block range", "results", "response size")
_TOO_MUCH_STATUS: Final = frozenset({http.HTTPStatus.BAD_REQUEST, http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
"""By what endpoints say that fewer blocks of logs are to be asked for."""


_MOST: Final = 2**63 - 1
"""The largest number of blocks, transactions or gas that is believed: what our books can hold."""


class ChainFault(Exception):
    """The chain could not be asked, or said no. `kind` says which; the message is fit to be shown."""

    def __init__(self, kind: FaultKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Head:
    """A block: its number, its hash, and when it was made by its own account."""

    number: int
    hash: str
    at: datetime
    base_fee: int | None = None


@dataclass(frozen=True)
class Log:
    """One Transfer log, as the chain has it. `units` are the token's base units, exact."""

    token: str
    tx_hash: str
    log_index: int
    block_number: int
    block_hash: str
    sender: str
    recipient: str
    units: int


@dataclass(frozen=True)
class Receipt:
    """What became of a transaction that is in a block."""

    tx_hash: str
    ok: bool
    block_number: int
    block_hash: str
    transfers: tuple[Log, ...]


class QuietProvider(JSONBaseProvider):
    """JSON-RPC over HTTP without retries, redirects, or logs: web3's own provider writes its URL, which may hold a key,
    and whatever it sends to the log."""

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__()
        self._url = url
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirects())

    def __repr__(self) -> str:
        return f"QuietProvider({label_of(self._url)!r})"

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer: object = json.loads(self._posted(self.encode_rpc_request(method, params)))
        if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
            raise ValueError("no answer in JSON-RPC")
        return cast(RPCResponse, answer)

    def _posted(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "agentpay"}
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")  # noqa: S310 - `endpoint`
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return cast(bytes, answer.read(_LARGEST_ANSWER))
        except urllib.error.HTTPError as exc:
            status = exc.code
            exc.close()
        if status == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise ChainFault("rate_limited", "it asks us to wait (status 429)")
        raise ChainFault("refused" if status in _TOO_MUCH_STATUS else "unreachable", f"status {status}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An endpoint that points elsewhere is not followed."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


def label_of(url: str) -> str:
    """The host of a URL: its path and query may be a key."""
    return urllib.parse.urlsplit(url).hostname or "?"


@dataclass
class Endpoint:
    """One endpoint: what it is called, and how it is asked."""

    label: str
    provider: BaseProvider = field(repr=False)
    resting_until: float = 0.0
    chain_checked: bool = False

    def __post_init__(self) -> None:
        self.provider.global_ccip_read_enabled = False  # a contract may not make us fetch URLs
        self._eth = Web3(self.provider, middleware=[]).eth

    def ask(self, call: Callable[[Any], T]) -> T:
        """Ask web3's `eth`, and turn whatever goes wrong into a fault.

        Raises:
            ChainFault: the endpoint could not be asked, or answered what makes no sense, or said no.
        """
        try:
            return call(self._eth)
        except ChainFault as exc:
            raise ChainFault(exc.kind, f"{self.label}: {exc.message}") from None
        except ContractLogicError as exc:
            raise ChainFault("reverted", f"{self.label}: the contract refuses: {_short(exc)}") from None
        except Web3RPCError as exc:
            raise ChainFault(_kind_of(exc), f"{self.label}: {_short(exc)}") from None
        except OSError as exc:  # time-outs and refused connections
            raise ChainFault("unreachable", f"{self.label}: {type(exc).__name__}") from None
        except _SENSELESS as exc:
            raise ChainFault("bad_answer", f"{self.label}: the answer makes no sense ({type(exc).__name__})") from None


def _kind_of(exc: Web3RPCError) -> FaultKind:
    error: object = (exc.rpc_response or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    too_much = any(word in _short(exc).lower() for word in _TOO_MUCH)  # some say it by the code for too many requests
    return "rate_limited" if code in _LIMIT_CODES and not too_much else "refused"


def _short(exc: Exception) -> str:
    return " ".join(str(getattr(exc, "message", None) or exc).split())[:200]


def endpoint(url: str, timeout: float) -> Endpoint:
    """The endpoint at a URL.

    Raises:
        ValueError: it is no http or https URL, or holds a user's name. The message shows nothing of it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        named = parts.username is not None
    except ValueError:  # whose text may hold what was before the host
        fine = named = False
    if named:
        raise ValueError(
            "a user's name and password in an endpoint's URL are not sent: use one with its key in the path"
        )
    if not fine:
        raise ValueError("an endpoint is an http or https URL")
    return Endpoint(label_of(url), QuietProvider(url, timeout))


class View:
    """The chain as one endpoint shows it, up to one head. Blocks are remembered while it lives."""

    def __init__(self, endpoint: Endpoint, head: Head) -> None:
        self._endpoint = endpoint
        self.head = head
        self._blocks: dict[int, Head] = {head.number: head}

    def block(self, number: int) -> Head:
        """The canonical block of a number up to the head's."""
        if number not in self._blocks:
            self._blocks[number] = self._endpoint.ask(lambda eth: _head(eth.get_block(number)))
        return self._blocks[number]

    def logs(self, tokens: Sequence[str], recipients: Sequence[str], first: int, last: int) -> list[Log]:
        """The Transfer logs of these tokens to these recipients, in blocks from `first` to `last`."""
        topics = [TRANSFER_TOPIC, None, ["0x" + address[2:].lower().rjust(64, "0") for address in recipients]]
        asked = {"address": list(tokens), "topics": topics, "fromBlock": first, "toBlock": last}
        found = self._endpoint.ask(lambda eth: [transfer_of(one) for one in eth.get_logs(asked)])
        wanted = frozenset(tokens), frozenset(recipients)
        return [one for one in found if one is not None and one.token in wanted[0] and one.recipient in wanted[1]]

    def receipt(self, tx_hash: str) -> Receipt | None:
        """What became of a transaction; None where it is in no block of the canonical chain up to the head."""
        found = self._endpoint.ask(lambda eth: _or_none(lambda: _receipt(eth.get_transaction_receipt(tx_hash))))
        if found is None or found.block_number > self.head.number:
            return None
        return found if self.block(found.block_number).hash == found.block_hash else None

    def in_pool(self, tx_hash: str) -> bool:
        """Whether the endpoint knows the transaction at all."""
        return self._endpoint.ask(lambda eth: _or_none(lambda: eth.get_transaction(tx_hash))) is not None

    def in_block(self, tx_hash: str) -> bool:
        """Whether the endpoint says that the transaction is in some block."""
        found = self._endpoint.ask(lambda eth: _or_none(lambda: eth.get_transaction(tx_hash)["blockNumber"]))
        return found is not None

    def nonces_used(self, address: str, block: int | Literal["pending"]) -> int:
        """How many transactions an address had sent by a block, or with those that wait."""
        return self._endpoint.ask(lambda eth: _counted(eth.get_transaction_count(address, block)))

    def coins(self, address: str) -> int:
        """What an address has of the chain's own coin, in wei."""
        return self._endpoint.ask(lambda eth: int(eth.get_balance(address)))

    def has_code(self, address: str) -> bool:
        """Whether there is a contract."""
        return self._endpoint.ask(lambda eth: bool(eth.get_code(address)))

    def call(self, to: str, data: str, sender: str | None = None) -> bytes:
        """What a contract answers. Nothing is changed by asking."""
        asked = {"to": to, "data": data, **({} if sender is None else {"from": sender})}
        return self._endpoint.ask(lambda eth: bytes(eth.call(asked)))

    def gas(self, sender: str, to: str, data: str) -> int:
        """How much gas a transaction would need now."""
        asked = {"from": sender, "to": to, "data": data}
        return self._endpoint.ask(lambda eth: _counted(eth.estimate_gas(asked), least=1))

    def tip(self) -> int:
        """What those who make blocks are usually given, in wei a unit of gas."""
        return self._endpoint.ask(lambda eth: _counted(eth.max_priority_fee))


TRANSFER_TOPIC: Final = Web3.keccak(text="Transfer(address,address,uint256)").to_0x_hex()


def _or_none(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except TransactionNotFound:
        return None


def _counted(number: Any, *, least: int = 0) -> int:
    """A number that can be what it is said to be.

    Raises:
        ValueError: it cannot.
    """
    if not least <= int(number) <= _MOST:
        raise ValueError("a number that nothing on a chain has")
    return int(number)


def _head(block: Any) -> Head:
    base = block.get("baseFeePerGas")
    return Head(
        number=_counted(block["number"]),
        hash=HexBytes(block["hash"]).to_0x_hex(),
        at=datetime.fromtimestamp(int(block["timestamp"]), UTC),
        base_fee=None if base is None else _counted(base),
    )


def transfer_of(log: Any) -> Log | None:
    """A log as a Transfer; None where it is none, or of a block that is not made yet."""
    topics, data = [HexBytes(topic) for topic in log["topics"]], HexBytes(log["data"])
    if len(topics) != 3 or topics[0].to_0x_hex() != TRANSFER_TOPIC or len(data) != 32 or log.get("removed"):
        return None
    if log["blockNumber"] is None or log["blockHash"] is None:
        return None
    return Log(
        token=Web3.to_checksum_address(log["address"]),
        tx_hash=HexBytes(log["transactionHash"]).to_0x_hex(),
        log_index=_counted(log["logIndex"]),
        block_number=_counted(log["blockNumber"]),
        block_hash=HexBytes(log["blockHash"]).to_0x_hex(),
        sender=Web3.to_checksum_address(topics[1][-20:]),
        recipient=Web3.to_checksum_address(topics[2][-20:]),
        units=int.from_bytes(data, "big"),
    )


def _receipt(found: Any) -> Receipt:
    transfers = [transfer_of(log) for log in found["logs"]]
    return Receipt(
        tx_hash=HexBytes(found["transactionHash"]).to_0x_hex(),
        ok=int(found["status"]) == 1,
        block_number=_counted(found["blockNumber"]),
        block_hash=HexBytes(found["blockHash"]).to_0x_hex(),
        transfers=tuple(one for one in transfers if one is not None),
    )


class Rpc:
    """All endpoints of one chain. Safe to share between threads: what it keeps is only when to ask again."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        chain: int,
        clock: Clock,
        max_lag: timedelta,
        monotonic: Callable[[], float],
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._chain = chain
        self._clock = clock
        self._max_lag = max_lag
        self._monotonic = monotonic

    @property
    def labels(self) -> tuple[str, ...]:
        """The hosts, in order."""
        return tuple(one.label for one in self._endpoints)

    def on_one(self, floor: int, ask: Callable[[View], T]) -> T:
        """What the first endpoint says that can be believed; a fault sends the question on to the next.

        `floor` is the highest block number seen before; `ask` only reads, and may be run again.

        Raises:
            ChainFault: none could be asked, or the chain itself said no (`reverted`).
        """
        faults: list[ChainFault] = []
        for one in self._awake():
            try:
                return ask(self.view(one, floor))
            except ChainFault as fault:
                if fault.kind == "reverted":
                    raise
                self._noted(one, fault)
                faults.append(fault)
        raise _worst(faults)

    def on_all(self, ask: Callable[[Endpoint], T]) -> list[T | ChainFault]:
        """What every endpoint says, each fault in its place."""
        return [self._asked(one, ask) for one in self._endpoints]

    def _asked(self, one: Endpoint, ask: Callable[[Endpoint], T]) -> T | ChainFault:
        try:
            self._check_chain(one)
            return ask(one)
        except ChainFault as fault:
            self._noted(one, fault)
            return fault

    def view(self, one: Endpoint, floor: int) -> View:
        """The chain as one endpoint shows it.

        Raises:
            ChainFault: it is of another chain, or behind, or cannot be asked.
        """
        self._check_chain(one)
        head = one.ask(lambda eth: _head(eth.get_block("latest")))
        if head.number < floor:
            raise ChainFault("behind", f"{one.label}: it is at block {head.number}, and {floor} was seen before")
        lag = self._clock.now() - head.at
        if lag > self._max_lag:
            raise ChainFault("behind", f"{one.label}: its newest block is {int(lag.total_seconds())} s old")
        return View(one, head)

    def _check_chain(self, one: Endpoint) -> None:
        if one.chain_checked:
            return
        found = one.ask(lambda eth: int(eth.chain_id))
        if found != self._chain:
            raise ChainFault("wrong_chain", f"{one.label}: it is on chain {found}, not {self._chain}")
        one.chain_checked = True

    def _awake(self) -> list[Endpoint]:
        now = self._monotonic()
        awake = [one for one in self._endpoints if one.resting_until <= now]
        return awake or list(self._endpoints[:1])  # better to be told again than not to ask

    def _noted(self, one: Endpoint, fault: ChainFault) -> None:
        if fault.kind == "rate_limited":
            one.resting_until = self._monotonic() + _REST_SECONDS


def _worst(faults: Sequence[ChainFault]) -> ChainFault:
    if not faults:
        return ChainFault("unreachable", "no endpoint is configured")
    kinds = {fault.kind for fault in faults}
    kind: FaultKind = "behind" if kinds == {"behind"} else faults[0].kind
    return ChainFault(kind, "; ".join(fault.message for fault in faults)[:400])
