"""`agentpay reconcile`, `audit`, `doctor`, `health` and `capabilities`: looking after an installation. No policy is
needed for any of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentpay_servers.commands import group
from agentpay_servers.output import (
    Column,
    Listing,
    duration,
    hint,
    print_json,
    print_line,
    print_record,
    readable,
    row_data,
)
from agentpay_servers.session import AsJson, DatabaseUrl, desk, not_in_order, reader

if TYPE_CHECKING:
    from agentpay.manager import SystemHealth


def _attributes(*names: str) -> tuple[Column[Any], ...]:
    return tuple(Column[Any](name, lambda one, name=name: getattr(one, name)) for name in names)  # type: ignore[misc]


_RECONCILED = _attributes("looked_up", "settled", "still_open", "more")
_AUDIT = _attributes("ok", "rows", "sealed", "unsealed", "head")
_BREACHES = _attributes("invariant", "what", "rows")
_POLICY = _attributes("id", "version", "hash", "applied_at")

_HEALTH = (
    Column[Any]("name", lambda row: row[0]),
    Column[Any]("ok", lambda row: row[1]),
    Column[Any]("detail", lambda row: row[2]),
)
_CAPABILITIES = (
    Column[Any]("provider", lambda row: row[0]),
    Column[Any]("currencies", lambda row: row[1].currencies),
    Column[Any]("payees", lambda row: row[1].payees),
    Column[Any]("refunds", lambda row: row[1].refunds),
    Column[Any]("partial_refunds", lambda row: row[1].partial_refunds),
    Column[Any]("checkout", lambda row: row[1].checkout),
    Column[Any]("saved_methods", lambda row: row[1].saved_methods),
    Column[Any]("webhooks", lambda row: row[1].webhooks),
    Column[Any]("methods", lambda row: row[1].methods),
    Column[Any]("chains", lambda row: row[1].chains, since="json"),
    Column[Any]("minimum", lambda row: [str(one) for one in row[1].minimum.values()]),
    Column[Any]("maximum", lambda row: [str(one) for one in row[1].maximum.values()]),
    Column[Any]("key_life_seconds", lambda row: row[1].key_life, since="json"),
    Column[Any]("lease_seconds", lambda row: row[1].lease, since="json"),
    Column[Any]("consistent_lookup", lambda row: row[1].consistent_lookup, since="json"),
    Column[Any]("longest_memo", lambda row: row[1].longest_memo, since="json"),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(reconcile)
    audit = group(app, "audit", "The record of everything that happened: verify.")
    audit.command("verify")(verify)
    app.command()(doctor)
    app.command()(health)
    app.command()(capabilities)


def reconcile(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Ask the providers about every payment that is not final. It looks up, and never starts anything new."""
    with reader(database_url) as engine:
        report = engine.reconcile()
    print_record(_RECONCILED, report, as_json)
    if report.more:
        hint("More is open: run it again.")


def verify(
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="A head that you kept elsewhere: finds what was cut off."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Verify the audit: every row's bytes, every object's history, and the chain over all."""
    with desk(database_url) as people:
        found = people.verify_audit(head)
    if as_json:
        print_json({**{column.name: column.value(found) for column in _AUDIT}, "faults": found.faults})
    else:
        print_record(_AUDIT, found, False)
        for fault in found.faults:
            print_line(f"FAULT: {fault}")
    if found.unsealed and found.ok:
        hint(f"warning: {found.unsealed} rows are not sealed yet; the next start of a server or manager seals them.")
    if not found.ok:
        raise not_in_order()


def doctor(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Check every invariant, and name the rows that break one.

    It changes nothing. Warnings weaken the promise without breaking it; they do not change the exit code.
    """
    with desk(database_url) as people:
        found = people.doctor()
    breaches = Listing(_BREACHES, found.breaches)
    if as_json:
        data = {"ok": found.ok, "breaches": breaches.data(), "warnings": found.warnings, "checked": found.checked}
        print_json(data)
    else:
        if found.ok:
            print_line(f"All invariants hold: {len(found.checked)} checks.")
        else:
            breaches.print_under("Broken")
        for warning in found.warnings:
            hint(f"warning: {warning}")
    if not found.ok:
        raise not_in_order()


def health(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Ask whether database, policy and providers answer.

    Asking never moves money.
    """
    with desk(database_url) as people:
        found = people.health()
    if as_json:
        print_json(_health_data(found))
    else:
        Listing(_HEALTH, _health_rows(found)).print(False)
        if found.late:
            hint(
                f"warning: ALARM: {found.late} payments moved money late, after their hold was let go: agentpay doctor"
            )
        if found.oldest_unknown is not None:
            since, age = readable(found.oldest_unknown), duration(found.oldest_unknown_age)
            hint(f"warning: an outcome is unknown since {since}, for {age}; next: agentpay reconcile")
        if found.halted_epoch is not None:
            hint(f"warning: a restored copy, in its epoch {found.halted_epoch}: agents are halted; see agentpay doctor")
    if not found.ok:
        raise not_in_order()


def _health_data(found: SystemHealth) -> dict[str, object]:
    return {
        "ok": found.ok,
        "database": found.database,
        "dialect": found.dialect,
        "policy": None if found.policy is None else row_data(_POLICY, found.policy),
        "providers": {name: {"ok": one.ok, "detail": one.detail} for name, one in found.providers.items()},
        "oldest_unknown": found.oldest_unknown,
        "oldest_unknown_seconds": found.oldest_unknown_age,
        "halted_epoch": found.halted_epoch,
        "late": found.late,
    }


def _health_rows(found: SystemHealth) -> list[tuple[str, bool, str]]:
    active = found.policy
    policy = "none is active: agents are denied" if active is None else f"{active.id}, version {active.version}"
    return [
        ("database", True, found.database),
        ("policy", active is not None, policy),
        *((f"provider {name}", one.ok, one.detail) for name, one in found.providers.items()),
    ]


def capabilities(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show what each enabled provider can do. Nothing is asked of them."""
    from agentpay.providers.registry import Providers, create_payment_provider
    from agentpay.settings import load_settings

    settings = load_settings(database_url=database_url)
    url = settings.database_url
    providers = Providers([create_payment_provider(name, database_url=url) for name in settings.providers])
    Listing(_CAPABILITIES, list(providers.capabilities().items())).print(as_json)
    providers.close()
