"""A small ASGI application that takes webhooks: `POST /webhooks/{provider}`, and nothing else.

It answers 200 only after the event is committed. What is not believed gets 400 without a reason; what cannot be taken
now gets 503, so that the provider repeats it. A body is counted while it comes, and must come in time. The engine
blocks, so each request gets a thread of a bounded number; who waits for one waits without holding anybody up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from agentpay.errors import AgentPayError, ProviderError, ProviderUnknown, ProviderUnsupported, WebhookInvalid
from agentpay.webhooks.checks import LARGEST_BODY, unambiguous
from agentpay.webhooks.models import WebhookReceipt
from agentpay_policies.text import escaped

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Take = Callable[[str, bytes, Mapping[str, str]], WebhookReceipt]
"""`manager.receive_webhook`."""

PREFIX: Final = "/webhooks/"
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Limits:
    """What one request, and all together, may take."""

    body: int = LARGEST_BODY
    seconds: float = 10.0
    """How long a body may take to come."""
    patience: float = 25.0
    """How long a request may wait for the engine, its turn included: providers wait about half a minute."""
    threads: int = 16
    waiting: int = 256


class WebhookApp:
    """The application. `take` is called in a thread of its own with (provider, body, headers)."""

    def __init__(self, take: Take, limits: Limits | None = None) -> None:
        self._take = take
        self._limits = limits or Limits()
        self._pool = ThreadPoolExecutor(self._limits.threads, thread_name_prefix="agentpay-webhook")
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or go along with the server's start and end."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            status, said = await self._answer(scope, receive)
            await _respond(send, status, said)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, str]:
        provider = str(scope["path"]).removeprefix(PREFIX)
        if not str(scope["path"]).startswith(PREFIX) or not provider or "/" in provider:
            return 404, "not_found"
        if scope["method"] != "POST":
            return 405, "method_not_allowed"
        if self._inside >= self._limits.waiting:
            return 503, "busy"
        self._inside += 1
        try:
            return await self._taken(provider, scope, receive)
        finally:
            self._inside -= 1

    async def _taken(self, provider: str, scope: Scope, receive: Receive) -> tuple[int, str]:
        try:
            headers = unambiguous(_decoded(scope["headers"]))
            body = await asyncio.wait_for(_body(headers, receive, self._limits.body), self._limits.seconds)
        except TimeoutError:
            return 408, "too_slow"
        except _TooLarge:
            return 413, "too_large"
        except (WebhookInvalid, _Gone):
            return 400, "invalid"
        # Where the wait is given up, a thread that has begun goes on to its commit: the repeat finds the event stored.
        done = asyncio.get_running_loop().run_in_executor(self._pool, self._safely, provider, body, headers)
        try:
            return await asyncio.wait_for(done, self._limits.patience)
        except TimeoutError:
            return 503, "busy"

    def _safely(self, provider: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        """Take it; what went wrong is told by a status and a word, and otherwise only logged."""
        try:
            return 200, self._take(provider, body, headers).status
        except WebhookInvalid as error:
            logger.warning("a webhook for %s was refused: %s", escaped(provider[:40]), error.message)
            return 400, "invalid"
        except (ProviderUnknown, ProviderUnsupported):
            return 404, "not_found"
        except ProviderError as error:
            logger.error("a webhook of %s could not be checked: %s", escaped(provider[:40]), error.message)
            return 503, "try_again"
        except AgentPayError as error:
            logger.error("a webhook of %s could not be taken: %s", escaped(provider[:40]), error.code)
            return 503, "try_again"
        except Exception:
            logger.exception("a webhook of %s made the engine crash", escaped(provider[:40]))
            return 500, "internal"


class _TooLarge(Exception):
    """The body is larger than any webhook."""


class _Gone(Exception):
    """The client went away before the body was whole."""


async def _body(headers: Mapping[str, str], receive: Receive, most: int) -> bytes:
    """The whole body, counted while it comes."""
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise _TooLarge
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > most:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


async def _respond(send: Send, status: int, said: str) -> None:
    body = json.dumps({"status": said}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status in (408, 413):  # the rest of the body is not read any more
        headers.append((b"connection", b"close"))
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def serve(take: Take, *, port: int, started: Callable[[int], None]) -> None:
    """Serve on loopback until the process is asked to end. `started` is told the port, once it listens.

    Raises:
        OSError: the port is taken.
    """
    import uvicorn

    listening = socket.create_server((LOOPBACK, port), backlog=128)
    config = uvicorn.Config(
        WebhookApp(take),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
        limit_concurrency=512,
        h11_max_incomplete_event_size=32 * 1024,
        http="h11",
        ws="none",
    )
    with listening:
        started(int(listening.getsockname()[1]))
        with suppress(KeyboardInterrupt):  # which uvicorn raises again, once everything is closed
            uvicorn.Server(config).run(sockets=[listening])
