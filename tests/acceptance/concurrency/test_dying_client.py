"""A client of the real MCP server dies in the middle of a charge: the next start finds one payment in a true state."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentpay.clock import FixedClock
from agentpay.clock import SystemClock as Clock

from datetime import timedelta  # isort: skip
from support.bench import OPEN, Bench

SERVER = [sys.executable, "-m", "agentpay_servers", "mcp", "--agent", "bot"]


def started(url: str, folder: Path, **variables: str) -> subprocess.Popen[bytes]:
    """The server as a client starts it."""
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(OPEN))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AGENTPAY_")},
        "AGENTPAY_DATABASE_URL": url,
        "AGENTPAY_POLICY": str(policy),
        **variables,
    }
    return subprocess.Popen(
        SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environment
    )


def say(server: subprocess.Popen[bytes], **message: Any) -> None:
    assert server.stdin is not None
    server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    server.stdin.flush()


def begin(server: subprocess.Popen[bytes]) -> None:
    """The handshake of the protocol."""
    client = {"name": "dying", "version": "1"}
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
    say(server, id=1, method="initialize", params=params)
    assert server.stdout is not None
    answer = server.stdout.readline()
    assert b'"result"' in answer, (answer, server.stderr.read() if server.stderr and not answer else "")
    say(server, method="notifications/initialized")


def charge(server: subprocess.Popen[bytes], amount: str) -> None:
    arguments = {
        "customer": "ana",
        "amount": amount,
        "currency": "USD",
        "description": "x",
        "idempotency_key": "order-1",
    }
    say(server, id=2, method="tools/call", params={"name": "charge", "arguments": arguments})


def over(server: subprocess.Popen[bytes]) -> None:
    for pipe in (server.stdin, server.stdout, server.stderr):
        if pipe is not None:
            pipe.close()
    server.wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["after_move", "before_move", "killed"])
def test_the_next_start_finds_one_payment_in_a_true_state(database: str, tmp_path: Path, how: str) -> None:
    crash = {} if how == "killed" else {"AGENTPAY_MOCK_CRASH": how}
    server = started(database, tmp_path, **crash)
    begin(server)
    charge(server, "13.20" if how == "killed" else "5.00")  # 13.20 takes 0.2 s
    if how == "killed":
        time.sleep(0.1)
        server.kill()
    server.wait(20)
    over(server)
    later = FixedClock(Clock().now() + timedelta(minutes=1))
    bench = Bench(database, clock=later, policy=None)
    payments = bench.manager.list_payments("ana")
    assert len(payments) == (1 if how != "killed" else len(payments)) and len(payments) <= 1
    if payments:
        (payment,) = payments
        assert payment.status == ("succeeded" if bench.movements() else "not_sent")
        again = bench.bot.charge("ana", str(payment.amount), "USD", description="x", idempotency_key="order-1")
        assert again.id == payment.id and again.status == "succeeded"
        assert bench.movements() == 1
    bench.check()
    bench.close()
