"""The ASGI application that takes webhooks: what it answers, and that nobody holds it up."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest

from agentpay.errors import AgentPayError, ProviderError, ProviderUnknown, StorageBusy, WebhookInvalid
from agentpay.webhooks.checks import LARGEST_BODY
from agentpay.webhooks.models import WebhookReceipt
from agentpay_servers.webhooks import Limits, WebhookApp

RECEIPT = WebhookReceipt("evt_1", "e1", "mock", "charge", "stored")


class Taker:
    """In place of the engine: remembers what it was given, and answers or raises as it is told."""

    def __init__(self, answer: object = RECEIPT) -> None:
        self.answer = answer
        self.given: list[tuple[str, bytes, Mapping[str, str]]] = []

    def __call__(self, provider: str, body: bytes, headers: Mapping[str, str]) -> WebhookReceipt:
        self.given.append((provider, body, headers))
        if isinstance(self.answer, Exception):
            raise self.answer
        assert isinstance(self.answer, WebhookReceipt)
        return self.answer


async def ask(
    app: WebhookApp,
    path: str = "/webhooks/mock",
    parts: Sequence[bytes] | AsyncIterator[bytes] = (b"{}",),
    *,
    method: str = "POST",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, str]:
    """One request; the status, and the word that is answered."""
    sent: list[Any] = []
    chunks = _chunks(parts)

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(chunks), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": list(headers)}, receive, send)
    start, body = sent
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    return start["status"], json.loads(body["body"])["status"]


async def _chunks(parts: Sequence[bytes] | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(parts, Sequence):
        for part in parts:
            yield part
    else:
        async for part in parts:
            yield part


def run(make: Callable[[], Any]) -> Any:
    return asyncio.run(make())


def test_a_webhook_is_given_on_as_it_came() -> None:
    taker = Taker()
    headers = [(b"Mock-Signature", b"t=1"), (b"x", b"\xe9"), (b"X", b"other")]
    assert run(lambda: ask(WebhookApp(taker), parts=(b"\x00\xff", b"end"), headers=headers)) == (200, "stored")
    assert taker.given == [("mock", b"\x00\xffend", {"mock-signature": "t=1"})], "what came twice is as good as none"


@pytest.mark.parametrize(
    ("raised", "answer"),
    [
        (WebhookInvalid("The signature does not fit the body."), (400, "invalid")),
        (ProviderUnknown("There is no such provider; there is mock."), (404, "not_found")),
        (ProviderError("It cannot be reached."), (503, "try_again")),
        (StorageBusy("It is busy."), (503, "try_again")),
        (AgentPayError("Something of ours."), (503, "try_again")),
        (RuntimeError("a secret"), (500, "internal")),
    ],
)
def test_what_goes_wrong_is_a_status_and_a_word(raised: Exception, answer: tuple[int, str]) -> None:
    assert run(lambda: ask(WebhookApp(Taker(raised)))) == answer


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/webhooks/mock", (405, "method_not_allowed")),
        ("POST", "/", (404, "not_found")),
        ("POST", "/webhooks/", (404, "not_found")),
        ("POST", "/webhooks/mock/more", (404, "not_found")),
        ("POST", "/webhooks", (404, "not_found")),
        ("POST", "/other", (404, "not_found")),
    ],
)
def test_nothing_else_is_there(method: str, path: str, answer: tuple[int, str]) -> None:
    taker = Taker()
    assert run(lambda: ask(WebhookApp(taker), path, method=method)) == answer
    assert taker.given == []


def test_a_huge_body_is_not_read_to_its_end() -> None:
    taker, read = Taker(), []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b"x" * 65_536

    assert run(lambda: ask(WebhookApp(taker), parts=endless())) == (413, "too_large")
    assert len(read) == LARGEST_BODY // 65_536 + 1
    declared = [(b"content-length", b"999999999")]
    assert run(lambda: ask(WebhookApp(taker), headers=declared)) == (413, "too_large")
    many = [(f"x-{n}".encode(), b"") for n in range(500)]
    assert run(lambda: ask(WebhookApp(taker), headers=many)) == (400, "invalid")
    assert taker.given == []


def test_forty_that_are_slow_do_not_hold_up_the_next() -> None:
    """Forty whose bodies do not come, and as many in the engine as there are threads but one."""

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async def scene() -> None:
        app = WebhookApp(Taker(), Limits(seconds=0.5))
        slow = [asyncio.create_task(ask(app, parts=never())) for _ in range(40)]
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(ask(app), 0.4) == (200, "stored")
        assert set(await asyncio.gather(*slow)) == {(408, "too_slow")}

    asyncio.run(scene())


def test_the_engine_gets_no_more_threads_than_it_may() -> None:
    """Forty at once on four threads: never more than four inside; those whose patience ends are asked to come again."""
    inside, most, gate = 0, 0, threading.Event()
    lock = threading.Lock()

    def take(*_: object) -> WebhookReceipt:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait(10)
        with lock:
            inside -= 1
        return RECEIPT

    async def scene() -> None:
        app = WebhookApp(take, Limits(threads=4, patience=0.3, waiting=30))
        answers = await asyncio.gather(*(ask(app) for _ in range(40)))
        assert set(answers) == {(503, "busy")}
        gate.set()
        assert await ask(app) == (200, "stored")

    asyncio.run(scene())
    assert most == 4


def test_a_client_that_goes_away_is_answered_nothing_new() -> None:
    async def scene() -> list[Any]:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/webhooks/mock", "headers": []}
        taker = Taker()
        await WebhookApp(taker)(scope, receive, send)
        assert taker.given == []
        return sent

    assert asyncio.run(scene())[0]["status"] == 400
