"""The commands one by one, in this process, on a fresh database."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from acceptance.cli.conftest import Cli
from agentpay import PaymentManager
from agentpay.clock import FixedClock, SystemClock
from agentpay.providers.events import AttemptNews, WebhookEvent
from agentpay.providers.mock import MockProvider
from agentpay.providers.mock_store import books_beside
from agentpay.providers.outcomes import Pending
from agentpay_policies.files import ready_file
from agentpay_policies.money import Money
from agentpay_servers.main import app

PLANS = """
plans:
  - {id: pro, name: Pro, payment_type: subscription, price: "10.00", billing_period: monthly, features: [reports]}
  - {id: payg, name: Pay, payment_type: pay_per_use, price_per_request: "0.0015", features: [api_calls]}
"""

HOSTILE = "nice\x1b[2J\u202egnp.exe\u200b [bold red]FREE[/] :smile:"


def _commands(command: Any, *path: str) -> list[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        return [(" ".join(path), command)]
    return [found for name, child in command.commands.items() for found in _commands(child, *path, name)]


def test_every_command_but_servers_answers_json_and_is_explained() -> None:
    commands = _commands(typer.main.get_command(app))
    assert len(commands) > 35
    for name, command in commands:
        options = {option for parameter in command.params for option in parameter.opts}
        assert command.help, name
        # What serves has no answer, and what exports prints nothing but JSON.
        assert ("--json" in options) != (name in ("mcp", "webhooks serve", "tools export")), name
        assert "--database-url" in options or name in ("demo", "policy check", "policy schema", "tools export"), name


@pytest.fixture
def plans(cli: Cli, url: str, here: Path) -> None:
    (here / "plans.yaml").write_text(PLANS)
    cli("plans", "create", "plans.yaml")


def test_plans_are_made_once_and_versioned(cli: Cli, plans: None, here: Path) -> None:
    assert [one["version"] for one in cli("plans", "create", "plans.yaml", "--json").data] == [1, 1]
    (here / "plans.yaml").write_text(PLANS.replace("10.00", "12.00"))
    assert [one["version"] for one in cli("plans", "create", "plans.yaml", "--json").data] == [2, 1]
    shown = cli("plans", "show", "pro", "--json").data
    assert (shown["price"], shown["features"]) == ("12.00", [{"name": "reports", "limit": None, "price": None}])
    assert "12.00 USD" in cli("plans", "show", "pro").out
    assert "PLAN_UNKNOWN" in cli("plans", "show", "none", code=1).err


def test_usage_is_recorded_shown_and_billed(cli: Cli, plans: None) -> None:
    cli("subscribe", "alice", "payg", "--key", "s")
    recorded = cli("usage", "record", "alice", "api_calls", "--quantity", "1000", "--key", "u", "--json").data
    assert (recorded["quantity"], recorded["cost"], recorded["currency"]) == (1000, "1.5", "USD")
    assert "1.5 USD" in cli("usage", "alice").out
    assert cli("usage", "alice", "--json").data["unbilled"] == [{"amount": "1.5", "currency": "USD"}]
    billed = cli("usage", "bill", "alice", "--key", "b", "--json").data
    assert (billed["status"], billed["amount"], billed["payment_status"]) == ("billed", "1.50", "succeeded")
    assert "nothing_due" in cli("usage", "bill", "alice", "--key", "b2").out
    assert cli("usage", "--json", "alice").data["unbilled"] == []


def test_credits_are_granted_and_seen(cli: Cli, url: str) -> None:
    cli("credits", "grant", "alice", "5", "USD", "--key", "c")
    cli("credits", "grant", "alice", "2.50", "USD", "--key", "c2")
    assert cli("status", "alice", "--json").data["credits"] == [{"amount": "7.50", "currency": "USD"}]
    assert "7.50 USD" in cli("status", "alice").out


def test_customers_are_linked_and_listed(cli: Cli, url: str) -> None:
    assert "no customer" in cli("customers", "list").err
    cli("customers", "link", "o'neill & sons", "mock", "cus_1")
    cli("customers", "link", "bob", "mock", "cus_2")
    assert [one["customer"] for one in cli("customers", "list", "--json").data] == ["bob", "o'neill & sons"]
    assert len(cli("customers", "list", "--limit", "1", "--json").data) == 1
    assert "PROVIDER_UNKNOWN" in cli("customers", "link", "bob", "stripe", "cus_2", code=2).err
    assert "INVALID_ARGUMENT" in cli("customers", "link", "x" * 10_000, "mock", "c", code=2).err


def test_payments_are_listed_and_followed(cli: Cli, url: str) -> None:
    cli("charge", "alice", "5.00", "USD", "--key", "1")
    waiting = cli("charge", "bob", "13.11", "USD", "--key", "2", "--json").data
    declined = cli("charge", "carol", "13.01", "USD", "--key", "3", code=1)
    assert declined.err.startswith("PAYMENT_DECLINED: ")
    assert "next: " in declined.err
    listed = cli("payments", "list", "--json").data
    assert [one["status"] for one in listed] == ["declined", "requires_action", "succeeded"]
    assert cli("payments", "list", "--status", "succeeded", "--json").data == listed[2:]
    assert cli("payments", "list", "--customer", "alice", "--json").data == listed[2:]
    assert "--status is one of" in cli("payments", "list", "--status", "paid", code=2).err
    assert cli("payments", "verify", waiting["id"], "--json").data["id"] == waiting["id"]
    assert waiting["url"] in cli("payments", "continue", waiting["id"]).out


def test_renewals(cli: Cli, plans: None) -> None:
    cli("subscribe", "alice", "pro", "--key", "s")
    assert cli("renew", "--json").data == {"renewed": 0, "failed": 0, "waiting": 0, "ended": 0, "stranded": 0}
    assert "--customer needs --key" in cli("renew", "--customer", "alice", code=2).err
    assert "need --customer" in cli("renew", "--plan", "pro", code=2).err
    assert "NOT_FOUND" in cli("renew", "--customer", "bob", "--key", "r", code=1).err


def test_what_others_wrote_acts_on_nothing(cli: Cli, url: str) -> None:
    made = cli("charge", "[link]a[/link]", "5.00", "USD", "--key", "1", "--description", HOSTILE, "--json")
    assert made.out.isascii()
    assert made.data["description"] == HOSTILE
    shown = cli("payments", "show", made.data["id"]).out
    assert r"nice\x1b[2J\u202egnp.exe\u200b [bold red]FREE[/] :smile:" in shown
    assert "[link]a[/link]" in cli("payments", "list").out
    refused = cli("plans", "show", "\x1b[2Jx", code=1)
    assert "\x1b" not in refused.err


@pytest.mark.parametrize("name", ["reconcile", "doctor", "health", "audit verify", "capabilities", "status alice"])
def test_a_policy_in_the_settings_that_is_not_the_active_one_stops_nobody(
    cli: Cli, manager: PaymentManager, here: Path, name: str
) -> None:
    (here / "other.yaml").write_text(ready_file("starter").replace("id: starter", "id: other"))
    cli(*name.split(), AGENTPAY_POLICY="other.yaml")
    cli(*name.split(), "--json", AGENTPAY_POLICY="missing.yaml")
    assert "POLICY_NOT_ACTIVE" in cli("mcp", "--agent", "support-bot", code=2, AGENTPAY_POLICY="other.yaml").err


def test_looking_after_it(cli: Cli, url: str) -> None:
    assert cli("reconcile", "--json").data == {"looked_up": 0, "settled": 0, "still_open": 0, "more": False}
    health = cli("health", "--json").data
    assert (health["ok"], health["policy"], health["providers"]["mock"]["ok"]) == (True, None, True)
    assert "none is active" in cli("health").out
    assert cli("doctor", "--json").data["ok"]
    assert "All invariants hold" in cli("doctor").out
    assert cli("capabilities", "--json").data[0]["provider"] == "mock"
    assert "revision" in cli("db", "upgrade").out


def test_the_audit_is_held_to_a_head_that_was_kept(cli: Cli, manager: PaymentManager) -> None:
    head = cli("audit", "verify", "--json").data["head"]
    manager.halt(reason="stop")
    assert cli("audit", "verify", "--head", head, "--json").data["ok"]
    said = cli("audit", "verify", "--head", "0" * 64, code=1)
    assert "FAULT: the chain does not contain the expected head" in said.out


def test_a_clock_that_went_back_is_accepted_by_a_person(cli: Cli, url: str) -> None:
    ahead = FixedClock(datetime.now(UTC) + timedelta(days=2))
    with PaymentManager(url, clock=ahead) as manager:
        manager.halt(reason="written in the future")
    assert "CLOCK_WENT_BACK" in cli("resume", code=1).err
    cli("db", "accept-clock")
    cli("resume")


def test_providers_that_cannot_be_used_are_a_wrong_call(cli: Cli, url: str) -> None:
    assert "PROVIDER_UNKNOWN" in cli("capabilities", code=2, AGENTPAY_PROVIDERS="nobody").err
    assert "AGENTPAY_PROVIDERS cannot be used" in cli("health", code=2, AGENTPAY_PROVIDERS="UPPER CASE").err


def test_webhooks_are_listed_and_tried_again(cli: Cli, manager: PaymentManager, url: str) -> None:
    mock = MockProvider(books_beside(url))
    paid = manager.charge("alice", "20.00", "USD", idempotency_key="order-1")
    (charge,) = mock.charges()
    refund = mock.elsewhere.refund(charge.id, Money("5.00", "USD"))
    mock.elsewhere.dispute(charge.id, Money("2.00", "USD"), reason="odd \u202e")
    for reference in (refund, f"mdp_0_{charge.id.partition('_')[2]}"):
        event = mock.webhook(reference)
        manager.receive_webhook("mock", event.body, event.headers)
    made = WebhookEvent("x", "mock", "charge", SystemClock().now(), (AttemptNews("charge", Pending("mch_0"), key="0"),))
    (waits,) = manager._engine.webhooks.apply_events("mock", [made])
    listed = cli("webhooks", "list", "--json").data
    assert [one["status"] for one in listed] == ["waiting", "applied", "applied"]
    assert listed[2]["changed"][0]["change"] == "refund.succeeded"
    assert "dispute.open" in cli("webhooks", "list", "--status", "applied").out
    assert cli("webhooks", "retry", "--json").data == {"tried": 0, "applied": 0, "still_waiting": 0, "expired": 0}
    assert cli("webhooks", "retry", waits.id, "--json").data["waiting"] is True
    cli("webhooks", "retry", "evt_none", code=1)
    cli("webhooks", "list", "--status", "odd", code=2)
    (dispute,) = cli("disputes", "list", "--payment", paid.id, "--json").data
    assert (dispute["status"], dispute["amount"], dispute["withdrawn"]) == ("open", "2.00", "2.00")
    assert "\u202e" not in cli("disputes", "list").out
    assert cli("disputes", "list", "--status", "won").out == ""
    cli("disputes", "list", "--status", "odd", code=2)
    shown = cli("payments", "show", paid.id).out
    assert "2.00 USD" in shown and "Disputes" in shown
    data = cli("payments", "show", paid.id, "--json").data
    assert (data["disputed"], data["refunds"][0]["at_provider"]) == ("2.00", True)


def test_a_port_that_is_taken_is_said(cli: Cli, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"Port {port} cannot be used" in cli("webhooks", "serve", "--port", port, code=2).err


@pytest.mark.parametrize(
    "command",
    [
        "charge alice 5.00 USD --key order-1",
        "subscribe alice pro --key alice-pro",
        "usage record alice api_calls --key r1",
        "usage bill alice --key may",
        "credits grant alice 5 USD --key c1",
        "customers link alice mock cus_1",
        "agents enrol bot",
        "webhooks serve",
    ],
)
def test_nothing_goes_on_in_a_database_that_was_not_there(cli: Cli, here: Path, command: str) -> None:
    """Repeated in the wrong folder, a charge would be another one: its key is new there, and the provider's too."""
    said = cli(*command.split(), code=2)
    assert "There is no database" in said.err, said
    assert list(here.iterdir()) == []
