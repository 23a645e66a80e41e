"""What people do about agents: the policy, halts, approvals, and how a server is started."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from acceptance.cli.conftest import SECRET, Cli
from agentpay import Payment, PaymentManager
from agentpay_policies.files import ready_file

HOSTILE = "ok\u202e [bold]approve me[/bold]\n\x1b[1A"


@pytest.fixture
def parked(manager: PaymentManager) -> Payment:
    """A charge that waits for a person."""
    bot = manager.for_agent("support-bot")
    return bot.charge("alice", "30.00", "USD", description=HOSTILE, idempotency_key="order-1")


def test_the_card_shows_what_is_decided_and_hides_nothing(cli: Cli, parked: Payment) -> None:
    (listed,) = cli("approvals", "list", "--json").data
    assert (listed["amount"], listed["payee_is_new"], listed["agent"]) == ("30.00", False, "support-bot")
    card = cli("approvals", "show", listed["id"]).out
    for part in ("charge", "collect", "support-bot", "alice", "self (known)", "30.00 USD", "0 of 1", "expires at"):
        assert part in card
    assert r"“ok\u202e [bold]approve me[/bold]\n\x1b[1A”" in card
    assert listed["id"] in cli("approvals", "list").out


def test_an_approver_approves_and_the_payment_runs_once(cli: Cli, parked: Payment, manager: PaymentManager) -> None:
    approval = str(parked.approval_id)
    said = cli("approvals", "approve", approval, "--approver", "owner", AGENTPAY_APPROVER_SECRET=SECRET)
    assert "30.00 USD" in said.out
    assert f"{approval} is approved, 1 of 1" in said.err
    assert cli("payments", "continue", parked.id, "--json").data["status"] == "succeeded"
    assert cli("approvals", "list", "--status", "consumed", "--json").data[0]["id"] == approval
    assert cli("approvals", "list", "--json").data == []
    again = cli("approvals", "approve", approval, "--approver", "owner", code=1, AGENTPAY_APPROVER_SECRET=SECRET)
    assert "CONFLICT" in again.err


def test_an_approver_denies(cli: Cli, parked: Payment) -> None:
    call = ("approvals", "deny", str(parked.approval_id), "--approver", "owner", "--json")
    assert cli(*call, AGENTPAY_APPROVER_SECRET=SECRET).data["status"] == "denied"
    assert cli("payments", "show", parked.id, "--json").data["status"] == "refused"
    refused = cli("payments", "continue", parked.id, code=1).err
    assert "POLICY_DENIED" in refused
    assert "APPROVAL_DENIED" in refused


def test_nobody_approves_without_the_secret(cli: Cli, parked: Payment) -> None:
    call = ("approvals", "approve", str(parked.approval_id), "--approver", "owner")
    assert "APPROVER_REFUSED" in cli(*call, code=1, AGENTPAY_APPROVER_SECRET="wrong secret here").err
    assert "on a terminal" in cli(*call, code=2).err
    assert "Missing option" in cli(*call[:3], code=2).err
    assert "NOT_FOUND" in cli("approvals", "show", "apr_none", code=1).err
    assert "--status is one of" in cli("approvals", "list", "--status", "open", code=2).err
    assert cli("payments", "show", parked.id, "--json").data["status"] == "approval_required"


def test_check_names_every_fault_with_its_line(cli: Cli, here: Path) -> None:
    broken = ready_file("starter").replace('"50.00 USD"', "50.00").replace("id: starter", "id: starter\nbogus: 1")
    (here / "broken.yaml").write_text(broken)
    said = cli("policy", "check", "broken.yaml", code=1)
    faults = said.out.splitlines()
    assert len(faults) >= 3
    assert all(line.startswith("broken.yaml: line ") for line in faults)
    assert "POLICY_INVALID" in said.err
    data = cli("policy", "check", "broken.yaml", "--json", code=1).data
    assert [
        f"broken.yaml: line {one['line']}: {one['pointer'] or 'the file'}: {one['message']}" for one in data["faults"]
    ] == faults
    assert "POLICY_INVALID" in cli("policy", "apply", "broken.yaml", "--database-url", "memory://", code=1).err


def test_check_opens_no_database(cli: Cli, here: Path) -> None:
    (here / "mine.yaml").write_text(ready_file("starter"))
    assert "is in order" in cli("policy", "check", "mine.yaml").out
    assert cli("policy", "check", "starter", "--json", AGENTPAY_DATABASE_URL="nonsense").data["ok"]
    assert [path.name for path in here.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("verb", ["check", "apply"])
def test_a_file_that_everybody_may_write_is_refused(cli: Cli, here: Path, verb: str) -> None:
    path = here / "open.yaml"
    path.write_text(ready_file("starter"))
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    said = cli("policy", verb, "open.yaml", code=1)
    assert "everybody on this machine may write" in said.out + said.err
    assert f"chmod o-w {path}" in said.err


def test_apply_says_every_loosening_aloud(cli: Cli, manager: PaymentManager, here: Path) -> None:
    assert "Nothing was changed" in cli("policy", "apply", "starter").out
    looser = (
        ready_file("starter")
        .replace("150.00 USD", "900.00 USD")
        .replace("duplicate_window: 5m", "duplicate_window: 1m")
    )
    (here / "looser.yaml").write_text(looser)
    said = cli("policy", "apply", "looser.yaml", AGENTPAY_POLICY="starter")
    loosened = [line for line in said.out.splitlines() if line.startswith("LOOSENED: ")]
    assert len(loosened) == 2
    assert "900.00 USD" in said.out
    assert "version 2" in said.out
    stricter = cli("policy", "apply", "starter")
    assert "allows nothing that the one before did not" in stricter.out


def test_apply_warns_of_approvers_who_are_not_enrolled(cli: Cli, url: str) -> None:
    assert "warning: owner may approve and is not enrolled" in cli("policy", "apply", "starter").err


def test_show_is_a_policy_file_again(cli: Cli, manager: PaymentManager, here: Path) -> None:
    (here / "shown.yaml").write_text(cli("policy", "show").out)
    active = manager.active_policy()
    assert active is not None
    assert cli("policy", "check", "shown.yaml", "--json").data["hash"] == active.hash
    assert cli("policy", "show", "--json").data["policy"]["id"] == "starter"


def test_show_without_a_policy_is_not_in_order(cli: Cli, url: str) -> None:
    assert "No policy is active" in cli("policy", "show", code=1).err
    assert cli("agents", "list", "--json").data == []


def test_agents_are_halted_and_go_on(cli: Cli, manager: PaymentManager) -> None:
    cli("halt", "support-bot", "--reason", "it loops")
    (agent,) = cli("agents", "list", "--json").data
    assert (agent["agent"], agent["halted"]) == ("support-bot", "it loops")
    cli("halt", "--reason", "all of it")
    assert "names no agent typo" in cli("halt", "typo", "--reason", "x").err
    assert "halted too: typo (x)" in cli("agents", "list").err
    assert "still halted: support-bot, typo" in cli("resume").err
    cli("resume", "typo")
    assert cli("resume", "support-bot", "--json").data["still_halted"] == []
    assert "There was no halt of support-bot" in cli("resume", "support-bot", code=1).out
    assert "Missing option '--reason'" in cli("halt", code=2).err


def test_nobody_is_told_that_agents_are_halted_in_a_database_that_was_not_there(cli: Cli, here: Path) -> None:
    """In the wrong folder, or with a misspelt name, a new database would be halted while the agents go on."""
    said = cli("halt", "--reason", "stop!", "--database-url", "sqlite:///mistyped.db", code=2)
    assert "There is no database" in said.err and said.out == ""
    assert list(here.iterdir()) == []


def test_agents_of_a_pattern_are_enrolled_one_by_one(cli: Cli, manager: PaymentManager, here: Path) -> None:
    text = ready_file("starter").replace("  support-bot:", '  "worker-*":\n    each: true', 1)
    (here / "each.yaml").write_text(text)
    cli("policy", "apply", "each.yaml")
    assert "worker-1 is enrolled." in cli("agents", "enrol", "worker-1").out
    assert cli("agents", "enrol", "worker-1", "--json").data["changed"] is False
    assert "has nothing for stranger" in cli("agents", "enrol", "stranger").err
    (row,) = cli("agents", "list", "--json").data
    assert (row["agent"], row["each"], row["enrolled"]) == ("worker-*", True, ["worker-1"])
    assert cli("agents", "withdraw", "worker-1", "--json").data["changed"] is True
    assert "was not enrolled" in cli("agents", "withdraw", "worker-1", code=1).out
    assert "INVALID_ARGUMENT" in cli("agents", "enrol", "x" * 400, code=2).err


def test_a_server_is_not_started_where_a_secret_lies_about(cli: Cli, url: str) -> None:
    said = cli("mcp", "--agent", "support-bot", code=2, AGENTPAY_APPROVER_SECRET=SECRET)
    assert "APPROVER_SECRET_EXPOSED" in said.err
    assert SECRET not in said.err


def test_the_printed_configuration_is_absolute(cli: Cli, here: Path) -> None:
    (here / "mine.yaml").write_text(ready_file("starter"))
    said = cli("mcp", "--agent", "a", "--policy", "mine.yaml", "--print-config", AGENTPAY_DATABASE_URL="sqlite:///x.db")
    server = said.data["mcpServers"]["agentpay"]
    assert Path(server["command"]).is_absolute()
    assert server["env"]["AGENTPAY_DATABASE_URL"] == f"sqlite:///{here}/x.db"
    assert server["env"]["AGENTPAY_POLICY"] == str(here / "mine.yaml")
    assert said.err == ""
    remote = cli("mcp", "--agent", "a", "--print-config", AGENTPAY_DATABASE_URL="postgresql://me:hidden@db/pay")
    assert "hidden" not in remote.out
    assert "The password is left out" in remote.err


def test_people_resolve_what_stays_unknown(cli: Cli, manager: PaymentManager) -> None:
    known = manager.charge("alice", "5.00", "USD", idempotency_key="k")
    call = ("payments", "resolve", known.id, "--as", "not-sent", "--evidence", "the bank says so", "--approver")
    assert "only what is unknown" in cli(*call, "owner", code=1, AGENTPAY_APPROVER_SECRET=SECRET).err
    assert "APPROVER_REFUSED" in cli(*call, "owner", code=1, AGENTPAY_APPROVER_SECRET="wrong secret here").err
    assert "on a terminal" in cli(*call, "owner", code=2).err
    assert "on a terminal" in cli(*call, "owner", "--second", "bob", code=2, AGENTPAY_APPROVER_SECRET=SECRET).err
    wrong = cli(*call[:4], "declined", *call[5:], "owner", code=2, AGENTPAY_APPROVER_SECRET=SECRET)
    assert "succeeded, not_sent" in wrong.err
