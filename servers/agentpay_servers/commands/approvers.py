"""`agentpay approvers`: the people who may approve, each with a secret that no agent has."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_policies.errors import ValidationError
from agentpay_policies.text import identifier
from agentpay_servers.columns import APPROVERS
from agentpay_servers.commands import group
from agentpay_servers.output import Listing, answer
from agentpay_servers.prompts import known_secret, new_secret
from agentpay_servers.session import AsJson, DatabaseUrl, manager, reader

Name = Annotated[str, typer.Argument(metavar="NAME", help="As the policy's groups name the person.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    approvers = group(app, "approvers", "The people who may approve: list, add, rotate.")
    approvers.command("list")(list_approvers)
    approvers.command("add")(add)
    approvers.command("rotate")(rotate)


def list_approvers(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List everybody who may approve."""
    with reader(database_url) as engine:
        found = engine.approvers()
    Listing(APPROVERS, found, "Nobody is enrolled: agentpay approvers add NAME").print(as_json)


def add(
    name: Name,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="An approver who is enrolled already; not for the first.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Enrol a person on a terminal, who chooses a secret: the first freely, a later one by an approver."""
    identifier(name, "NAME", longest=80)
    with manager(database_url) as engine:
        if by is None and engine.approvers():
            raise ValidationError(
                "Somebody is enrolled already.", next_step="Name an approver who enrols this one: --by NAME"
            )
        by_secret = None if by is None else known_secret(by)
        engine.enrol_approver(name, new_secret(name), by=by, by_secret=by_secret)
    answer(
        as_json, {"name": name, "enrolled_by": by or "first"}, f"{name} may approve what the policy asks {name} for."
    )


def rotate(
    name: Name,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Another approver, where the old secret is lost; else NAME.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Give an approver a new secret, on a terminal. Asks for the old one, or for that of the approver in --by."""
    with reader(database_url) as engine:
        old = known_secret(by or name)
        engine.rotate_approver(name, new_secret(name), by=by or name, by_secret=old)
    answer(as_json, {"name": name, "rotated_by": by or name}, f"{name} has a new secret; the old one is void.")
