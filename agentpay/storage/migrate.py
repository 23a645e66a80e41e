"""Alembic, driven from inside the package. Imported only where the revision of the database differs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from agentpay.storage.triggers import make_append_only


def config(folders: Sequence[Path] = ()) -> Config:
    """The configuration of Alembic for the migrations in this package, and in further folders."""
    made = Config()
    here = Path(__file__).parent / "migrations"
    places = os.pathsep.join(str(folder) for folder in (here / "versions", *folders))
    made.set_main_option("script_location", str(here).replace("%", "%%"))
    made.set_main_option("version_locations", places.replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def upgrade_to_head(conn: sa.Connection, folders: Sequence[Path] = ()) -> None:
    """Run every migration that the database lacks, on this connection and in its transaction."""
    upgrade_to(conn, "head", folders)


def upgrade_to(conn: sa.Connection, revision: str, folders: Sequence[Path] = ()) -> None:
    """Run the migrations that the database lacks, up to a revision."""
    made = config(folders)
    made.attributes["connection"] = conn
    command.upgrade(made, revision)
    make_append_only(conn)


def known_revisions(folders: Sequence[Path] = ()) -> frozenset[str]:
    """Every revision that this program has a migration for."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(config(folders)).walk_revisions())
