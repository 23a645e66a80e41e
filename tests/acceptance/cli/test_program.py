"""The real program: its start, its wrong calls, and the operator's main path."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from acceptance.cli.conftest import Cli

HEAVY = ("sqlalchemy", "sqlmodel", "mcp", "alembic", "pydantic", "agentpay", "rich", "click")


def test_help_loads_nothing_of_the_engine_and_is_quick(here: Path) -> None:
    check = f"""
import sys
sys.argv = ["agentpay", "--help"]
from agentpay_servers.main import main
try:
    main()
except SystemExit as exit:
    assert not exit.code, exit.code
found = sorted(name for name in {HEAVY!r} if name in sys.modules)
assert not found, found
"""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "Usage: agentpay" in done.stdout
    assert time.perf_counter() - began < 5  # 0.2 s on an idle machine


def test_help_lists_every_command_in_words_that_fit(program: Cli) -> None:
    said = program("--help").out
    lines = said.partition("Commands:")[2].strip().splitlines()
    assert len(lines) == 30
    assert not [line for line in lines if line.endswith("...") or len(line.split()) < 3]
    assert program().out == said


def test_an_answer_that_cannot_be_written_is_no_traceback(here: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for target, said in ((os.open("/dev/full", os.O_WRONLY), "agentpay: No space left on device\n"), (writing, "")):
        call = [sys.executable, "-m", "agentpay_servers", "--help"]
        done = subprocess.run(call, stdout=target, stderr=subprocess.PIPE, text=True, timeout=30)
        os.close(target)
        assert (done.returncode, done.stderr) == (1, said)


def test_both_names_are_the_same_program(program: Cli) -> None:
    assert program("--version").out == program("--version", python=True).out
    assert program("--version").out.startswith("agentpay 0.")


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("bogus", "No such command 'bogus'"),
        ("plans", "Missing command"),
        ("plans list --bogus", "No such option: --bogus"),
        ("charge alice 5.00 USD", "Missing option '--key'"),
        ("usage record alice api_calls --key k --quantity many", "--quantity"),
        ("usage", "Missing command"),
    ],
)
def test_a_wrong_call_is_answered_in_two_lines(program: Cli, call: str, what: str) -> None:
    said = program(*call.split(), code=2)
    first, second = said.err.splitlines()
    assert what in first
    assert second.startswith("Try: agentpay")
    assert said.out == ""


@pytest.mark.parametrize(
    ("call", "code", "error"),
    [
        ("plans list", 2, "CONFIGURATION_INVALID: There is no database"),
        ("health --database-url nonsense", 2, "CONFIGURATION_INVALID: The database URL is none"),
        ("charge alice 1,000 USD --key k --database-url memory://", 2, "AMOUNT_INVALID"),
        ("charge alice 19.999 USD --key k --database-url memory://", 2, "AMOUNT_INVALID"),
        ("charge alice 5.00 ZZZ --key k --database-url memory://", 2, "CURRENCY_UNKNOWN"),
        ("subscribe alice none --key k --database-url memory://", 1, "PLAN_UNKNOWN"),
        ("payments show pay_x --database-url memory://", 1, "NOT_FOUND"),
        ("policy check none.yaml", 2, "CONFIGURATION_INVALID: There is no policy file /"),
        ("plans create none.yaml", 2, "CONFIGURATION_INVALID: There is no file /"),
        ("mcp", 2, "CONFIGURATION_INVALID: No agent is named"),
        ("mcp --agent a --policy none.yaml", 2, "CONFIGURATION_INVALID: There is no policy file /"),
    ],
)
def test_an_error_says_its_code_and_what_next(cli: Cli, call: str, code: int, error: str) -> None:
    said = cli(*call.split(), code=code)
    first, second = said.err.splitlines()
    assert first.startswith(error)
    assert second.startswith("next: ")


def test_a_file_that_is_no_database_is_an_error_with_its_code(program: Cli, here: Path) -> None:
    (here / "broken.db").write_text("this is no database " * 100)
    said = program("plans", "list", "--database-url", "sqlite:///broken.db", code=1)
    assert said.err.startswith("STORAGE_CORRUPT: ")


def test_looking_makes_no_database(program: Cli, cli: Cli, here: Path) -> None:
    program("audit", "verify", code=2)
    cli("doctor", code=2)
    assert list(here.iterdir()) == []


def test_the_operators_main_path(program: Cli, cli: Cli, here: Path) -> None:
    program("init", "--approver", "olga")
    assert cli("subscribe", "alice", "pro", "--key", "s1", "--json").data["status"] == "active"
    cli("usage", "record", "alice", "api_calls", "--quantity", "30", "--key", "u1")
    charge = ("charge", "alice", "12.50", "USD", "--key", "c1", "--description", "Analysis", "--json")
    paid = program(*charge).data
    assert (paid["status"], paid["amount"], paid["replayed"]) == ("succeeded", "12.50", False)
    assert cli(*charge).data["replayed"]
    cli("refund", paid["id"], "--amount", "2.5", "--reason", "partial", "--key", "r1")
    shown = cli("payments", "show", paid["id"], "--json").data
    assert shown["refunded"] == "2.50"
    assert [one["amount"] for one in shown["refunds"]] == ["2.50"]
    status = cli("status", "alice", "--json").data
    assert [one["plan"] for one in status["subscriptions"]] == ["pro"]
    assert {one["feature"]: one["recorded"] for one in status["usage"]}["api_calls"] == 30
    assert len(status["payments"]) == 2
    assert program("audit", "verify", "--json", python=True).data["ok"]
