"""`agentpay plans`: what is sold."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.columns import PLANS
from agentpay_servers.commands import group
from agentpay_servers.output import Listing, print_record
from agentpay_servers.session import AsJson, DatabaseUrl, manager, reader


def register(app: typer.Typer) -> None:
    """Add the group."""
    plans = group(app, "plans", "What is sold: list, create, show.")
    plans.command("list")(list_plans)
    plans.command("create")(create)
    plans.command("show")(show)


def list_plans(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List the current version of every plan."""
    with reader(database_url) as engine:
        Listing(PLANS, engine.list_plans(), "There is no plan yet: agentpay plans create FILE").print(as_json)


def create(
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON: one plan, or a list under `plans`.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Store the plans of a file. The same content again changes nothing; another content is a new version.

    Who subscribed before keeps the version of then. Prices are texts: price: "10.00".
    """
    from agentpay_servers.plan_files import read_plans

    plans = read_plans(file)
    with manager(database_url) as engine:
        Listing(PLANS, [engine.create_plan(plan) for plan in plans]).print(as_json)


def show(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="The id of the plan.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show the current version of a plan."""
    from agentpay.errors import PlanUnknown

    with reader(database_url) as engine:
        found = next((one for one in engine.list_plans() if one.id == plan), None)
    if found is None:
        raise PlanUnknown(f"There is no plan {plan[:60]!a}.", next_step="See: agentpay plans list")
    print_record(PLANS, found, as_json)
