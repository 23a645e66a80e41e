"""Questions to a policy: what it says, what it would decide, what another one would change. Wrong calls first."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from acceptance.cli.conftest import SECRET, Cli
from agentpay import Payment, PaymentManager
from agentpay.spending.tables import DecisionRequestRow
from agentpay.storage import Tx
from agentpay_policies.files import ready_file

BOT = "support-bot"
CHARGE = ("policy", "simulate", BOT, "charge", "--customer", "alice", "--currency", "USD", "--amount")
WITH_A_FILE = [
    ("policy", "explain", BOT, "--file"),
    ("policy", "diff", "starter"),
    ("policy", "backtest"),
]


@pytest.fixture
def looser(here: Path) -> str:
    """The starter policy with a higher cap and a lower maximum."""
    text = ready_file("starter").replace('"150.00 USD"', '"900.00 USD"').replace('max: "50.00 USD"', 'max: "40.00 USD"')
    (here / "looser.yaml").write_text(text)
    return "looser.yaml"


# ---- wrong calls


@pytest.mark.parametrize("call", WITH_A_FILE, ids=lambda call: call[1])
def test_a_file_that_is_none_is_refused(cli: Cli, manager: PaymentManager, here: Path, call: tuple[str, ...]) -> None:
    assert f"There is no policy file {here / 'none.yaml'}" in cli(*call, "none.yaml", code=2).err
    (here / "folder").mkdir()
    assert "cannot be read: Is a directory" in cli(*call, "folder", code=2).err
    (here / "broken.yaml").write_text("version: 1\nid: x\nagnets: {}\n")
    assert "POLICY_INVALID" in cli(*call, "broken.yaml", code=1).err
    (here / "bytes.yaml").write_bytes(b"\xff\xfe")
    assert "no UTF-8 text" in cli(*call, "bytes.yaml", code=1).err
    open_file = here / "open.yaml"
    open_file.write_text(ready_file("starter"))
    open_file.chmod(open_file.stat().st_mode | stat.S_IWOTH)
    assert "everybody on this machine may write" in cli(*call, "open.yaml", code=1).err


@pytest.mark.parametrize("call", [*WITH_A_FILE, ("policy", "diff", "active")], ids=lambda call: "-".join(call[1:]))
def test_active_is_nothing_where_no_policy_is(cli: Cli, url: str, call: tuple[str, ...]) -> None:
    assert "NOT_FOUND: No policy is active" in cli(*call, "active", code=1).err


def test_no_database_is_made_to_answer_a_question(cli: Cli, here: Path) -> None:
    for call in ((*CHARGE, "5.00"), ("policy", "explain", BOT), ("policy", "backtest", "starter")):
        assert "There is no database" in cli(*call, code=2).err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("arguments", "says"), [
    (("pay",), "INVALID_ARGUMENT: 'pay' is no operation"),
    (("charge",), "INVALID_ARGUMENT: This operation needs customer"),
    (("charge", "--customer", "a", "--currency", "USD"), "INVALID_ARGUMENT: This operation needs amount"),
    (("charge", "--customer", "a", "--currency", "USD", "--amount", "five"), "AMOUNT_INVALID"),
    (("charge", "--customer", "a", "--currency", "USD", "--amount", "-5"), "AMOUNT_INVALID"),
    (("charge", "--customer", "a", "--currency", "USD", "--amount", "5.001"), "AMOUNT_INVALID"),
    (("charge", "--customer", "a", "--currency", "XYZ", "--amount", "5"), "CURRENCY_UNKNOWN"),
    (("charge", "--customer", "a", "--currency", "USD", "--amount", "5", "--payee", "bob"), "PAYEE_INVALID"),
    (("charge", "--customer", "a", "--currency", "USD", "--amount", "5", "--provider", "stripe"), "PROVIDER_UNKNOWN"),
    (("subscribe", "--customer", "a", "--plan", "none"), "PLAN_UNKNOWN"),
    (("refund", "--payment", "pay_none"), "NOT_FOUND"),
    (("record_usage", "--customer", "a", "--quantity", "many"), "Invalid value for '--quantity'"),
    (("record_usage", "--customer", "a", "--quantity", "0"), "INVALID_ARGUMENT"),
])  # fmt: skip
def test_a_wrong_question_is_a_wrong_call(cli: Cli, shared_url: str, arguments: tuple[str, ...], says: str) -> None:
    code = 1 if says in ("PLAN_UNKNOWN", "NOT_FOUND") else 2
    said = cli("policy", "simulate", BOT, *arguments, code=code, AGENTPAY_DATABASE_URL=shared_url)
    assert says in said.err and said.out == ""


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for questions that change nothing."""
    url = f"sqlite:///{tmp_path_factory.mktemp('questions') / 'agentpay.db'}"
    PaymentManager(url, provider="mock", policy="starter").close()
    return url


@pytest.mark.parametrize("since", ["yesterday", "2026-01-31", "2026-01-31T09:00:00", "", "d", "-1d", "1h30m"])
def test_a_moment_that_is_none_is_a_wrong_call(cli: Cli, shared_url: str, since: str) -> None:
    said = cli("policy", "backtest", "starter", "--since", since, code=2, AGENTPAY_DATABASE_URL=shared_url)
    assert "INVALID_ARGUMENT: --since" in said.err


# ---- what they answer


def test_the_rules_in_plain_sentences(cli: Cli, manager: PaymentManager, looser: str) -> None:
    said = cli("policy", "explain", BOT).out
    assert "Charges: at most 150.00 USD within any 1d (day-cap)." in said
    assert "at most 900.00 USD" in cli("policy", "explain", BOT, "--file", looser).out
    data = cli("policy", "explain", BOT, "--file", "treasury", "--json", code=1).data
    assert (data["known"], data["policy"], data["agent"]) == (False, "treasury", BOT)
    assert cli("policy", "explain", BOT, "--json").data["sentences"] == said.splitlines()


def test_an_unknown_agent_is_not_in_order(cli: Cli, manager: PaymentManager) -> None:
    said = cli("policy", "explain", "nobody", code=1)
    assert "has no entry for nobody: everything is denied" in said.out and "The policy names: support-bot" in said.err
    assert "INVALID_ARGUMENT" in cli("policy", "explain", "a\u202eb", code=2).err
    denied = cli("policy", "simulate", "nobody", "get_budget")
    assert denied.out.startswith("ALLOWED")
    assert "AGENT_UNKNOWN" in cli(*CHARGE[:2], "nobody", *CHARGE[3:], "5.00", code=1).out


def test_a_charge_is_tried_without_a_hold(cli: Cli, manager: PaymentManager, here: Path) -> None:
    bot = manager.for_agent(BOT)
    bot.charge("alice", "20.00", "USD", description="x", idempotency_key="k1")
    bot.charge("alice", "30.00", "USD", description="x", idempotency_key="k2")
    before = content(manager)
    assert cli(*CHARGE, "10.00").out.startswith("ALLOWED: it would happen at once.\nLimits that it meets:\n")
    asked = cli(*CHARGE, "31.00").out
    assert asked.startswith("ASKED: people would have to approve it first.\n  big: 1 of owner, within 1d\n")
    denied = cli(*CHARGE, "60.00", code=1)
    assert denied.out.startswith("DENIED, for these reasons:\n  ABOVE_MAXIMUM: ")
    assert content(manager) == before
    twin = cli(*CHARGE, "30.00", code=1).out
    assert "DUPLICATE_SUSPECTED" in twin
    payment = re.findall(r"pay_[0-9a-f]+", twin)[0]
    assert cli(*CHARGE, "30.00", "--distinct-from", payment).out.startswith("ASKED")
    data = cli(*CHARGE, "31.00", "--json").data
    assert (data["outcome"], data["approvals"][0]["rule"], data["policy"]["id"]) == ("approve", "big", "starter")
    (cap,) = [one for one in data["limits"] if one["rule"].endswith("day-cap")]
    assert (cap["limit"], cap["used"], cap["held"], cap["remaining"], cap["asked"], cap["fits"]) == (
        "150.00 USD", "20.00 USD", "30.00 USD", "100.00 USD", "31.00 USD", True,
    )  # fmt: skip
    refused = cli(*CHARGE, "60.00", "--json", code=1).data
    assert (refused["violations"][0]["code"], refused["violations"][0]["next_step"] != "") == ("ABOVE_MAXIMUM", True)


def content(manager: PaymentManager) -> str:
    """A hash over everything that the database holds."""
    with manager._engine.store.engine.connect() as conn:
        dump = [
            str(conn.execute(sa.text(f"SELECT * FROM {name}")).all()) for name in sa.inspect(conn).get_table_names()
        ]
    return hashlib.sha256("\n".join(dump).encode()).hexdigest()


def test_every_loosening_is_marked(cli: Cli, manager: PaymentManager, looser: str) -> None:
    said = cli("policy", "diff", "active", looser)
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["LOOSENS", "TIGHTENS"]
    assert "900.00 USD" in said.out and "40.00 USD" in said.out
    assert cli("policy", "diff", "active", looser, "--fail-on-loosening", code=1).out == said.out
    data = cli("policy", "diff", looser, "starter", "--json").data
    assert (data["loosens"], [one["kind"] for one in data["changes"]]) == (True, ["loosens", "tightens"])
    same = cli("policy", "diff", "starter", "active", "--fail-on-loosening")
    assert same.out == "Both allow the same.\n"
    cli("policy", "apply", looser)
    assert "TIGHTENS" in cli("policy", "diff", "active", "starter").out


def test_the_schema_is_the_one_of_the_ready_files(cli: Cli) -> None:
    said = cli("policy", "schema")
    assert json.loads(said.out)["type"] == "object"
    assert said.out == (Path(__file__).parents[3] / "policies" / "policy.schema.json").read_text("utf-8")


def test_the_past_is_replayed_in_money(cli: Cli, manager: PaymentManager, looser: str) -> None:
    def write(tx: Tx) -> None:
        for _ in range(30):
            tx.insert(
                DecisionRequestRow, agent=BOT, operation="charge", direction="collect", payee="self", provider="mock",
                currency="USD", amount_minor=4500, quantity=1, own_charge=True, term=1, outcome="approve",
                decided_at=tx.now(),
            )  # fmt: skip

    manager._engine.store.write(write)
    said = cli("policy", "backtest", looser)
    assert "30 requests, replayed under starter" in said.out
    assert "approve → deny: 30, 1350.00 USD" in said.out and "ABOVE_MAXIMUM" in said.out
    assert "10 more: --json has them all" in said.err
    data = cli("policy", "backtest", looser, "--since", "2d", "--json").data
    assert (data["replayed"], len(data["moved"]), data["lines"][0]["amount"]) == (30, 30, "1350.00")
    assert data["moved"][0]["reasons"] == ["ABOVE_MAXIMUM"]
    late = "2099-01-01T00:00:00+00:00"
    assert f"0 requests since {late}" in cli("policy", "backtest", "active", "--since", late).out


# ---- the card


def test_the_card_shows_what_the_agent_spent_and_has_left(cli: Cli, manager: PaymentManager) -> None:
    bot = manager.for_agent(BOT)
    bot.charge("ana", "20.00", "USD", description="x", idempotency_key="k1")
    parked: Payment = bot.charge("alice", "30.00", "USD", description="a\u202eb", idempotency_key="k2")
    card = cli("approvals", "show", str(parked.approval_id)).out
    for part in (
        "the agent collected 20.00 USD and sent 0.00 USD", "mock, account mock, test mode", "“a\\u202eb”",
        "owner must approve within 1d when it is more than 25.00 USD", "130.00 USD",
    ):  # fmt: skip
        assert part in card
    data = cli("approvals", "show", str(parked.approval_id), "--json").data
    assert data == manager.approval_card(str(parked.approval_id)).as_data()
    said = cli("approvals", "approve", data["id"], "--approver", "owner", AGENTPAY_APPROVER_SECRET=SECRET)
    assert "Asked by:" in said.out and "Limits that it meets, without itself:" in said.out


def test_a_hook_that_is_none_is_a_wrong_call(cli: Cli, manager: PaymentManager) -> None:
    said = cli("approvals", "list", code=2, AGENTPAY_APPROVAL_HOOK="no-such-program-at-all 's3cret'")
    assert "AGENTPAY_APPROVAL_HOOK names no program" in said.err and "s3cret" not in said.err
    shown = cli("mcp", "--agent", BOT, "--print-config", AGENTPAY_APPROVAL_HOOK="true s3cret")
    assert "s3cret" not in shown.out and "AGENTPAY_APPROVAL_HOOK is left out" in shown.err
