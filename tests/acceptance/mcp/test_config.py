"""The JSON that clients start servers by: absolute, and without a secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agentpay.errors import ConfigurationError
from agentpay.settings import load_settings
from agentpay_servers.mcp_config import absolute_url, client_config, policy_path, without_password
from agentpay_servers.mcp_start import checked_agent, refuse_approver_secret


def test_everything_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("version: 1\n")
    config = client_config("bot", database_url="sqlite:///agentpay.db", policy="my.yaml", providers=("mock", "stripe"))
    assert config == {
        "mcpServers": {
            "agentpay": {
                "command": str(Path(sys.executable).absolute()),
                "args": ["-m", "agentpay_servers", "mcp", "--agent", "bot"],
                "env": {
                    "AGENTPAY_DATABASE_URL": f"sqlite:///{tmp_path / 'agentpay.db'}",
                    "AGENTPAY_POLICY": str(tmp_path / "my.yaml"),
                    "AGENTPAY_PROVIDERS": "mock,stripe",
                },
            }
        }
    }
    assert json.loads(json.dumps(config)) == config


def test_a_ready_policy_is_named_by_its_file() -> None:
    path = Path(policy_path("starter"))
    assert path.is_absolute()
    assert "id: starter" in path.read_text("utf-8")


def test_a_file_wins_over_a_ready_policy_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "starter").write_text("version: 1\n")
    assert policy_path("starter") == str(tmp_path / "starter")


def test_a_missing_policy_is_refused_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        policy_path("none.yaml")
    assert str(tmp_path / "none.yaml") in caught.value.message
    assert "starter" in caught.value.next_step


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ana:hunter2@db.example:5433/pay?sslmode=require",
        "postgresql://ana@db.example:5433/pay?password=hunter2&sslmode=require",
        "postgresql://ana:hunter2@db.example:5433/pay?sslpassword=hunter2&sslmode=require",
    ],
)
def test_a_password_is_left_out(url: str) -> None:
    shown = client_config("bot", database_url=url)["mcpServers"]["agentpay"]["env"]["AGENTPAY_DATABASE_URL"]
    assert shown == "postgresql://ana@db.example:5433/pay?sslmode=require"


def test_the_secret_of_a_provider_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    monkeypatch.setenv("AGENTPAY_APPROVER_SECRET", "hunter2")
    shown = json.dumps(client_config("bot", database_url="memory://", policy="starter", live=True))
    assert "sk_test_1" not in shown
    assert "hunter2" not in shown
    assert '"AGENTPAY_LIVE": "1"' in shown


@pytest.mark.parametrize("url", ["not a url with hunter2", "postgresql://ana:hunter2@db:port/x"])
def test_what_is_no_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        without_password(absolute_url(url))
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_private_database_stays_private() -> None:
    assert without_password(absolute_url("memory://")) == "memory://"


@pytest.mark.parametrize("agent", [None, ""])
def test_a_server_speaks_for_somebody(agent: str | None) -> None:
    with pytest.raises(ConfigurationError, match="No agent is named"):
        checked_agent(agent)


def test_an_approvers_secret_in_a_file_of_settings_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("AGENTPAY_APPROVER_SECRET=hunter2\n")
    with pytest.raises(ConfigurationError, match="APPROVER_SECRET_EXPOSED"):
        refuse_approver_secret(load_settings())
