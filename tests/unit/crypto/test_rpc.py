"""Endpoints that answer HTML, nothing, too late, or yesterday's block; what is believed, and who is asked next."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentpay.clock import FixedClock
from agentpay.providers.crypto.rpc import ChainFault, Endpoint, Rpc, endpoint, transfer_of
from support.rpc_server import RpcServer, served

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
CHAIN = 31337


def block(number: int, age: int = 0) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": "0x" + f"{number:064x}",
        "timestamp": hex(int(NOW.timestamp()) - age),
        "baseFeePerGas": "0x7",
    }


def node(number: int = 100, *, chain: int = CHAIN, age: int = 0) -> Callable[[str], tuple[int, bytes] | None]:
    """What a node at a block answers."""

    def answer(method: str) -> tuple[int, bytes]:
        results = {"eth_chainId": hex(chain), "eth_getBlockByNumber": block(number, age), "eth_getLogs": []}
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": results[method]}).encode()

    return answer


@pytest.fixture
def first() -> Iterator[RpcServer]:
    with served(None) as server:
        server.fault = node()
        yield server


@pytest.fixture
def second() -> Iterator[RpcServer]:
    with served(None) as server:
        server.fault = node()
        yield server


def reader(*servers: RpcServer, monotonic: Callable[[], float] = time.monotonic) -> Rpc:
    return Rpc(
        [one.endpoint(timeout=0.5) for one in servers],
        chain=CHAIN,
        clock=FixedClock(NOW),
        max_lag=timedelta(minutes=10),
        monotonic=monotonic,
    )


def head(rpc: Rpc, floor: int = 0) -> int:
    return rpc.on_one(floor, lambda view: view.head.number)


def fault_of(rpc: Rpc, floor: int = 0) -> ChainFault:
    with pytest.raises(ChainFault) as caught:
        head(rpc, floor)
    return caught.value


def test_a_good_endpoint_is_believed(first: RpcServer) -> None:
    assert head(reader(first), floor=100) == 100


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((200, b"<html><body>Bad gateway</body></html>"), "bad_answer"),
        ((200, b""), "bad_answer"),
        ((200, b"null"), "bad_answer"),
        ((200, b"[]"), "bad_answer"),
        ((200, b"{}"), "bad_answer"),
        ((200, b'{"jsonrpc": "2.0", "id": 1, "result": null}'), "bad_answer"),
        ((200, b'{"jsonrpc": "2.0", "id": 1, "result": "soon"}'), "bad_answer"),
        ((200, b"\xff\xfe\x00"), "bad_answer"),
        ((200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "slow down"}}'), "rate_limited"),
        ((200, b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}}'), "refused"),
        ((429, b""), "rate_limited"),
        ((500, b"<html>"), "unreachable"),
        ((403, b""), "unreachable"),
        ((302, b""), "unreachable"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_a_fault_of_its_kind(first: RpcServer, answer: tuple[int, bytes], kind: str) -> None:
    first.fault = lambda _method: answer
    fault = fault_of(reader(first))
    assert fault.kind == kind
    assert "key-of-the-endpoint" not in fault.message


def test_an_endpoint_that_says_nothing_ends_at_its_time_out() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        silent = endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/", 0.2)
        begun = time.monotonic()
        rpc = Rpc([silent], chain=CHAIN, clock=FixedClock(NOW), max_lag=timedelta(minutes=10), monotonic=time.monotonic)
        assert fault_of(rpc).kind == "unreachable"
        assert time.monotonic() - begun < 2


def test_an_endpoint_that_is_not_there_is_unreachable() -> None:
    closed = endpoint("http://127.0.0.1:1/", 0.5)
    rpc = Rpc([closed], chain=CHAIN, clock=FixedClock(NOW), max_lag=timedelta(minutes=10), monotonic=time.monotonic)
    assert fault_of(rpc).kind == "unreachable"


def test_yesterdays_block_is_not_believed(first: RpcServer) -> None:
    first.fault = node(age=24 * 3600)
    fault = fault_of(reader(first))
    assert fault.kind == "behind" and "86400 s old" in fault.message


def test_a_block_number_that_went_back_is_not_believed(first: RpcServer) -> None:
    fault = fault_of(reader(first), floor=101)
    assert fault.kind == "behind" and "101 was seen before" in fault.message


def test_another_chain_is_not_believed(first: RpcServer) -> None:
    first.fault = node(chain=1)
    fault = fault_of(reader(first))
    assert fault.kind == "wrong_chain" and "chain 1, not 31337" in fault.message


@pytest.mark.parametrize(
    "bad", [node(90), node(age=3600), node(chain=1), lambda _m: (200, b"<html>"), lambda _m: (429, b"")]
)
def test_the_next_endpoint_is_asked(first: RpcServer, second: RpcServer, bad: Any) -> None:
    first.fault = bad
    second.fault = node(100)
    assert head(reader(first, second), floor=95) == 100


def test_an_endpoint_that_asked_us_to_wait_rests(first: RpcServer, second: RpcServer) -> None:
    now = [0.0]
    rpc = reader(first, second, monotonic=lambda: now[0])
    first.fault = lambda _method: (429, b"")
    head(rpc)
    asked = len(first.asked)
    head(rpc)
    assert len(first.asked) == asked, "it was not asked while it rests"
    now[0], first.fault = 31.0, node()
    head(rpc)
    assert len(first.asked) > asked


def test_a_fault_in_the_middle_of_a_question_sends_the_whole_question_on(first: RpcServer, second: RpcServer) -> None:
    usual = node()
    first.fault = lambda method: (500, b"") if method == "eth_getLogs" else usual(method)
    found = reader(first, second).on_one(0, lambda view: view.logs(["0x" + "12" * 20], ["0x" + "34" * 20], 1, 2))
    assert found == []


def test_all_say_what_was_wrong(first: RpcServer, second: RpcServer) -> None:
    first.fault, second.fault = node(90), node(91)
    fault = fault_of(reader(first, second), floor=95)
    assert fault.kind == "behind" and "90" in fault.message and "91" in fault.message


def test_without_endpoints_nothing_can_be_asked() -> None:
    assert fault_of(reader()).kind == "unreachable"


def test_no_log_line_holds_the_endpoints_key(first: RpcServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    head(reader(first))
    first.fault = lambda _method: (500, b"")
    fault_of(reader(first))
    assert "key-of-the-endpoint" not in caplog.text
    assert "key-of-the-endpoint" not in repr(first.endpoint())


LOG: dict[str, Any] = {
    "address": "0x" + "12" * 20,
    "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", "0x" + "0" * 64, "0x" + "1" * 64],
    "data": "0x" + "ff" * 32,
    "blockNumber": 5,
    "blockHash": "0x" + "ab" * 32,
    "transactionHash": "0x" + "cd" * 32,
    "logIndex": 3,
}


def test_a_log_is_read_exactly() -> None:
    found = transfer_of(LOG)
    assert found is not None
    assert (found.units, found.block_number, found.log_index) == (2**256 - 1, 5, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"topics": LOG["topics"][:2]},
        {"topics": ["0x" + "99" * 32, *LOG["topics"][1:]]},
        {"data": "0x"},
        {"data": "0x" + "ff" * 64},
        {"removed": True},
        {"blockNumber": None},
        {"blockHash": None},
    ],
    ids=str,
)
def test_what_is_no_transfer_is_passed_over(change: dict[str, Any]) -> None:
    assert transfer_of({**LOG, **change}) is None


def test_threads_share_a_reader(first: RpcServer) -> None:
    rpc, found = reader(first), list[int]()
    threads = [threading.Thread(target=lambda: found.append(head(rpc))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [100] * 8


def test_an_endpoint_shows_its_host_only() -> None:
    made: Endpoint = endpoint("https://rpc.example.com/v3/secret-one?k=secret-two", 1.0)
    assert made.label == "rpc.example.com"
    assert "secret" not in repr(made) + repr(made.provider)
