"""`agentpay policy explain`, `simulate`, `diff`, `backtest` and `schema`: questions. None of them changes anything."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentpay_policies.errors import ValidationError
from agentpay_policies.windows import format_duration
from agentpay_servers.columns import STANDINGS
from agentpay_servers.output import Listing, hint, plain, print_json, print_line, readable, row_data
from agentpay_servers.policy_files import ACTIVE
from agentpay_servers.session import AsJson, DatabaseUrl, Provider, desk, not_in_order

if TYPE_CHECKING:
    from agentpay.manager.simulating import Simulation
    from agentpay_policies.backtest import Moved, Report
    from agentpay_policies.policy import Policy

Source = Annotated[str, typer.Argument(metavar="FILE", help="A policy file, the name of a ready one, or active.")]
Agent = Annotated[str, typer.Argument(metavar="AGENT", help="Which agent.")]


def add_to(policy: typer.Typer) -> None:
    """Add the commands to `agentpay policy`."""
    policy.command("explain")(explain)
    policy.command("simulate")(simulate)
    policy.command("diff")(diff)
    policy.command("backtest")(backtest)
    policy.command("schema")(schema)


def explain(
    agent: Agent,
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="A policy file, or the name of a ready one; else the active.")
    ] = ACTIVE,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say the rules for an agent in plain sentences, by the active policy or by a file."""
    from agentpay_policies.explain import explain as said
    from agentpay_policies.text import identifier

    identifier(agent, "AGENT")
    policy = _policy(file, database_url)
    known, sentences = policy.agent(agent) is not None, said(policy, agent)
    if as_json:
        print_json({"agent": agent, "policy": policy.id, "known": known, "sentences": sentences})
    else:
        for sentence in sentences:
            print_line(sentence)
    if not known:
        hint(f"The policy names: {', '.join(entry.id for entry in policy.agents) or 'nobody'}")
        raise not_in_order()


def simulate(
    agent: Agent,
    operation: Annotated[
        str, typer.Argument(metavar="OPERATION", help="charge, subscribe, refund, record_usage or another tool.")
    ],
    customer: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="For whom.")] = None,
    amount: Annotated[str | None, typer.Option(metavar="AMOUNT", help="How much, such as 12.50.")] = None,
    currency: Annotated[str | None, typer.Option(metavar="CURRENCY", help="Such as USD.")] = None,
    payee: Annotated[str, typer.Option(metavar="PAYEE", help="To whom; self is your own account.")] = "self",
    provider: Provider = None,
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="A method of the provider's.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="Of subscribe: which plan.")] = None,
    payment: Annotated[str | None, typer.Option(metavar="PAYMENT", help="Of refund: which payment.")] = None,
    distinct_from: Annotated[
        str | None, typer.Option(metavar="PAYMENT", help="Of charge: which one it looks like and is not.")
    ] = None,
    quantity: Annotated[int, typer.Option(metavar="N", help="Of usage: how many.")] = 1,
    cost: Annotated[str | None, typer.Option(metavar="COST", help="Of usage: what it costs.")] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what would be decided about a request now, with every reason and every limit. Nothing is held or written.

    The exit code is 1 where it would be denied. The throttle and the provider are not asked.
    """
    with desk(database_url) as people:
        found = people.simulate(
            agent,
            operation,
            customer=customer,
            amount=amount,
            currency=currency,
            payee=payee,
            provider=provider,
            method=method,
            plan=plan,
            quantity=quantity,
            cost=cost,
            payment_id=payment,
            distinct_from=distinct_from,
        )
    if as_json:
        print_json(_simulation_data(found))
    else:
        _print_simulation(found)
    if found.decision.outcome == "deny":
        raise not_in_order()


def _simulation_data(found: Simulation) -> dict[str, object]:
    decision, active = found.decision, found.policy
    reasons = [
        {**plain_fields(one), "next_step": agents.next_step}
        for one, agents in zip(decision.for_operator, decision.violations, strict=True)
    ]
    return {
        "outcome": decision.outcome,
        "at": found.at,
        "policy": None if active is None else {"id": active.id, "version": active.version, "hash": active.hash},
        "entry": decision.agent_entry,
        "payee_is_new": decision.payee_is_new,
        "violations": reasons,
        "approvals": [plain_fields(need) for need in decision.needs],
        "limits": [row_data(STANDINGS, one) for one in found.limits],
        "shadow": [{"rule": one.pointer, "outcome": one.outcome} for one in decision.shadow],
    }


def plain_fields(value: Any) -> dict[str, object]:
    """The fields of a value as JSON can hold them."""
    return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}


_OUTCOMES = {"allow": "ALLOWED: it would happen at once.", "approve": "ASKED: people would have to approve it first."}


def _print_simulation(found: Simulation) -> None:
    decision = found.decision
    print_line(_OUTCOMES.get(decision.outcome, "DENIED, for these reasons:"))
    for one in decision.for_operator:
        when = f" Not before {readable(one.retry_at)}." if one.retry_at else ""
        print_line(f"  {one.code}: {one.message}{when}{f' ({one.rule})' if one.rule else ''}")
    for need in decision.needs:
        print_line(f"  {need.rule}: {need.quorum} of {', '.join(need.members)}, within {format_duration(need.expires)}")
    for tried in decision.shadow:
        print_line(f"  only tried out: {tried.pointer} would {tried.outcome} it")
    if found.limits:
        Listing(STANDINGS, found.limits).print_under("Limits that it meets")


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A policy file, the name of a ready one, or active.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same, of the one that would replace it.")],
    fail_on_loosening: Annotated[
        bool, typer.Option("--fail-on-loosening", help="End with 1 where NEW allows anything more.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say everything that NEW allows more than OLD, and everything that it allows less."""
    from agentpay_policies.compare import differences

    before, after = _policy(old, database_url), _policy(new, database_url)
    changes = differences(before, after)
    looser = any(change.kind == "loosens" for change in changes)
    if as_json:
        print_json({
            "old": {"id": before.id, "hash": before.hash},
            "new": {"id": after.id, "hash": after.hash},
            "loosens": looser,
            "changes": [{"kind": change.kind, "sentence": change.sentence} for change in changes],
        })  # fmt: skip
    else:
        for change in changes:
            print_line(f"{change.kind.upper()}: {change.sentence}")
        if not changes:
            print_line("Both allow the same.")
    if looser and fail_on_loosening:
        raise not_in_order()


def backtest(
    file: Source,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="From when on: 2026-01-31T09:00:00+01:00, or 30d, 24h ago.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say what a policy would have said to the requests of the past: newly denied, parked or allowed, in money."""
    policy = _policy(file, database_url)
    begin = None if since is None else _since(since)
    with desk(database_url) as people:
        report = people.backtest(policy, begin)
    if as_json:
        print_json(_report_data(report, policy, since))
        return
    from_when = f" since {since}" if since else ""
    print_line(f"{report.replayed} requests{from_when}, replayed under {policy.id}, hash {policy.hash[:12]}.")
    for line in report.lines:
        print_line(f"  {line}")
    if not report.lines:
        print_line("Nothing would be decided otherwise.")
    for moved in report.moved[:_SHOWN]:
        print_line(f"{readable(moved.recorded.at)}  {_moved(moved)}")
    if len(report.moved) > _SHOWN:
        hint(f"{len(report.moved) - _SHOWN} more: --json has them all.")


_SHOWN = 20


def _moved(moved: Moved) -> str:
    request = moved.recorded.request
    money = request.money or request.cost or "no money"
    reasons = f": {', '.join(moved.reasons)}" if moved.reasons else ""
    return f"{request.agent} {request.operation} {money}: {moved.recorded.outcome} → {moved.outcome}{reasons}"


def _report_data(report: Report, policy: Policy, since: str | None) -> dict[str, object]:
    return {
        "policy": {"id": policy.id, "hash": policy.hash},
        "since": since,
        "replayed": report.replayed,
        "lines": [
            {"before": line.before, "after": line.after, "currency": line.currency, "count": line.count,
             "amount": _amount(line.minor, line.currency)}
            for line in report.lines
        ],
        "moved": [
            {"at": one.recorded.at, "agent": one.recorded.request.agent, "operation": one.recorded.request.operation,
             "amount": one.recorded.request.money and one.recorded.request.money.amount,
             "currency": one.recorded.request.money and one.recorded.request.money.currency,
             "before": one.recorded.outcome, "after": one.outcome, "reasons": one.reasons}
            for one in report.moved
        ],
    }  # fmt: skip


def _amount(minor: int, currency: str) -> str | None:
    from agentpay_policies.money import format_minor

    return format_minor(minor, currency) if currency else None


def _since(text: str) -> datetime | timedelta:
    from agentpay_policies.schedule import parse_moment
    from agentpay_policies.windows import parse_duration

    try:
        return parse_duration(text) if text[-1:] in "smhd" else parse_moment(text)
    except ValueError as exc:
        raise ValidationError(f"--since {text[:60]!a}: {exc}.") from None


def schema(as_json: AsJson = False) -> None:  # noqa: ARG001 - every command takes it, and this answer is JSON anyway
    """Print the JSON Schema of policy files, for editors."""
    from agentpay_policies.schema import schema_text

    sys.stdout.write(schema_text())


def _policy(name: str, database_url: str | None) -> Policy:
    """The policy of a file, a ready one, or the active one.

    Raises:
        NotFound: no policy is active.
        ConfigurationError, PolicyError: as for a file.
    """
    from agentpay.errors import NotFound
    from agentpay_servers.policy_files import read_policy_file

    if name != ACTIVE:
        return read_policy_file(name)
    with desk(database_url) as people:
        found = people.policy_document()
    if found is None:
        raise NotFound("No policy is active.", next_step="Make one the active one: agentpay policy apply FILE")
    return found
