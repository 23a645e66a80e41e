"""`agentpay payments`, `charge`, `refund` and `renew`: money, as the operator moves and follows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from agentpay_policies.errors import ValidationError
from agentpay_servers.columns import DISPUTES, PAYMENTS, REFUNDS, SUBSCRIPTIONS
from agentpay_servers.commands import group
from agentpay_servers.commands.customers import Customer
from agentpay_servers.output import Column, Listing, hint, print_json, print_record, row_data
from agentpay_servers.prompts import known_secret, typed_secret
from agentpay_servers.session import AsJson, DatabaseUrl, Key, Provider, reader

if TYPE_CHECKING:
    from agentpay.payments.resolving import Resolution

PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT", help="The id of the payment.")]

_RENEWALS = tuple(
    Column[Any](name, lambda report, name=name: getattr(report, name))  # type: ignore[misc]
    for name in ("renewed", "failed", "waiting", "ended", "stranded")
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    payments = group(app, "payments", "Payments: list, show, verify, continue, speed up, resolve.")
    payments.command("list")(list_payments)
    payments.command("show")(show)
    payments.command("verify")(verify)
    payments.command("continue")(go_on)
    payments.command("speed-up")(speed_up)
    payments.command("resolve")(resolve)
    app.command()(charge)
    app.command()(refund)
    app.command()(renew)


def list_payments(
    customer: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Only of this customer.")] = None,
    status: Annotated[str | None, typer.Option(metavar="STATUS", help="Only those that stand so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List payments, the newest first."""
    if status is not None:
        _check_status(status)
    with reader(database_url) as engine:
        if customer is None:
            found = engine.recent_payments(limit=limit, status=status)
        else:
            everything = engine.list_payments(customer)
            found = tuple(one for one in everything if status in (None, one.status))[:limit]
    Listing(PAYMENTS, found, "There is no such payment.").print(as_json)
    if len(found) == limit:
        hint(f"There may be more: --limit is {limit}.")


def show(payment: PaymentId, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show a payment as it stands in the database, with its refunds and disputes."""
    with reader(database_url) as engine:
        found = engine.get_payment(payment)
        refunds = Listing(REFUNDS, engine.refunds_of(payment))
        disputes = Listing(DISPUTES, engine.disputes(payment))
    if as_json:
        print_json({**row_data(PAYMENTS, found), "refunds": refunds.data(), "disputes": disputes.data()})
        return
    print_record(PAYMENTS, found, False)
    if refunds.items:
        refunds.print_under("Refunds")
    if disputes.items:
        disputes.print_under("Disputes")


def verify(payment: PaymentId, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Ask the provider about a payment that is not final, and show how it stands. Nothing is paid by it."""
    with reader(database_url) as engine:
        print_record(PAYMENTS, engine.verify_payment(payment), as_json)


def go_on(payment: PaymentId, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Go on with a payment after its customer acted, or after it was approved. Safe to repeat."""
    with reader(database_url) as engine:
        print_record(PAYMENTS, engine.continue_payment(payment), as_json)


def speed_up(
    payment: Annotated[str, typer.Argument(metavar="ID", help="The id of the payment or refund.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Replace a transfer that is stuck on its chain by the same one with higher fees: only one of them can be mined."""
    with reader(database_url) as engine:
        made = engine.speed_up(payment)
    columns: Sequence[Column[Any]] = REFUNDS if payment.startswith("ref_") else PAYMENTS
    print_record(columns, made, as_json)


def resolve(
    payment: Annotated[str, typer.Argument(metavar="ID", help="The id of the payment or refund.")],
    outcome: Annotated[str, typer.Option("--as", metavar="OUTCOME", help="succeeded or not-sent.")],
    evidence: Annotated[str, typer.Option(metavar="TEXT", help="By what you know it, such as a line of a statement.")],
    approver: Annotated[str, typer.Option("--approver", metavar="NAME", help="Who says so.")],
    second: Annotated[
        str | None, typer.Option("--second", metavar="NAME", help="Who says so too: needed where two are enrolled.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="ID", help="The provider's own id of the movement: a refund needs it.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what became of a payment or refund that stays unknown, by evidence of your own.

    The provider is asked once more first. Asks for the approvers' secrets; without a terminal the first is taken from
    AGENTPAY_APPROVER_SECRET, and the second must type.
    """
    with reader(database_url) as engine:
        resolved = engine.resolve_payment(
            payment,
            outcome="not_sent" if outcome == "not-sent" else cast("Resolution", outcome),
            evidence=evidence,
            approver=approver,
            secret=known_secret(approver),
            second=second,
            second_secret=None if second is None else typed_secret(second),
            reference=reference,
        )
    columns: Sequence[Column[Any]] = REFUNDS if payment.startswith("ref_") else PAYMENTS
    print_record(columns, resolved, as_json)


def charge(
    customer: Customer,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Such as 12.50.")],
    currency: Annotated[str, typer.Argument(metavar="CURRENCY", help="Such as USD.")],
    key: Key,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    payee: Annotated[str, typer.Option(help="Who receives it; self is your own account.")] = "self",
    provider: Provider = None,
    method: Annotated[str | None, typer.Option(help="A method of the provider's.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Charge a customer as the operator, once for each key. No policy limits it; it is audited."""
    with reader(database_url) as engine:
        made = engine.charge(
            customer,
            amount,
            currency,
            idempotency_key=key,
            description=description,
            payee=payee,
            provider=provider,
            method=method,
        )
    print_record(PAYMENTS, made, as_json)


def refund(
    payment: PaymentId,
    key: Key,
    amount: Annotated[str | None, typer.Option(metavar="AMOUNT", help="A part; else all that is left.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Refund a payment, all of it or a part, once for each key."""
    with reader(database_url) as engine:
        print_record(REFUNDS, engine.refund(payment, amount, idempotency_key=key, reason=reason), as_json)


def renew(
    customer: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Only this customer's.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="Which, where the customer has several.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Needed with --customer.")] = None,
    provider: Provider = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Renew every subscription that is due, each period once.

    Run it daily. With --customer, that customer's next period is charged now.
    """
    if customer is not None and key is None:
        raise ValidationError("--customer needs --key.", next_step="Give a key: one for each period.")
    if customer is None and (plan or key or provider):
        raise ValidationError("--plan, --key and --provider need --customer.")
    with reader(database_url) as engine:
        if customer is not None and key is not None:
            renewed = engine.renew_subscription(customer, plan, idempotency_key=key, provider=provider)
            print_record(SUBSCRIPTIONS, renewed, as_json)
        else:
            print_record(_RENEWALS, engine.renew_due(), as_json)


def _check_status(status: str) -> None:
    from agentpay.payments.models import PaymentStatus

    known = get_args(PaymentStatus)
    if status not in known:
        raise ValidationError(f"--status is one of {', '.join(known)}.")
