"""Providers by name, and the enabled ones together."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpay.errors import ConfigurationError, ModeMismatch, ProviderUnknown
from agentpay.providers.base import Mode, PaymentProvider
from agentpay.providers.mock import MockProvider
from agentpay.providers.registry import GROUP, Providers, create_payment_provider, installed_providers

NOWHERE = "sqlite:////nowhere/agentpay.db"


class Other(MockProvider):
    """Another provider, by name."""

    def __init__(self, name: str = "other", mode: Mode = "test", account: str = "acct_1") -> None:
        super().__init__(NOWHERE)
        self._name, self._mode, self._account = name, mode, account

    @property
    def name(self) -> str:
        return self._name

    @property
    def mode(self) -> Mode:
        return self._mode

    @property
    def account(self) -> str:
        return self._account


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution that brings the provider "other", and one whose library is missing."""
    module = types.ModuleType("agentpay_other_plugin")
    module.make = lambda *, api_key, mode="test": Other(account=api_key, mode=mode)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entries = importlib.metadata.EntryPoints(
        [
            importlib.metadata.EntryPoint("other", "agentpay_other_plugin:make", GROUP),
            importlib.metadata.EntryPoint("broken", "agentpay_missing_plugin:make", GROUP),
            importlib.metadata.EntryPoint("mock", "agentpay_other_plugin:make", GROUP),
        ]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: entries.select(group=group))
    yield


def test_the_mock_is_always_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: importlib.metadata.EntryPoints())
    assert installed_providers() == ["mock"]
    made = create_payment_provider("mock", database_url=f"sqlite:///{tmp_path}/agentpay.db")
    assert made.health().ok
    assert (tmp_path / "agentpay.db.mock.db").exists()
    made.close()


def test_the_installed_metadata_name_the_mock() -> None:
    assert "mock" in {entry.name for entry in importlib.metadata.entry_points(group=GROUP)}


@pytest.mark.usefixtures("plugin")
def test_a_plugin_is_made_with_its_options() -> None:
    made = create_payment_provider("other", database_url=NOWHERE, api_key="acct_9")
    assert (made.name, made.account) == ("other", "acct_9")
    assert installed_providers() == ["broken", "mock", "other"]


@pytest.mark.usefixtures("plugin")
def test_nobody_takes_the_name_of_the_mock() -> None:
    assert create_payment_provider("mock", database_url=NOWHERE).account == "mock"


@pytest.mark.usefixtures("plugin")
def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(ProviderUnknown, match="'strype' is installed; there is broken, mock, other"):
        create_payment_provider("strype")


@pytest.mark.usefixtures("plugin")
def test_options_and_libraries_that_are_missing_are_named() -> None:
    with pytest.raises(ConfigurationError, match="missing a required argument: 'api_key'"):
        create_payment_provider("other")
    with pytest.raises(ConfigurationError, match="unexpected keyword argument 'apikey'"):
        create_payment_provider("other", api_key="a", apikey="secret-value")
    with pytest.raises(ConfigurationError, match="needs agentpay_missing_plugin"):
        create_payment_provider("broken")


def test_the_first_is_the_default() -> None:
    both = Providers([Other("one"), Other("two")])
    assert (both.default.name, both.names, len(both), both.mode) == ("one", ("one", "two"), 2, "test")
    assert both.get().name == "one"
    assert both.get("two").name == "two"
    assert "two" in both
    assert "three" not in both
    assert [provider.name for provider in both] == ["one", "two"]
    assert both.capabilities().keys() == {"one", "two"}
    assert {name: health.ok for name, health in both.health().items()} == {"one": False, "two": False}
    with pytest.raises(ProviderUnknown, match="'three' is not enabled; there is one, two"):
        both.get("three")
    both.close()


@pytest.mark.parametrize(
    ("providers", "error"),
    [
        ([], ConfigurationError),
        ([Other("one"), Other("one")], ConfigurationError),
        ([Other("one"), Other("two", mode="live")], ModeMismatch),
    ],
)
def test_what_does_not_go_together_is_refused(
    providers: list[PaymentProvider], error: type[ConfigurationError]
) -> None:
    with pytest.raises(error):
        Providers(providers)
