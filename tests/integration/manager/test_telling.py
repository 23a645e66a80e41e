"""Telling people that something waits: once, after the commit, and without any harm to what waits."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpay.errors import ConfigurationError
from agentpay.manager import hook
from agentpay.manager.hook import CommandHook, harmless
from agentpay.manager.manager import PaymentManager
from agentpay.plans.models import BillingPeriod, PaymentPlan, PaymentType
from agentpay.spending.cards import Card
from support.bench import PEOPLE, SECRET, Bench, asking, code_of, policy
from support.bench_fixtures import MakeBench
from support.parallel import run_threads

ASKING = policy({"bot": asking("1.00 USD")}, approvers=PEOPLE)


@pytest.fixture
def asked(make_bench: MakeBench) -> Bench:
    """An engine that asks people above a dollar."""
    bench = make_bench(policy=ASKING)
    bench.enrol("alice")
    return bench


def charge(bench: Bench, key: str = "k", amount: str = "5.00") -> Any:
    return bench.bot.charge("ana", amount, "USD", description="x\u202e", idempotency_key=key)


def test_whatever_newly_waits_is_told_once(asked: Bench) -> None:
    asked.manager.create_plan(
        PaymentPlan(id="pro", name="Pro", payment_type=PaymentType.SUBSCRIPTION, price="9.00",
                    billing_period=BillingPeriod.MONTHLY)
    )  # fmt: skip
    told: list[Card] = []
    asked.manager.on_approval(told.append)
    parked = charge(asked)
    assert charge(asked).replayed and code_of(lambda: charge(asked, "k2", "2000.00")) == "POLICY_DENIED"
    assert charge(asked, "k3", "0.50").status == "succeeded"
    subscription = asked.bot.subscribe("ana", "pro", idempotency_key="s")
    asked.approve(parked.approval_id)
    paid = charge(asked)
    assert paid.status == "succeeded"
    refund = asked.bot.refund(paid.id, "2.00", reason="x", idempotency_key="r")
    assert asked.bot.refund(paid.id, "2.00", reason="x", idempotency_key="r").replayed
    assert [card.id for card in told] == [parked.approval_id, subscription.approval_id, refund.approval_id]
    assert [card.operation for card in told] == ["charge", "subscribe", "refund"]
    assert told[0].description == r"x\u202e"


def test_what_is_asked_anew_is_told_anew(asked: Bench) -> None:
    told: list[Card] = []
    asked.manager.on_approval(told.append)
    parked = charge(asked)
    asked.approve(parked.approval_id)
    asked.manager.apply_policy(policy({"bot": asking("2.00 USD", id="bigger")}, approvers=PEOPLE))
    again = charge(asked)
    assert again.status == "approval_required" and again.approval_id != parked.approval_id
    assert [card.id for card in told] == [parked.approval_id, again.approval_id]


def test_it_is_told_after_the_commit_and_outside_any_transaction(asked: Bench) -> None:
    other = asked.restarted()
    seen: list[tuple[str, str]] = []

    def approve_at_once(card: Card) -> None:
        seen.append((other.get_approval(card.id).status, other.get_payment(card.payment_id).status))
        asked.manager.approve(card.id, approver="alice", secret=SECRET)

    asked.manager.on_approval(approve_at_once)
    parked = charge(asked)
    assert seen == [("pending", "approval_required")]
    assert asked.manager.get_approval(parked.approval_id).status == "approved"
    assert charge(asked).status == "succeeded" and asked.movements() == 1


def test_a_callback_that_fails_harms_nothing(asked: Bench, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Card] = []

    def fail(_card: Card) -> None:
        raise RuntimeError("the secret of it")

    asked.manager.on_approval(fail)
    asked.manager.on_approval(told.append)
    assert charge(asked).status == "approval_required" and len(told) == 1
    assert "raised RuntimeError" in caplog.text and "the secret of it" not in caplog.text


def test_many_at_once_are_told_each_once(asked: Bench) -> None:
    told: list[str] = []
    asked.manager.on_approval(lambda card: told.append(card.id))
    run_threads(12, lambda n: code_of(lambda: charge(asked, f"k{n % 4}")))
    assert len(told) == len(set(told)) == len(asked.approvals()) == 4


# ---- the command


def script(folder: Path, body: str) -> str:
    """A program in Python; the command line that runs it."""
    path = folder / "tell me.py"
    path.write_text(body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{sys.executable} '{path}'"


KEEP = """
import json, os, sys
card = json.load(sys.stdin)
with open(os.path.join(os.environ["HOOK_FOLDER"], card["id"]), "w") as kept:
    json.dump({"card": card, "environment": dict(os.environ)}, kept)
print("noise on standard output")
"""


def until(true: Callable[[], Any]) -> None:
    """Wait until it is so, and at most ten seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended() -> bool:
    return not any(thread.name == "agentpay-approval-hook" for thread in threading.enumerate())


@pytest.fixture(scope="module")
def card() -> Card:
    """A card to be told of."""
    with PaymentManager("memory://", provider="mock", policy=ASKING) as manager:
        parked = manager.for_agent("bot").charge("ana", "5.00", "USD", description="a\u202eb", idempotency_key="k")
        return manager.approval_card(str(parked.approval_id))


def test_the_command_gets_the_card_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = {
        "STRIPE_API_KEY": "s3cret", "AGENTPAY_WEBHOOK_SECRET": "s3cret", "AGENTPAY_DATABASE_URL": "memory://s3cret",
        "PAYPAL_CLIENT_SECRET": "s3cret", "PGPASSWORD": "s3cret", "MNEMONIC": "s3cret", "AWS_SESSION_TOKEN": "s3cret",
    }  # fmt: skip
    for name, value in {**secrets, "HOOK_FOLDER": str(tmp_path), "LC_ALL": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AGENTPAY_APPROVAL_HOOK", script(tmp_path, KEEP))
    with PaymentManager("memory://", provider="mock", policy=ASKING) as manager:
        parked = manager.for_agent("bot").charge("ana", "5.00", "USD", description="a\u202eb", idempotency_key="k")
        kept = tmp_path / str(parked.approval_id)
        until(lambda: kept.exists() and ended())
        told = json.loads(kept.read_text())
        assert told["card"] == manager.approval_card(str(parked.approval_id)).as_data()
    assert told["card"]["description"] == r"a\u202eb"
    assert not set(secrets) & set(told["environment"]) and "s3cret" not in kept.read_text()
    assert told["environment"]["HOOK_FOLDER"] == str(tmp_path)
    assert "noise" not in capfd.readouterr().out  # standard output is the MCP server's wire


def test_no_shell_reads_the_line(tmp_path: Path, card: Card) -> None:
    target = tmp_path / "made"
    CommandHook(f"{sys.executable} -c 'import sys' ; touch {target} $(touch {target}) | tee {target}")(card)
    until(ended)
    assert not target.exists()


def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    body = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\n"
        "time.sleep(600)\n"
    )
    begun = time.monotonic()
    CommandHook(script(tmp_path, body), patience=1.5)(card)
    assert time.monotonic() - begun < 1, "the agent does not wait for it"
    until(ended)
    assert "was ended after 1.5 s" in caplog.text
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not alive(pid))  # type: ignore[misc]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_that_fails_or_is_gone_is_logged(
    tmp_path: Path, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    CommandHook(f"{sys.executable} -c 'raise SystemExit(3)'")(card)
    until(ended)
    gone = tmp_path / "gone"
    gone.write_text("#!/bin/sh\n")
    gone.chmod(0o755)
    hooked = CommandHook(str(gone))
    gone.unlink()
    hooked(card)
    until(ended)
    assert "ended with 3" in caplog.text and "was not started" in caplog.text


def test_only_so_many_run_at_once(card: Card, caplog: pytest.LogCaptureFixture) -> None:
    slow = CommandHook("sleep 600", patience=0.5)
    with caplog.at_level(logging.ERROR):
        for _ in range(hook.MOST_AT_ONCE + 2):
            slow(card)
        assert caplog.text.count("is too slow") == 2
        until(ended)
        slow(card)
        until(ended)
    assert caplog.text.count("is too slow") == 2


@pytest.mark.parametrize("line", ["", "   ", "'unclosed s3cret", "/no/such/s3cret", "no-such-program-s3cret", "#"])
def test_what_is_no_command_is_refused_at_the_start(line: str) -> None:
    with pytest.raises(ConfigurationError, match="AGENTPAY_APPROVAL_HOOK") as caught:
        CommandHook(line)
    assert "s3cret" not in str(caught.value)


def test_what_is_passed_on_is_named() -> None:
    given = {"PATH": "p", "HOME": "h", "LC_TIME": "C", "HOOK_URL": "u", "XHOOK_": "no", "hook_x": "no", "PATHX": "no"}
    assert harmless(given) == {"PATH": "p", "HOME": "h", "LC_TIME": "C", "HOOK_URL": "u"}
    assert "PATH" in harmless(os.environ)
