"""`agentpay init` and the enrolment of approvers, which needs a person on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acceptance.cli.conftest import SECRET, Cli
from agentpay import PaymentManager
from agentpay.errors import ApproverRefused
from agentpay_policies.files import ready_file

Typed = list[tuple[str, str]]
Terminal = Callable[[str, Typed], tuple[int, str]]


@pytest.fixture
def terminal(here: Path) -> Terminal:
    """Runs the program on a terminal of its own, and types each text when what stands before it was asked."""

    def run(call: str, typed: Typed) -> tuple[int, str]:
        process, screen = pty.fork()
        if process == 0:
            try:
                os.execv(sys.executable, [sys.executable, "-m", "agentpay_servers", *call.split()])
            finally:
                os._exit(127)
        try:
            return _talk(process, screen, list(typed))
        finally:
            os.close(screen)

    return run


def _talk(process: int, screen: int, typed: Typed) -> tuple[int, str]:
    seen, read, deadline = "", 0, time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([screen], [], [], 0.2)[0]:
            try:
                chunk = os.read(screen, 4096)
            except OSError:  # the program has ended
                chunk = b""
            if not chunk:
                assert not typed, seen
                return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), seen.replace("\r\n", "\n")
            seen += chunk.decode()
        if typed and (place := seen.find(typed[0][0], read)) >= 0:
            read = place + len(typed[0][0])
            os.write(screen, f"{typed.pop(0)[1]}\n".encode())
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    raise AssertionError(f"it waits for something: {seen}")


def test_on_a_terminal_it_enrols_the_first_approver(terminal: Terminal, here: Path, cli: Cli) -> None:
    code, seen = terminal(
        "init --approver olga",
        [
            ("New secret", "short"),
            ("New secret", SECRET),
            ("same again", "another secret"),
            ("New secret", SECRET),
            ("same again", SECRET),
        ],
    )
    assert code == 0
    assert "fewer than 12" in seen
    assert "not the same" in seen
    assert "olga is enrolled as the first approver" in seen
    assert SECRET not in seen
    schema, _, starter = ready_file("starter").partition("\n")
    assert "$schema=policy.schema.json" in schema, "it is where the ready files lie, and not where this one does"
    assert (here / "policy.yaml").read_text() == starter.replace("[owner]", '["olga"]')
    assert [plan["id"] for plan in cli("plans", "list", "--json").data] == ["free", "payg", "pro"]
    assert [one["name"] for one in cli("approvers", "list", "--json").data] == ["olga"]
    assert not (here / "agentpay.db").stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def test_a_second_run_changes_nothing_and_says_so(cli: Cli, here: Path) -> None:
    first = cli("init", "--json").data
    assert first["changed"]
    before = {path.name: path.read_bytes() for path in here.glob("*.yaml")}
    rows = cli("audit", "verify", "--json").data["rows"]
    second = cli("init")
    assert "nothing was changed" in second.out
    assert "policy.yaml is there" in second.out
    assert not cli("init", "--json").data["changed"]
    assert {path.name: path.read_bytes() for path in here.glob("*.yaml")} == before
    assert cli("audit", "verify", "--json").data["rows"] == rows


def test_without_a_terminal_it_enrols_nobody_and_says_how(cli: Cli) -> None:
    said = cli("init", "--approver", "olga", AGENTPAY_APPROVER_SECRET=SECRET)
    assert "Nobody is enrolled" in said.out
    assert "agentpay approvers add olga" in said.err
    assert cli("approvers", "list", "--json").data == []


def test_a_file_of_ones_own_is_kept_and_used(cli: Cli, here: Path) -> None:
    own = ready_file("starter").replace("id: starter", "id: own")
    (here / "policy.yaml").write_text(own)
    (here / "plans.yaml").write_text('{"id": "one", "name": "One", "payment_type": "freemium", "features": ["f"]}')
    cli("init")
    assert (here / "policy.yaml").read_text() == own
    assert cli("policy", "show", "--json").data["id"] == "own"
    assert [plan["id"] for plan in cli("plans", "list", "--json").data] == ["one"]


def test_an_active_policy_is_never_replaced(cli: Cli, here: Path, manager: PaymentManager) -> None:
    said = cli("init", "--approver", "olga")
    assert "goes on deciding by starter, version 1" in said.out
    assert "agentpay policy apply policy.yaml" in said.err
    active = manager.active_policy()
    assert active is not None
    assert active.version == 1


def test_a_broken_policy_file_is_refused(cli: Cli, here: Path) -> None:
    (here / "policy.yaml").write_text("version: 1\nid: x\n")
    assert "POLICY_INVALID" in cli("init", code=1).err


@pytest.mark.parametrize("name", ["", " ", "\x1b[31m"])
def test_a_name_that_no_policy_can_hold_is_refused_before_anything_is_made(cli: Cli, here: Path, name: str) -> None:
    assert "No approver can be called so" in cli("init", "--approver", name, code=2).err
    assert list(here.iterdir()) == []


def test_a_name_cannot_break_out_of_the_policy(cli: Cli, here: Path) -> None:
    name = 'x"], "y: #'
    cli("init", "--approver", name)
    assert cli("policy", "show", "--json").data["policy"]["approvers"] == {"operators": {"members": [name]}}


def test_a_folder_that_cannot_be_written_is_an_error(cli: Cli) -> None:
    said = cli("init", "--policy", "/nowhere/policy.yaml", code=2)
    assert "CONFIGURATION_INVALID: /nowhere/policy.yaml cannot be written" in said.err


def test_a_later_approver_is_enrolled_by_an_earlier_one(terminal: Terminal, manager: PaymentManager, cli: Cli) -> None:
    cli("approvers", "add", "bob", code=2)
    code, _ = terminal(
        "approvers add bob --by owner",
        [("Secret of owner", SECRET), ("New secret for bob", "bob has a secret"), ("same again", "bob has a secret")],
    )
    assert code == 0
    assert {one.name: one.enrolled_by for one in manager.approvers()} == {"owner": "first", "bob": "owner"}


def test_a_secret_is_rotated_with_the_old_one(terminal: Terminal, manager: PaymentManager) -> None:
    new = "a new secret of mine"
    code, seen = terminal(
        "approvers rotate owner", [("Secret of owner", SECRET), ("New secret", new), ("same again", new)]
    )
    assert code == 0
    assert "owner has a new secret" in seen
    with pytest.raises(ApproverRefused):
        manager.rotate_approver("owner", new, by="owner", by_secret=SECRET)
    manager.rotate_approver("owner", new, by="owner", by_secret=new)


def test_a_new_secret_is_never_taken_from_a_pipe(cli: Cli, manager: PaymentManager) -> None:
    said = cli("approvers", "rotate", "owner", code=2, AGENTPAY_APPROVER_SECRET=SECRET)
    assert "on a terminal" in said.err
