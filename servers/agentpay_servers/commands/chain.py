"""`agentpay chain`: what came over a chain and waits for a person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agentpay_servers.commands import group
from agentpay_servers.output import Column, Listing, hint
from agentpay_servers.session import AsJson, DatabaseUrl, desk

_UNALLOCATED = (
    Column[Any]("at", lambda one: one.at),
    Column[Any]("amount", lambda one: one.amount),
    Column[Any]("currency", lambda one: one.currency),
    Column[Any]("reason", lambda one: one.reason),
    Column[Any]("payment_id", lambda one: one.payment_id),
    Column[Any]("sender", lambda one: one.sender, since="json"),
    Column[Any]("recipient", lambda one: one.recipient, since="json"),
    Column[Any]("chain", lambda one: one.chain, since="json"),
    Column[Any]("block", lambda one: one.block, since="json"),
    Column[Any]("log_index", lambda one: one.log_index, since="json"),
    Column[Any]("tx_hash", lambda one: one.tx_hash),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    chain = group(app, "chain", "Stablecoins: what came over the chain and is no payment's.")
    chain.command("unallocated")(unallocated)


def unallocated(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    fractions: Annotated[
        bool, typer.Option("--fractions", help="With the fractions that told payments apart, which are yours.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the transfers that belong to no payment, the newest first: too much, too late, or for nothing known."""
    with desk(database_url) as people:
        found = people.unallocated_transfers(limit=limit, fractions=fractions)
    Listing(_UNALLOCATED, found, "Every transfer belongs to a payment.").print(as_json)
    if len(found) == limit:
        hint(f"There may be more: --limit is {limit}.")
