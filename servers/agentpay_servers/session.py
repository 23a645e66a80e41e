"""What the commands share: the options, the opened engine, and what an error means for the exit code.

0: done, warnings and unknown outcomes included. 1: what was asked about is not in order, or was refused. 2: a wrong
call. Everything of the engine is imported when a command runs: `agentpay --help` opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agentpay_policies.errors import AgentPayError, ConfigurationError, PolicyDenied, PolicyError, ValidationError
from agentpay_servers.output import hint, readable

if TYPE_CHECKING:
    from agentpay.manager import PaymentManager
    from agentpay.manager.operations import Desk

DONE: Final = 0
NOT_IN_ORDER: Final = 1
WRONG_CALL: Final = 2

DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database-url", metavar="URL", help="The database; else AGENTPAY_DATABASE_URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Key = Annotated[
    str, typer.Option("--key", metavar="KEY", help="The idempotency key: one for each purpose; repeat with the same.")
]
Provider = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Which provider; else the first that is enabled.")
]


def manager(database_url: str | None) -> PaymentManager:
    """The manager for a command with which an installation may begin. A database that is missing is created.

    AGENTPAY_POLICY is not looked at: people are not limited by the policy, and the active one stays what it is.
    """
    from agentpay.manager import PaymentManager

    return PaymentManager(database_url, policy=False)


def reader(database_url: str | None) -> PaymentManager:
    """The manager for a command about an installation that is there: it looks into it, or goes on in it.

    In a new database at a misspelt place every key is new, and so is the secret that keys for providers are made with:
    a charge that is repeated there would be made again.

    Raises:
        ConfigurationError: there is no such database; none is made.
    """
    must_exist(database_url)
    return manager(database_url)


def desk(database_url: str | None) -> Desk:
    """An installation to look into as it is; nothing is looked up at the providers.

    Raises:
        ConfigurationError: there is no such database; none is made.
    """
    from agentpay.manager.operations import Desk

    must_exist(database_url)
    return Desk(database_url)


def exit_code(error: AgentPayError) -> int:
    """What an error means to the caller of the command."""
    if isinstance(error, PolicyError):
        return NOT_IN_ORDER
    return WRONG_CALL if isinstance(error, ConfigurationError | ValidationError) else NOT_IN_ORDER


def report(error: AgentPayError) -> None:
    """Say what went wrong and what to do, on standard error."""
    hint(f"{error.code}: {error.message}")
    if isinstance(error, PolicyDenied):
        for violation in error.violations:
            hint(f"  {violation.code}: {violation.message}")
    if error.retry_at is not None:
        hint(f"not before: {readable(error.retry_at)}")
    hint(f"next: {error.next_step}")


def not_in_order() -> typer.Exit:
    """To be raised where the answer was given and is a bad one."""
    return typer.Exit(NOT_IN_ORDER)


def sqlite_file(database_url: str | None) -> Path | None:
    """The file of the database, where it is one."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from agentpay.settings import load_settings

    try:
        url = make_url(load_settings(database_url=database_url).database_url)
    except (ArgumentError, ValueError):
        return None  # the store says what is wrong with it
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def missing_file(database_url: str | None) -> Path | None:
    """The file of a SQLite database that is not there yet."""
    path = sqlite_file(database_url)
    return path if path is not None and not path.exists() else None


@contextmanager
def private(wanted: bool) -> Iterator[None]:
    """What is made within is for this user of the machine only."""
    if not wanted:
        yield
        return
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def must_exist(database_url: str | None) -> None:
    """Refuse a SQLite file that is not there.

    Raises:
        ConfigurationError: there is no such database; none is made.
    """
    path = missing_file(database_url)
    if path is not None:
        raise ConfigurationError(
            f"There is no database {path}.",
            next_step="Name the right one with --database-url, or make one with: agentpay init",
        )
