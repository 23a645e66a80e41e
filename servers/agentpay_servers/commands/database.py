"""`agentpay db`: the database kept in step, copied, moved and read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentpay_policies.errors import ValidationError
from agentpay_servers.commands import group
from agentpay_servers.output import answer, hint
from agentpay_servers.session import AsJson, DatabaseUrl, desk, missing_file, must_exist, private

if TYPE_CHECKING:
    from agentpay.storage.store import Store


def register(app: typer.Typer) -> None:
    """Add the group."""
    database = group(app, "db", "The database: upgrade, backup, export, import, and more.")
    database.command("upgrade")(upgrade)
    database.command("backup")(backup)
    database.command("export")(export)
    database.command("import")(import_)
    database.command("restored")(restored)
    database.command("accept-clock")(accept_clock)


def upgrade(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Bring the database to the revision of this program. Make a backup first."""
    from agentpay.storage.schema import REVISION, prepare

    store = _store(database_url)
    try:
        prepare(store, upgrade=True)
    finally:
        store.close()
    answer(as_json, {"revision": REVISION}, f"The database has revision {REVISION}, which this program works with.")


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The copy; it must not be there yet.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Copy a SQLite database, also while it is in use, and of an earlier program as it is.

    The copy is opened halted, in a new epoch.
    """
    from agentpay.storage.backup import back_up

    must_exist(database_url)
    store = _store(database_url)
    try:
        back_up(store, Path(file).absolute())
    finally:
        store.close()
    answer(as_json, {"file": file}, f"Copied to {file}. Keep it as safe as the database: it holds its secrets.")


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to; it must not be there yet. - prints it.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Write every row of the database, of one moment, as lines of JSON.

    For people to read, for SQLite and PostgreSQL to exchange, and for keeping. It holds the installation's secret.
    """
    from agentpay.storage.exporting import export_to
    from agentpay.storage.files import new_file

    if file == "-" and as_json:
        raise ValidationError("--json says what was written; with - the lines themselves are printed.")
    with _prepared(database_url) as store:
        if file == "-":
            sys.stdout.flush()
            done = export_to(store, sys.stdout.buffer)
        else:
            with new_file(Path(file).absolute()) as part, part.open("wb") as sink:
                done = export_to(store, sink)
    text = f"{done.rows} rows. Keep them as safe as the database: they hold its secrets."
    if file == "-":
        sys.stdout.buffer.flush()
        hint(text)
    else:
        answer(as_json, {"file": file, "rows": done.rows, "sha256": done.sha256}, f"{file}: {text}")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What agentpay db export wrote.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Fill a new, empty database from an export: all of it, or nothing.

    What comes of it is a copy: it is opened halted, in a new epoch, until a reconcile and resume.
    """
    from agentpay.storage.importing import import_from

    store = _store(database_url)
    try:
        with private(missing_file(database_url) is not None):
            done = import_from(store, Path(file).absolute())
    finally:
        store.close()
    data = {"rows": done.rows, "installation": done.header.installation, "exported_at": done.header.exported_at}
    answer(as_json, data, f"{done.rows} rows of {done.header.installation}.")
    hint("next: agentpay reconcile, compare the newest payments with the provider's own, then agentpay resume")


def restored(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Say that this database is a restored copy, where nothing marks it: after pg_restore, or cp of a file.

    Agents are halted, in a new epoch, until a reconcile and resume.
    """
    with desk(database_url) as people:
        epoch = people.declare_restored()
    answer(as_json, {"epoch": epoch}, f"Agents are halted; this is epoch {epoch}.")
    hint("next: agentpay reconcile, compare the newest payments with the provider's own, then agentpay resume")


def accept_clock(as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Accept that the clock is behind what the database has seen: the past was the mistake. It is audited."""
    with desk(database_url) as people:
        people.accept_clock()
    answer(as_json, {"accepted": True}, "The clock is accepted as it is now.")


def _store(database_url: str | None) -> Store:
    from agentpay.settings import load_settings
    from agentpay.storage.store import Store

    return Store(load_settings(database_url=database_url).database_url)


@contextmanager
def _prepared(database_url: str | None) -> Iterator[Store]:
    """The store of a database that is there. Neither providers nor a policy are asked for."""
    from agentpay.storage.schema import prepare

    must_exist(database_url)
    store = _store(database_url)
    try:
        prepare(store)
        yield store
    finally:
        store.close()
