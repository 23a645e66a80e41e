"""`agentpay db`, `worker` and `customers erase`: wrong calls first, then what they are for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from acceptance.cli.conftest import Cli
from agentpay import PaymentManager
from agentpay.storage import Store
from agentpay.storage.migrate import upgrade_to
from agentpay.storage.schema import known_revision


@pytest.fixture
def paid(url: str, here: Path) -> str:
    """A database with a payment in it."""
    with PaymentManager(url, provider="mock") as manager:
        manager.charge("alice", "5.00", "USD", idempotency_key="one", description="a book")
    return url


@pytest.mark.parametrize("command", ["db export e.jsonl", "db backup b.db", "db restored", "worker --once"])
def test_a_database_that_is_not_there_is_not_made(cli: Cli, here: Path, command: str) -> None:
    said = cli(*command.split(), "--database-url", "sqlite:///missing.db", code=2)
    assert "There is no database" in said.err
    assert list(here.iterdir()) == []


def test_an_import_of_what_is_no_export(cli: Cli, here: Path, paid: str) -> None:
    to = ("--database-url", "sqlite:///new.db")
    assert "cannot be read" in cli("db", "import", "missing.jsonl", *to, code=2).err
    (here / "diary.jsonl").write_text("Dear diary,\n")
    assert "IMPORT_INVALID: Line 1 " in cli("db", "import", "diary.jsonl", *to, code=1).err
    cli("db", "export", "e.jsonl")
    lines = (here / "e.jsonl").read_text().splitlines(keepends=True)
    (here / "broken.jsonl").write_text("".join([*lines[:4], lines[4].replace('"row"', '"wor"'), *lines[5:]]))
    assert "IMPORT_INVALID: Line 5 " in cli("db", "import", "broken.jsonl", *to, code=1).err
    (here / "later.jsonl").write_text("".join([lines[0].replace('"revision":"', '"revision":"9'), *lines[1:]]))
    assert "SCHEMA_NEWER" in cli("db", "import", "later.jsonl", *to, code=1).err
    assert "CONFLICT: The database is not empty" in cli("db", "import", "e.jsonl", code=1).err


def test_files_that_are_there_or_cannot_be_made_are_left_alone(cli: Cli, here: Path, paid: str) -> None:
    (here / "mine").write_text("mine")
    for command in ("export", "backup"):
        assert "there already" in cli("db", command, "mine", code=2).err
        assert "cannot be written" in cli("db", command, "no/such/folder", code=2).err
    assert (here / "mine").read_text() == "mine"
    assert "--json says what was written" in cli("db", "export", "-", "--json", code=2).err


def test_a_database_of_a_later_program_is_refused_by_every_command(cli: Cli, paid: str) -> None:
    store = Store(paid)
    store.write(lambda tx: tx.execute(sa.text("UPDATE agentpay_revision SET version_num = '9999'")))
    store.close()
    for command in ("doctor", "db upgrade", "db export e.jsonl", "db backup b.db", "worker --once", "resume"):
        said = cli(*command.split(), code=1)
        assert "SCHEMA_NEWER" in said.err and "later one" in said.err, command


def test_a_database_moves_as_a_file_and_is_halted_until_a_person_goes_on(cli: Cli, here: Path, paid: str) -> None:
    done = cli("db", "export", "e.jsonl", "--json").data
    assert done["rows"] > 5 and len(done["sha256"]) == 64
    assert (here / "e.jsonl").stat().st_mode & 0o077 == 0
    printed = cli("db", "export", "-")
    assert printed.out.partition("\n")[2] == (here / "e.jsonl").read_text().partition("\n")[2]
    assert f"{done['rows']} rows" in printed.err
    to = ("--database-url", "sqlite:///moved.db")
    assert cli("db", "import", "e.jsonl", "--json", *to).data["rows"] == done["rows"]
    assert (here / "moved.db").stat().st_mode & 0o077 == 0
    assert cli("payments", "list", "--json", *to).data[0]["amount"] == "5.00"
    assert "agents are halted" in cli("doctor", *to).err
    assert cli("health", "--json", *to).data["halted_epoch"] == 2
    assert "RECONCILE_FIRST" in cli("resume", *to, code=1).err
    assert cli("renew", "--json", *to).data["renewed"] == 0
    cli("reconcile", *to)
    cli("resume", *to)
    assert "agents are halted" not in cli("doctor", *to).err


def test_a_backup_is_opened_halted(cli: Cli, here: Path, paid: str) -> None:
    cli("db", "backup", "copy.db")
    to = ("--database-url", "sqlite:///copy.db")
    assert "RECONCILE_FIRST" in cli("resume", *to, code=1).err
    assert "There was no halt" in cli("resume", code=1).out
    cli("db", "restored")
    assert "RECONCILE_FIRST" in cli("resume", code=1).err


def test_a_backup_before_an_upgrade_upgrades_nothing(cli: Cli, here: Path, url: str) -> None:
    old = Store("sqlite:///old.db")
    with old.backend.creating() as conn:
        upgrade_to(conn, "0005")
    cli("db", "backup", "copy.db", "--database-url", "sqlite:///old.db")
    assert known_revision(old) == "0005"
    old.close()


def test_a_worker_runs_what_is_due_once_and_says_what_each_job_did(cli: Cli, url: str) -> None:
    cli("charge", "alice", "13.22", "USD", "--key", "lost")
    ran = {one["job"]: one for one in cli("worker", "--once", "--json").data}
    assert ran["reconcile"]["ended"] == "done"
    jobs = {"reconcile", "polling", "webhooks", "approvals", "subscriptions", "renewals", "throttles", "prune"}
    assert set(ran) == jobs
    again = cli("worker", "--once").out
    assert "not due yet" in again


def test_the_age_of_the_oldest_unknown_is_told(cli: Cli, url: str) -> None:
    cli("charge", "alice", "13.22", "USD", "--key", "lost")
    store = Store(url)
    two_hours = "UPDATE attempts SET sent_at = sent_at - 7500000000, next_check_at = sent_at - 7500000000"
    store.write(lambda tx: tx.execute(sa.text(two_hours)))
    store.close()
    said = cli("health")
    assert "for 2 h 5 min" in said.err
    assert 7500 <= cli("health", "--json").data["oldest_unknown_seconds"] < 7700
    told = cli("doctor", "--json").data["warnings"]
    assert [line for line in told if "a worker ran never" in line]


def test_sigterm_ends_a_worker_cleanly(paid: str, here: Path) -> None:
    program = [sys.executable, "-m", "agentpay_servers", "worker"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    ) as child:
        try:
            assert child.stderr is not None
            assert "ready" in child.stderr.readline()
            child.send_signal(signal.SIGTERM)
            _, err = child.communicate(timeout=30)
        finally:
            child.kill()
    assert (child.returncode, "ended" in err, "Traceback" in err) == (0, True, False)


def test_a_customer_is_erased(cli: Cli, paid: str) -> None:
    assert "NOT_FOUND" in cli("customers", "erase", "nobody", code=1).err
    assert "INVALID_ARGUMENT" in cli("customers", "erase", " ", code=2).err
    assert "is erased, with 1 texts" in cli("customers", "erase", "alice").out
    assert cli("customers", "erase", "alice", "--json").data["already"]
    assert cli("doctor", "--json").data["ok"] and cli("audit", "verify", "--json").data["ok"]
    assert "alice" not in cli("db", "export", "-").out


def test_a_customer_with_an_open_payment_is_not(cli: Cli, url: str) -> None:
    made = json.loads(cli("charge", "bob", "13.11", "USD", "--key", "1", "--json").out)
    said = cli("customers", "erase", "bob", code=1)
    assert "CONFLICT" in said.err and f"payments verify {made['id']}" in said.err
