"""`agentpay chain` and `agentpay payments speed-up`, where there is no chain."""

from __future__ import annotations

from acceptance.cli.conftest import Cli


def test_without_a_chain_nothing_waits_for_a_person(cli: Cli, shop: str) -> None:
    said = cli("chain", "unallocated", "--database-url", shop)
    assert (said.code, said.out) == (0, "")
    assert "Every transfer belongs to a payment." in said.err
    assert cli("chain", "unallocated", "--json", "--database-url", shop).data == []


def test_what_does_not_wait_is_not_sped_up(cli: Cli, shop: str) -> None:
    paid = cli("charge", "ana", "5.00", "USD", "--key", "k", "--json", "--database-url", shop).data
    said = cli("payments", "speed-up", paid["id"], "--database-url", shop)
    assert said.code == 1 and "CONFLICT" in said.err
    waits = cli("charge", "ana", "13.10", "USD", "--key", "w", "--json", "--database-url", shop).data
    said = cli("payments", "speed-up", waits["id"], "--database-url", shop)
    assert said.code == 1 and "PROVIDER_UNSUPPORTED" in said.err
    assert cli("payments", "speed-up", "pay_none", "--database-url", shop).code == 1
