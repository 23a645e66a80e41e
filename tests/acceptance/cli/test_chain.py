"""`agentpay chain` and `agentpay payments speed-up`, where there is no chain."""

from __future__ import annotations

from acceptance.cli.conftest import Cli


def test_without_a_chain_nothing_waits_for_a_person(cli: Cli, url: str) -> None:
    said = cli("chain", "unallocated")
    assert said.out == ""
    assert "Every transfer belongs to a payment." in said.err
    assert cli("chain", "unallocated", "--json").data == []


def test_what_does_not_wait_is_not_sped_up(cli: Cli, url: str) -> None:
    paid = cli("charge", "ana", "5.00", "USD", "--key", "k", "--json").data
    assert "CONFLICT" in cli("payments", "speed-up", paid["id"], code=1).err
    waits = cli("charge", "ana", "13.10", "USD", "--key", "w", "--json").data
    assert "PROVIDER_UNSUPPORTED" in cli("payments", "speed-up", waits["id"], code=1).err
    assert "NOT_FOUND" in cli("payments", "speed-up", "pay_none", code=1).err
