"""The operator's command is told from the server's process too, and cannot disturb the protocol."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from acceptance.mcp.servers import AGENT, Place, body_of

pytestmark = pytest.mark.anyio

HOOK = """
import os, sys, time
print("this is no protocol")
text = sys.stdin.read()
path = os.path.join(os.environ["HOOK_FOLDER"], "told.json")
with open(path + ".new", "a") as kept:
    kept.write(text + chr(10) + " ".join(os.environ) + chr(10))
os.rename(path + ".new", path)
time.sleep(9)
"""

PATH = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_server_tells_the_command_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "hook.py").write_text(HOOK)
    line = f"{sys.executable} '{tmp_path / 'hook.py'}'"
    given = {"STRIPE_API_KEY": "sk_test_1", "HOOK_FOLDER": str(tmp_path)}
    place = Place(tmp_path, extra={"AGENTPAY_APPROVAL_HOOK": line, **given, **PATH})
    place.fill()
    call = {"customer": "alice", "currency": "USD", "description": "a\u202eb"}
    async with place.client() as client:
        begun = time.monotonic()
        asked = await client.call_tool("charge", {**call, "amount": "30.00", "idempotency_key": "k1"})
        body = body_of(asked)
        again = await client.call_tool("charge", {**call, "amount": "30.00", "idempotency_key": "k1"})
        assert (body["status"], body_of(again)["replayed"]) == ("approval_required", True)
        assert time.monotonic() - begun < 8, "the agent waited for the command"
        paid = await client.call_tool("charge", {**call, "amount": "5.00", "idempotency_key": "k2"})
        assert body_of(paid)["status"] == "succeeded"
        told = tmp_path / "told.json"
        while not told.exists() and time.monotonic() - begun < 20:
            time.sleep(0.02)
        text, names = told.read_text().splitlines()
        card = json.loads(text)
    assert (card["id"], card["agent"], card["description"]) == (body["approval_id"], AGENT, r"a\u202eb")
    assert "HOOK_FOLDER" in names.split() and "STRIPE_API_KEY" not in names.split()
    assert not [name for name in names.split() if name.startswith("AGENTPAY_")]
    assert not (tmp_path / "told.json.new").exists(), "it was told once"


def test_a_server_with_a_command_that_is_none_does_not_start(tmp_path: Path) -> None:
    place = Place(tmp_path, extra={"AGENTPAY_APPROVAL_HOOK": "no-such-program-at-all", **PATH})
    done = place.run()
    assert done.returncode == 1 and "AGENTPAY_APPROVAL_HOOK names no program" in done.stderr and done.stdout == ""
