"""`agentpay init` and `agentpay db`: an installation begun, and its database kept in step."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpay_servers.commands import group
from agentpay_servers.output import answer, hint, print_json, print_line
from agentpay_servers.session import AsJson, DatabaseUrl, desk


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(init)
    database = group(app, "db", "The database: upgrade, accept-clock.")
    database.command("upgrade")(upgrade)
    database.command("accept-clock")(accept_clock)


def init(
    policy: Annotated[str, typer.Option("--policy", metavar="FILE", help="Where to write the policy.")] = "policy.yaml",
    plans: Annotated[
        str, typer.Option("--plans", metavar="FILE", help="Where to write the sample plans.")
    ] = "plans.yaml",
    approver: Annotated[
        str | None,
        typer.Option("--approver", metavar="NAME", help="The first approver; else the name you log in with."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Begin an installation: database, policy, plans, approver.

    No file is ever overwritten, and what the database has already stays. The approver chooses a secret on a terminal;
    without one nobody is enrolled. A second run changes nothing.
    """
    from agentpay_servers.installing import Installing

    done = Installing(policy, plans, approver, database_url).run()
    if as_json:
        print_json({"changed": done.changed, "steps": done.steps, "hints": done.hints})
        return
    for step in done.steps:
        print_line(step)
    if not done.changed:
        print_line("Everything was there already; nothing was changed.")
    for text in done.hints:
        hint(f"next: {text}")


def upgrade(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Bring the database to the revision of this program. Make a backup first."""
    from agentpay.settings import load_settings
    from agentpay.storage.schema import REVISION, prepare
    from agentpay.storage.store import Store

    store = Store(load_settings(database_url=database_url).database_url)
    try:
        prepare(store, upgrade=True)
    finally:
        store.close()
    answer(as_json, {"revision": REVISION}, f"The database has revision {REVISION}, which this program works with.")


def accept_clock(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Accept that the clock is behind what the database has seen: the past was the mistake. It is audited."""
    with desk(database_url) as people:
        people.accept_clock()
    answer(as_json, {"accepted": True}, "The clock is accepted as it is now.")
