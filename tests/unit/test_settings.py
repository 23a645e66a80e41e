"""Where settings come from, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from agentpay.errors import ConfigurationError
from agentpay.settings import Settings, SourcedSettings, load, load_settings


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working directory and no variable of ours."""
    for name in [name for name in os.environ if name.startswith("AGENTPAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_the_defaults_hold() -> None:
    assert load_settings() == Settings(
        database_url="sqlite:///agentpay.db",
        policy=None,
        agent=None,
        providers=("mock",),
        live=False,
        throttle="600/120",
        approver_secret=None,
    )


def test_arguments_beat_environment_beats_dotenv_beats_toml(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "agentpay.toml").write_text('AGENTPAY_AGENT = "toml"\npolicy = "toml"\nthrottle = "1/1"\nlive = true\n')
    (folder / ".env").write_text("AGENTPAY_AGENT=dotenv\nAGENTPAY_POLICY=dotenv\nSTRIPE_API_KEY=sk_test_1\n")
    monkeypatch.setenv("AGENTPAY_AGENT", "environment")
    found = load_settings(agent=None)
    assert (found.agent, found.policy, found.throttle, found.live) == ("environment", "dotenv", "1/1", True)
    assert load_settings(agent="argument").agent == "argument"


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPAY_POLICY", "")
    monkeypatch.setenv("AGENTPAY_PROVIDERS", "")
    assert (load_settings().policy, load_settings().providers) == (None, ("mock",))


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("PROVIDERS", "stripe, mock", "providers", ("stripe", "mock")),
        ("LIVE", "1", "live", True),
        ("THROTTLE", "OFF", "throttle", "off"),
        ("THROTTLE", "10 / 20", "throttle", "10/20"),
        ("DATABASE_URL", "postgresql://u:pw@h/db", "database_url", "postgresql://u:pw@h/db"),
    ],
)
def test_values_are_read(monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object) -> None:
    monkeypatch.setenv(f"AGENTPAY_{name}", value)
    assert getattr(load_settings(), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LIVE", "perhaps-s3cret"),
        ("THROTTLE", "s3cret"),
        ("THROTTLE", "600"),
        ("THROTTLE", "0/5"),
        ("PROVIDERS", "mock,,s3cret"),
        ("PROVIDERS", "mock,mock"),
        ("PROVIDERS", "../s3cret"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable_only(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AGENTPAY_{name}", value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    text = str(caught.value)
    assert f"AGENTPAY_{name} cannot be used" in text
    assert "s3cret" not in text
    assert "\n" not in text
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("agent = ", "is no TOML"),
        ('databse_url = "s3cret"', "'databse_url', which is no setting"),
        ('AGENTPAY_AGNT = "s3cret"', "'AGENTPAY_AGNT', which is no setting"),
        ('[stripe]\nkey = "s3cret"', "'stripe', which is no setting"),
        ('[STRIPE]\nkey = "s3cret"', "a table 'STRIPE'"),
        ("agent = 5", "AGENTPAY_AGENT cannot be used"),
        ("approver_secret = 12345", "AGENTPAY_APPROVER_SECRET cannot be used"),
    ],
)
def test_a_bad_toml_file_says_where(folder: Path, text: str, says: str) -> None:
    (folder / "agentpay.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(folder: Path) -> None:
    (folder / "agentpay.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"agentpay\.toml is no UTF-8"):
        load_settings()
    (folder / "agentpay.toml").unlink()
    (folder / "agentpay.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"agentpay\.toml cannot be read"):
        load_settings()
    (folder / "agentpay.toml").rmdir()
    (folder / ".env").write_bytes(b"AGENTPAY_AGENT=\xff")
    with pytest.raises(ConfigurationError, match=r"\.env is no UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    "line", ['AGENTPAY_PROVIDERS="stripe', "export AGENTPAY_PROVIDERS='stripe", 'AGENTPAY_LIVE "1"=']
)
def test_a_line_of_dotenv_that_cannot_be_read_is_not_left_out(folder: Path, line: str) -> None:
    """The default would take its place: with the mock for a provider, everything is given for nothing."""
    (folder / ".env").write_text(f"AGENTPAY_AGENT=bot\n{line}\nAGENTPAY_POLICY=starter\n")
    with pytest.raises(ConfigurationError, match=r"Line 2 of \.env cannot be read: AGENTPAY_") as caught:
        load_settings()
    assert "stripe" not in str(caught.value)


def test_what_others_have_in_dotenv_is_their_business(folder: Path) -> None:
    (folder / ".env").write_text('OTHER="x\nnot a = line "\nAGENTPAY_AGENT=bot\n')
    assert load_settings().agent == "bot"


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPAY_APPROVER_SECRET", "s3cret")
    found = load_settings(database_url="postgresql://u:s3cret@h/db")
    assert "s3cret" not in repr(found) + str(found)
    assert found.approver_secret is not None
    assert found.approver_secret.get_secret_value() == "s3cret"


def test_settings_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        load_settings().live = True
    with pytest.raises(TypeError, match="no setting databse"):
        load_settings(databse="x")


def test_a_provider_has_settings_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(SourcedSettings):
        model_config = SettingsConfigDict(env_prefix="MINE_")
        api_key: SecretStr
        region: str = "eu"

    with pytest.raises(ConfigurationError, match="MINE_API_KEY cannot be used: field required"):
        load(Mine)
    (folder / "agentpay.toml").write_text('MINE_REGION = "us"\n')
    (folder / ".env").write_text("MINE_API_KEY=sk_test\n")
    found = load(Mine)
    assert (found.region, found.api_key.get_secret_value()) == ("us", "sk_test")
