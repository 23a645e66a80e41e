"""`agentpay webhooks serve`, as a program: real requests against a real database."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpay import PaymentManager
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from support.databases import Databases


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    """A fresh SQLite database."""
    made = databases.create("sqlite")
    yield made
    databases.drop(made)


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[int]:
    """The program on that database; its port."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AGENTPAY_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "agentpay_servers", "webhooks", "serve", "--port", "0", "--database-url", url],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=kept,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/webhooks/PROVIDER", said)
    assert found, said
    yield int(found.group(1))
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=20)[1]
    assert process.returncode == 0, rest
    assert "Traceback" not in rest


def post(port: int, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    said = json.loads(answer.read())["status"]
    connection.close()
    return answer.status, said


def test_webhooks_are_taken_over_http(server: int, url: str) -> None:
    mock = MockProvider(books_beside(url))
    with PaymentManager(url, provider=mock, policy=False) as manager:
        payment = manager.charge("alice", "13.10", "USD", idempotency_key="order-1")
        (charge,) = mock.charges()
        mock.complete(charge.id, "succeeded")
        event = mock.webhook(charge.id)
        headers = dict(event.headers)
        slow = [socket.create_connection(("127.0.0.1", server)) for _ in range(40)]
        for one in slow:
            one.sendall(b"POST /webhooks/mock HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert post(server, "/webhooks/mock", event.body, headers) == (200, "stored")
        assert manager.get_payment(payment.id).status == "succeeded"
        assert post(server, "/webhooks/mock", event.body, headers) == (200, "repeated")
        assert post(server, "/webhooks/mock", event.body, {**headers, "Mock-Signature": "t=1"}) == (400, "invalid")
        assert post(server, "/webhooks/nobody", event.body, headers) == (404, "not_found")
        assert post(server, "/webhooks/mock", b"", {}) == (400, "invalid")
        for one in slow:
            one.close()
