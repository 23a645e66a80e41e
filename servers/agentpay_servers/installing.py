"""What `agentpay init` does: whatever is missing is made, and whatever is there stays as it is."""

from __future__ import annotations

import getpass
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentpay_policies.errors import ConfigurationError, PolicyError, ValidationError
from agentpay_policies.files import ready_file
from agentpay_policies.loader import load_policy
from agentpay_servers.plan_files import SAMPLE, read_plans
from agentpay_servers.policy_files import read_policy_file
from agentpay_servers.prompts import new_secret, on_terminal

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager


@dataclass
class Installing:
    """One run: where the files go, and what was done."""

    policy: str
    plans: str
    approver: str | None
    database_url: str | None
    steps: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    changed: bool = False

    def run(self) -> Installing:
        """Do it. What could fail is tried before anything is written.

        Raises:
            ConfigurationError: a file cannot be written, or the database not be opened.
            PolicyError: the policy file that is there already is none.
        """
        from agentpay_servers.session import manager, missing_file, private

        name = _login() if self.approver is None else self.approver
        text = starter_policy(name)
        missing = missing_file(self.database_url)
        with private(missing is not None):
            opened = manager(self.database_url)
        with opened as engine:
            self._say(missing is not None, f"The database {missing} was made, for this user of the machine only.")
            secret = new_secret(name) if not engine.approvers() and on_terminal() else None
            self._write(self.policy, text, "the starter policy")
            self._write(self.plans, SAMPLE, "sample plans")
            self._apply(engine)
            self._create_plans(engine)
            self._enrol(engine, name, secret)
        return self

    def _say(self, done: bool, text: str) -> None:
        if done:
            self.steps.append(text)
            self.changed = True

    def _write(self, name: str, text: str, what: str) -> None:
        path = Path(name).expanduser()
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            self.steps.append(f"{path} is there and was left as it is.")
            return
        except OSError as exc:
            raise ConfigurationError(f"{path.absolute()} cannot be written: {exc.strerror}.") from None
        self._say(True, f"{path} was written: {what}.")

    def _apply(self, engine: PaymentManager) -> None:
        """Make the file the active policy where none is. An active one is never replaced here."""
        found = read_policy_file(self.policy)
        active = engine.active_policy()
        if active is None:
            made = engine.apply_policy(found)
            self._say(True, f"Policy {made.id} is active, version {made.version}.")
        elif active.hash != found.hash:
            self.steps.append(f"The database goes on deciding by {active.id}, version {active.version}.")
            self.hints.append(f"To make the file the active policy: agentpay policy apply {shlex.quote(self.policy)}")

    def _create_plans(self, engine: PaymentManager) -> None:
        if engine.list_plans():
            return
        made = [engine.create_plan(plan).id for plan in read_plans(self.plans)]
        self._say(bool(made), f"Plans {', '.join(made)} were created.")

    def _enrol(self, engine: PaymentManager, name: str, secret: str | None) -> None:
        if secret is not None:
            engine.enrol_approver(name, secret)
            self._say(True, f"{name} is enrolled as the first approver.")
        elif not engine.approvers():
            self.steps.append("Nobody is enrolled as an approver: a secret is chosen on a terminal.")
            self.hints.append(f"On a terminal: agentpay approvers add {shlex.quote(name)}")
            self.hints.append("Or in your own program: manager.enrol_approver(name, secret)")


def starter_policy(approver: str) -> str:
    """The starter policy with the approver's name in it.

    Raises:
        ValidationError: a policy cannot name anybody so.
    """
    # The first line tells an editor where the schema lies, from where the ready files lie.
    text = "\n".join(line for line in ready_file("starter").splitlines() if "$schema=" not in line).lstrip() + "\n"
    before = "members: [owner]"
    if text.count(before) != 1:
        raise ConfigurationError("The starter policy of this installation was changed; it names no owner.")
    filled = text.replace(before, f"members: [{json.dumps(approver)}]")
    try:
        load_policy(filled)
    except PolicyError as error:
        fault = error.faults[0].message
        raise ValidationError(f"No approver can be called so: {fault}.", next_step="Give another --approver.") from None
    return filled


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "owner"
