"""The script is a table that reads one way only."""

from __future__ import annotations

import pytest

from agentpay.errors import ConfigurationError
from agentpay.providers.mock_script import (
    CRASH_VARIABLE,
    SCRIPT,
    crash_at,
    describe,
    for_charge,
    for_refund,
    script_from_environment,
)
from agentpay_policies.money import Money


def test_names_and_numbers_are_used_once() -> None:
    assert len({scenario.name for scenario in SCRIPT}) == len(SCRIPT)
    assert len({scenario.cents for scenario in SCRIPT}) == len(SCRIPT)
    assert all(0 < scenario.cents < 100 for scenario in SCRIPT)


@pytest.mark.parametrize("scenario", SCRIPT, ids=lambda scenario: scenario.name)
def test_each_is_found_by_amount_and_by_customer(scenario: object) -> None:
    from agentpay.providers.mock_script import Scenario

    assert isinstance(scenario, Scenario)
    assert for_charge("ana", Money(scenario.amount, "USD")) is scenario
    assert for_charge(f"{scenario.prefix}ana", Money("1", "USD")) is scenario
    if scenario.refund_amount is not None:
        assert for_refund(Money(scenario.refund_amount, "USD")) is scenario


def test_ordinary_amounts_are_plain() -> None:
    for text in ("0.01", "1.00", "9.99", "10.00", "13.00", "25.00", "150.00", "1301.00"):
        assert for_charge("cus_1", Money(text, "USD")).name == "plain"
        assert for_refund(Money(text, "USD")).name == "plain"


def test_the_table_is_rendered_whole() -> None:
    text = describe()
    assert all(scenario.amount in text and scenario.means in text for scenario in SCRIPT)


@pytest.mark.parametrize("text", ["nowhere", "after_move:nothing", ":charge"])
def test_a_crash_at_no_point_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=CRASH_VARIABLE):
        crash_at(text)


def test_the_environment_asks_for_a_crash_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CRASH_VARIABLE, raising=False)
    assert script_from_environment() is None
    monkeypatch.setenv(CRASH_VARIABLE, "after_move:refund")
    script = script_from_environment()
    assert script is not None
    script("after_move", "k", {"op": "charge"})
    script("before_move", "k", {"op": "refund"})
