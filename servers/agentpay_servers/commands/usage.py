"""`agentpay usage` and `agentpay credits`: what customers use, what of it is billed, and what they paid in advance."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.columns import AMOUNTS, BILLS, GRANTS, USAGE, USAGE_RECORDS
from agentpay_servers.commands import group
from agentpay_servers.commands.customers import Customer
from agentpay_servers.output import Listing, print_json, print_record
from agentpay_servers.session import AsJson, DatabaseUrl, Key, Provider, reader


def register(app: typer.Typer) -> None:
    """Add the groups."""
    usage = group(app, "usage", "What customers use: usage CUSTOMER shows it; record, bill.", default="show")
    usage.command("show")(show)
    usage.command("record")(record)
    usage.command("bill")(bill)
    credit = group(app, "credits", "What customers paid in advance: grant.")
    credit.command("grant")(grant)


def show(
    customer: Customer,
    feature: Annotated[str | None, typer.Option(metavar="NAME", help="Only this feature.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show what a customer has used and has left, and what is not billed yet."""
    with reader(database_url) as engine:
        found = engine.get_usage(customer, feature)
    usage, unbilled = Listing(USAGE, found.features), Listing(AMOUNTS, found.unbilled)
    if as_json:
        print_json({"customer": customer, "features": usage.data(), "unbilled": unbilled.data()})
    else:
        usage.print_under("Usage")
        unbilled.print_under("Unbilled")


def record(
    customer: Customer,
    feature: Annotated[str, typer.Argument(metavar="FEATURE", help="What was used.")],
    key: Key,
    quantity: Annotated[int, typer.Option(min=1, metavar="N", help="How many units.")] = 1,
    cost: Annotated[str | None, typer.Option(metavar="AMOUNT", help="A price of its own, such as 0.015.")] = None,
    currency: Annotated[str | None, typer.Option(metavar="CODE", help="The currency of the cost.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Record that a customer used a feature, once for each key."""
    with reader(database_url) as engine:
        made = engine.record_usage(customer, feature, quantity, cost=cost, currency=currency, idempotency_key=key)
    print_record(USAGE_RECORDS, made, as_json)


def bill(
    customer: Customer,
    key: Key,
    currency: Annotated[str | None, typer.Option(metavar="CODE", help="Which, where several are unbilled.")] = None,
    provider: Provider = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Charge what a customer used and was not billed for, once for each key; what is below a cent is carried."""
    with reader(database_url) as engine:
        made = engine.bill_usage(customer, idempotency_key=key, currency=currency, provider=provider)
    print_record(BILLS, made, as_json)


def grant(
    customer: Customer,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Such as 5.00.")],
    currency: Annotated[str, typer.Argument(metavar="CURRENCY", help="Such as USD.")],
    key: Key,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Give a customer credits, once for each key. Usage draws on them before anything is billed."""
    with reader(database_url) as engine:
        made = engine.grant_credits(customer, amount, currency, idempotency_key=key)
    print_record(GRANTS, made, as_json)
