"""`agentpay approvals`: what agents ask people for, and the answer that only a person with a secret can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from agentpay_policies.errors import ValidationError
from agentpay_servers.columns import APPROVALS, ASKING, CARD, STANDINGS
from agentpay_servers.commands import group
from agentpay_servers.output import Listing, hint, print_json, print_line, print_record
from agentpay_servers.prompts import known_secret
from agentpay_servers.session import AsJson, DatabaseUrl, reader

if TYPE_CHECKING:
    from agentpay.spending.cards import Card
    from agentpay.spending.models import Approval, ApprovalStatus

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL", help="The id of the approval.")]
Who = Annotated[str, typer.Option("--approver", metavar="NAME", help="Who answers.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    approvals = group(app, "approvals", "What agents ask people for: list, show, approve, deny.")
    approvals.command("list")(list_approvals)
    approvals.command("show")(show)
    approvals.command("approve")(approve)
    approvals.command("deny")(deny)


def list_approvals(
    status: Annotated[
        str, typer.Option(metavar="STATUS", help="pending, approved, denied, expired, consumed or all.")
    ] = "pending",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List approvals, the newest first: those that wait, unless --status says otherwise."""
    wanted = _status(status)
    with reader(database_url) as engine:
        found = engine.list_approvals(wanted, limit=limit)
    Listing(APPROVALS, found, "Nothing waits for approval." if status == "pending" else "There is none.").print(as_json)


def show(approval: ApprovalId, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show an approval's card: what it is about, why it is asked, what the agent spent and has left today.

    The description is the agent's own words, with hidden characters as escapes.
    """
    with reader(database_url) as engine:
        card = engine.approval_card(approval)
    if as_json:
        print_json(card.as_data())
    else:
        _print_card(card)


def approve(approval: ApprovalId, approver: Who, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Approve one payment or refund, after its card was shown. Asks for the approver's secret.

    Without a terminal the secret is taken from AGENTPAY_APPROVER_SECRET.
    """
    with reader(database_url) as engine:
        if not as_json:
            _print_card(engine.approval_card(approval))
        answered = engine.approve(approval, approver=approver, secret=known_secret(approver))
    _answered(answered, approver, as_json)
    if answered.status == "approved":
        also = (
            "" if answered.payment_id.startswith("ref_") else f", or: agentpay payments continue {answered.payment_id}"
        )
        hint(f"It runs once, when the agent repeats its call{also}")


def deny(approval: ApprovalId, approver: Who, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Refuse one payment or refund, for good, after its card was shown. Asks for the approver's secret."""
    with reader(database_url) as engine:
        if not as_json:
            _print_card(engine.approval_card(approval))
        answered = engine.deny(approval, approver=approver, secret=known_secret(approver))
    _answered(answered, approver, as_json)


def _print_card(card: Card) -> None:
    print_record(CARD, card, False)
    Listing(ASKING, card.asked_by).print_under("Asked by")
    Listing(STANDINGS, card.limits).print_under("Limits that it meets, without itself")
    if card.policy_changed:
        print_line("Another policy is active than when it was asked: that one decides when it runs.")


def _answered(approval: Approval, approver: str, as_json: bool) -> None:
    if as_json:
        print_record(APPROVALS, approval, True)
    else:
        hint(f"{approver} has answered: {approval.id} is {approval.status}, {approval.votes} of {approval.needed}.")


def _status(status: str) -> ApprovalStatus | None:
    from agentpay.spending.models import ApprovalStatus

    if status == "all":
        return None
    if status not in get_args(ApprovalStatus):
        raise ValidationError(f"--status is one of {', '.join(get_args(ApprovalStatus))} or all.")
    return cast("ApprovalStatus", status)
