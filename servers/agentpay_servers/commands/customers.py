"""`agentpay customers`, `subscribe` and `status`: who buys, and how they stand."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from agentpay_servers.columns import AMOUNTS, CUSTOMERS, PAYMENTS, SUBSCRIPTIONS, USAGE
from agentpay_servers.commands import group
from agentpay_servers.output import Listing, answer, hint, print_json, print_line, print_record
from agentpay_servers.session import AsJson, DatabaseUrl, Key, Provider, reader

Customer = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The application's own id of the customer.")]

_LATEST: Final = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    customers = group(app, "customers", "Who buys: list, link, erase.")
    customers.command("list")(list_customers)
    customers.command("link")(link)
    customers.command("erase")(erase)
    app.command()(subscribe)
    app.command()(status)


def list_customers(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    after: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Begin behind this one.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List customers by their ids."""
    with reader(database_url) as engine:
        found = engine.list_customers(limit=limit, after=after)
    Listing(CUSTOMERS, found, "There is no customer yet.").print(as_json)
    if len(found) == limit:
        hint(f"There may be more: --after {found[-1].external_id!a}")


def link(
    customer: Customer,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as stripe.")],
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="What it calls the customer, such as cus_…")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Keep what a provider calls a customer, so that its saved payment method is charged."""
    with reader(database_url) as engine:
        engine.link_customer(customer, provider, reference)
    data = {"customer": customer, "provider": provider, "reference": reference}
    answer(as_json, data, f"{customer} is {reference} at {provider}.")


def erase(customer: Customer, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Erase who a customer is, for good. What was paid stays, and books and audit stay valid.

    Refused while a subscription lives or a payment is open. Erasing again changes nothing.
    """
    with reader(database_url) as engine:
        done = engine.erase_customer(customer)
    data = {"customer_id": done.customer_id, "already": done.already, "texts": done.texts}
    text = "was erased before" if done.already else f"is erased, with {done.texts} texts"
    answer(as_json, data, f"{customer} {text}; in the books stays {done.customer_id}.")


def subscribe(
    customer: Customer,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="The id of the plan.")],
    key: Key,
    provider: Provider = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Subscribe a customer to a plan, once for each key.

    The first period is charged; until it is paid the subscription is incomplete and gives no access.
    """
    with reader(database_url) as engine:
        made = engine.subscribe(customer, plan, idempotency_key=key, provider=provider)
    print_record(SUBSCRIPTIONS, made, as_json)


def status(customer: Customer, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show a customer's plan, usage, credits and latest payments."""
    with reader(database_url) as engine:
        subscriptions = Listing(SUBSCRIPTIONS, engine.subscriptions.list_for(customer))
        used = engine.get_usage(customer)
        usage, unbilled = Listing(USAGE, used.features), Listing(AMOUNTS, used.unbilled)
        credits_left = Listing(AMOUNTS, engine.credits_of(customer))
        all_payments = engine.list_payments(customer)
    payments = Listing(PAYMENTS, all_payments[:_LATEST])
    sections: dict[str, Listing[Any]] = {
        "subscriptions": subscriptions,
        "usage": usage,
        "unbilled": unbilled,
        "credits": credits_left,
        "payments": payments,
    }
    if as_json:
        print_json({"customer": customer, **{name: section.data() for name, section in sections.items()}})
    else:
        print_line(f"Customer {customer}")
        for name, section in sections.items():
            section.print_under(name.capitalize())
    if len(all_payments) > _LATEST:
        hint(f"{len(all_payments) - _LATEST} older payments: agentpay payments list --customer {customer!a}")
