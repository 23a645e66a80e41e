"""`agentpay demo`, as a person and as a program runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentpay.errors import ConfigurationError
from agentpay_servers.demo import run, scene
from agentpay_servers.demo.books import EXPECTED
from agentpay_servers.demo.steps import Step, differences, look_up
from agentpay_servers.mcp_config import client_config


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder to work in, and one for temporary files."""
    return tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("temporary")


def demo(places: tuple[Path, Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    work, temporary = places
    environment = {**os.environ, "TMPDIR": str(temporary), "AGENTPAY_APPROVER_SECRET": "a person's own"}
    return subprocess.run(
        [sys.executable, "-m", "agentpay_servers", "demo", *arguments],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


@pytest.fixture(scope="module")
def told(places: tuple[Path, Path]) -> dict[str, Any]:
    """What `agentpay demo --json` prints."""
    begun = time.monotonic()
    done = demo(places, "--json")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 15
    return dict(json.loads(done.stdout))


def test_every_step_comes_out_as_expected(told: dict[str, Any]) -> None:
    assert told["ok"] is True
    assert told["wrong"] == []
    assert [step["ok"] for step in told["steps"]] == [True] * len(told["steps"])


def test_the_agent_speaks_to_a_server_of_its_own(told: dict[str, Any]) -> None:
    assert told["server"][0] == "agentpay mcp: agent support-bot"
    assert "agentpay-demo-" in told["server"][1]
    assert "starter" in told["server"][2]


def test_the_main_job_is_told(told: dict[str, Any]) -> None:
    calls = [(step["actor"], step["call"]) for step in told["steps"]]
    for call in ("tools/list", "check_access", "record_usage", "subscribe", "charge", "refund", "get_budget"):
        assert ("agent", call) in calls
    assert ("operator", "approve") in calls
    statuses = [step["answer"]["status"] for step in told["steps"] if step["call"] == "charge"]
    assert statuses == ["succeeded", "succeeded", "denied", "approval_required", "succeeded", "succeeded"]
    replayed = [step["answer"].get("replayed") for step in told["steps"] if step["call"] == "charge"]
    assert replayed == [False, True, None, False, False, True]


def test_the_books_agree_with_the_provider(told: dict[str, Any]) -> None:
    books = told["books"]
    assert [one["amount"] for one in books["payments"]] == ["30.00 USD", "5.00 USD", "10.00 USD"]
    assert sorted(one["amount"] for one in books["provider"]) == ["10.00 USD", "2.00 USD", "30.00 USD", "5.00 USD"]
    assert books["audit"]["ok"] is True
    assert books["audit"]["rows"] == books["audit"]["sealed"] > 10
    assert books["doctor"]["ok"] is True


def test_the_same_story_runs_on_a_stripe_of_our_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert run(json=True, provider="stripe") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert "clearing:stripe:default" in [one["account"] for one in told["books"]["ledger"]]
    assert [one["amount"] for one in told["books"]["provider"]] == ["10.00 USD", "5.00 USD", "30.00 USD", "2.00 USD"]


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("nobody", {}, "no demo of 'nobody'"),
        ("stripe", {"STRIPE_API_KEY": "sk_live_1"}, "AGENTPAY_LIVE is not 1"),
        ("stripe", {"STRIPE_API_KEY": "sk_live_1", "AGENTPAY_LIVE": "1"}, "moves no real money"),
    ],
)
def test_no_demo_moves_real_money(
    name: str, settings: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=says):
        run(provider=name)


def test_nothing_is_left_behind(told: dict[str, Any], places: tuple[Path, Path]) -> None:
    assert told["ok"]
    assert [list(place.iterdir()) for place in places] == [[], []]
    mark = f"sqlite:///{places[1]}".encode()
    assert not [one for one in Path("/proc").glob("[0-9]*/environ") if mark in _read(one)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_transcript_is_for_people(places: tuple[Path, Path]) -> None:
    done = demo(places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for line in (
        " 6. Charge 5.00 USD: below every limit",
        "    -> POLICY_DENIED: ABOVE_MAXIMUM: 60.00 USD is above the most",
        "    -> NOT PAID YET: payment pay_",
        "    operator: approve(",
        "verified",
        "All 15 steps and the books came out as expected.",
    ):
        assert line in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("    ") and line != line.rstrip()]


def test_a_wrong_answer_is_named_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(EXPECTED, "refunds", ["3.00 USD succeeded"])
    assert run(json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["wrong"] == ["the books: refunds is ['2.00 USD succeeded'], expected ['3.00 USD succeeded']"]


def test_a_server_that_does_not_start_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_policy(*args: Any, **given: Any) -> dict[str, Any]:
        config = client_config(*args, **given)
        config["mcpServers"]["agentpay"]["env"]["AGENTPAY_POLICY"] = "/nowhere/policy.yaml"
        return config

    monkeypatch.setattr(scene, "client_config", without_policy)
    assert run() == 1
    said = capsys.readouterr().out
    assert "WRONG: The server was gone after step 0: Connection closed" in said
    assert "There is no policy file /nowhere/policy.yaml." in said


def test_fields_are_found_by_their_path() -> None:
    answer = {"error": {"violations": [{"code": "HALTED"}]}, "plan": None}
    assert look_up(answer, "error.violations.0.code") == "HALTED"
    assert look_up(answer, "error.violations.1.code") is None
    assert look_up(answer, "plan.name") is None
    assert differences("here", answer, {"plan": "pro"}) == ("here: plan is None, expected 'pro'",)


def test_a_step_knows_whether_it_is_wrong() -> None:
    step = Step(1, "Charge", "agent", "charge", {}, "", {"status": "succeeded"}, {"status": "denied"})
    assert step.wrong == ("step 1, charge: status is 'succeeded', expected 'denied'",)
    assert step.data()["ok"] is False
