"""`agentpay webhooks` and `agentpay disputes`: what providers tell us, and money that is taken back."""

from __future__ import annotations

from typing import Annotated, Any, get_args

import typer

from agentpay_policies.errors import ConfigurationError, ValidationError
from agentpay_servers.columns import DISPUTES, WEBHOOKS
from agentpay_servers.commands import group
from agentpay_servers.output import Column, Listing, hint, print_record
from agentpay_servers.session import AsJson, DatabaseUrl, reader

PORT = 8766

_RETRIED = tuple(
    Column[Any](name, lambda report, name=name: getattr(report, name))  # type: ignore[misc]
    for name in ("tried", "applied", "still_waiting", "expired")
)
_RECEIPT: tuple[Column[Any], ...] = (
    Column("id", lambda one: one.id),
    Column("status", lambda one: one.status),
    Column("kind", lambda one: one.kind),
    Column("waiting", lambda one: one.waiting),
    Column(
        "changed",
        lambda one: [{"object_id": change.object_id, "change": change.change} for change in one.changed],
        lambda one: [f"{change.change} {change.object_id}" for change in one.changed],
    ),
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    webhooks = group(app, "webhooks", "Webhooks: serve, list, retry.")
    webhooks.command("serve")(serve)
    webhooks.command("list")(list_webhooks)
    webhooks.command("retry")(retry)
    disputes = group(app, "disputes", "Disputes and reversals: list.")
    disputes.command("list")(list_disputes)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = PORT,
    database_url: DatabaseUrl = None,
) -> None:
    """Take webhooks at http://127.0.0.1:PORT/webhooks/PROVIDER until it is stopped.

    It listens on this machine only: put a proxy with TLS before it, or a tunnel of the provider's own tool.
    """
    from agentpay_servers import webhooks

    def started(found: int) -> None:
        hint(f"Taking webhooks at http://{webhooks.LOOPBACK}:{found}{webhooks.PREFIX}PROVIDER")

    with reader(database_url) as engine, engine.background():
        try:
            webhooks.serve(engine.receive_webhook, port=port, started=started)
        except OSError as error:
            raise ConfigurationError(f"Port {port} cannot be used: {error.strerror}.") from None


def list_webhooks(
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="applied, waiting, ignored or expired; else all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List the webhooks that were received, the newest first, and what each changed."""
    from agentpay.webhooks.models import EventStatus

    known = get_args(EventStatus)
    if status is not None and status not in known:
        raise ValidationError(f"--status is one of {', '.join(known)}.")
    with reader(database_url) as engine:
        found = engine.webhook_events(status, limit=limit)  # type: ignore[arg-type]
    Listing(WEBHOOKS, found, "There is no such webhook.").print(as_json)


def retry(
    event: Annotated[
        str | None, typer.Argument(metavar="ID", help="Only this one, also where it was given up.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Try webhooks again that wait for what they are about. Nothing is applied twice."""
    with reader(database_url) as engine:
        if event is None:
            print_record(_RETRIED, engine.retry_webhooks(), as_json)
        else:
            print_record(_RECEIPT, engine.retry_webhook(event), as_json)


def list_disputes(
    payment: Annotated[str | None, typer.Option(metavar="PAYMENT", help="Only of this payment.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="open, won, lost, reversed or restored; else all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List money that a customer's bank or the provider took back, or wants back, the newest first."""
    from agentpay.payments.models import DisputeStatus

    known = get_args(DisputeStatus)
    if status is not None and status not in known:
        raise ValidationError(f"--status is one of {', '.join(known)}.")
    with reader(database_url) as engine:
        found = engine.disputes(payment, status=status, limit=limit)
    Listing(DISPUTES, found, "There is no such dispute.").print(as_json)
