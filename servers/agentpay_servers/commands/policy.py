"""`agentpay policy`, `halt` and `resume`: what agents may do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentpay_policies.errors import PolicyError
from agentpay_servers.commands import group, questions
from agentpay_servers.output import Column, answer, hint, print_json, print_line, print_record, readable
from agentpay_servers.session import AsJson, DatabaseUrl, manager, not_in_order, reader

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager
    from agentpay.spending.models import ActivePolicy
    from agentpay_policies.policy import Policy

File = Annotated[str, typer.Argument(metavar="FILE", help="A policy file, or the name of a ready one.")]
Agent = Annotated[str | None, typer.Argument(metavar="[AGENT]", help="Which agent; all of them where none is named.")]

_FIELDS = ("version", "id", "hash", "applied_by", "applied_at", "changed", "loosened", "warnings")
_ACTIVE = tuple(Column[Any](name, lambda one, name=name: getattr(one, name)) for name in _FIELDS)  # type: ignore[misc]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    policy = group(app, "policy", "What agents may do, and questions about it.")
    policy.command("check")(check)
    policy.command("apply")(apply)
    policy.command("show")(show)
    questions.add_to(policy)
    app.command()(halt)
    app.command()(resume)


def check(file: File, as_json: AsJson = False) -> None:
    """Check a policy file and name every fault with its line. Nothing is opened but the file."""
    from agentpay_servers.policy_files import read_policy_file

    try:
        found = read_policy_file(file)
    except PolicyError as error:
        _print_faults(file, error, as_json)
        raise not_in_order() from None
    if as_json:
        data = {"ok": True, "id": found.id, "hash": found.hash, "faults": [], "warnings": found.warnings}
        print_json(data)
        return
    print_line(f"{file}: policy {found.id} is in order, {len(found.agents)} agents, hash {found.hash[:12]}")
    _warn(found.warnings)


def _print_faults(file: str, error: PolicyError, as_json: bool) -> None:
    if as_json:
        faults = [{"line": one.line, "pointer": one.pointer, "message": one.message} for one in error.faults]
        print_json({"ok": False, "id": None, "hash": None, "faults": faults, "warnings": []})
        return
    for fault in error.faults:
        print_line(f"{file}: {fault}")
    count = len(error.faults)
    hint(f"{error.code}: {count} fault{'s' if count > 1 else ''}.")
    hint(f"next: {error.next_step}")


def apply(file: File, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Make a policy the one by which the database decides, and say whatever it allows more than the one before."""
    from agentpay_servers.policy_files import read_policy_file

    found = read_policy_file(file)
    with manager(database_url) as engine:
        active = engine.apply_policy(found)
        missing = _not_enrolled(engine, found)
    if as_json:
        print_record(_ACTIVE, active, True)
    else:
        _print_applied(active)
    _warn((*active.warnings, *missing))


def _print_applied(active: ActivePolicy) -> None:
    said = f"{active.id}, version {active.version}, hash {active.hash[:12]}"
    if not active.changed:
        print_line(f"The policy is active already: {said}. Nothing was changed.")
        return
    print_line(f"The policy is active now: {said}.")
    for sentence in active.loosened:
        print_line(f"LOOSENED: {sentence}")
    if active.version > 1 and not active.loosened:
        print_line("It allows nothing that the one before did not.")


def _not_enrolled(engine: PaymentManager, policy: Policy) -> list[str]:
    missing = policy.approver_names() - {one.name for one in engine.approvers()}
    return [f"{name} may approve and is not enrolled: agentpay approvers add {name}" for name in sorted(missing)]


def _warn(warnings: Any) -> None:
    for warning in warnings:
        hint(f"warning: {warning}")


def show(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show the policy by which the database decides, as a policy file with everything written out."""
    import yaml

    with reader(database_url) as engine:
        active, document = engine.active_policy(), engine.policy_document()
    if active is None or document is None:
        no_policy()
        raise not_in_order()
    content = json.loads(document.to_json())
    if as_json:
        print_json({**{column.name: column.value(active) for column in _ACTIVE}, "policy": content})
        return
    applied = f"applied {readable(active.applied_at)} by {active.applied_by}"
    print_line(f"# {active.id}, version {active.version}, hash {active.hash[:12]}, {applied}")
    typer.echo(yaml.safe_dump(content, sort_keys=False, width=110), nl=False)


def halt(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the agent reads it.")],
    agent: Agent = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Stop an agent, or all of them, from the next decision on.

    Every decision is a denial until resume. What is under way goes on.
    """
    from agentpay_policies.text import identifier

    name = None if agent is None else identifier(agent, "agent")
    with reader(database_url) as engine:  # a new database at a misspelt place would be halted, and nobody else
        engine.halt(name, reason=reason)
        policy = engine.policy_document()
    answer(as_json, {"agent": name, "halted": True, "reason": reason}, f"{name or 'Every agent'} is halted: {reason}")
    if name is not None and (policy is None or policy.agent(name) is None):
        hint(f"warning: the active policy names no agent {name}.")


def resume(agent: Agent = None, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Let an agent, or all of them, go on. A halt of all and a halt of one are lifted apart."""
    with reader(database_url) as engine:
        lifted = engine.resume(agent)
        left = [one.scope.removeprefix("agent:") for one in engine.halts()]
    text = f"{agent or 'Every agent'} may go on." if lifted else f"There was no halt of {agent or 'all agents'}."
    answer(as_json, {"agent": agent, "lifted": lifted, "still_halted": left}, text)
    if left:
        hint(f"still halted: {', '.join(left)}")
    if not lifted:
        raise not_in_order()


def no_policy() -> None:
    """Say that there is none, and what to do."""
    hint("No policy is active: every spending call of an agent is denied.")
    hint("next: Write one with agentpay init, or make a file the active one: agentpay policy apply FILE")
