"""Writes a migration from what the models say more than the migrations before it. For developers of AgentPay:

    python -m agentpay.storage.migrations.generate 0002 "what it does"

Read what it wrote and format it: it is frozen once it is released. Then set `REVISION` in `agentpay.storage.schema`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel.sql.sqltypes import AutoString

from agentpay.storage.metadata import models
from agentpay.storage.migrate import config, upgrade_to_head
from agentpay.storage.schema import VERSION_TABLE
from agentpay.storage.types import UtcTime

_FILE: Final = '''"""{title}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {before!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {body}
'''


def write(revision: str, title: str, folder: Path) -> Path:
    """Write the migration that leads from the newest one to the models."""
    before = ScriptDirectory.from_config(config()).get_current_head()
    with sa.create_engine("sqlite://").connect() as conn:
        if before is not None:
            upgrade_to_head(conn)
        context = MigrationContext.configure(conn, opts={"target_metadata": models(), "version_table": VERSION_TABLE})
        ops = produce_migrations(context, models()).upgrade_ops
        assert ops is not None
        batch = before is not None  # SQLite changes a table by making it anew
        body = render_python_code(ops, render_as_batch=batch, render_item=_rendered, migration_context=context)
    code = "\n    ".join(line for line in body.splitlines() if not line.lstrip().startswith("# ###"))
    path = folder / f"{revision}_{re.sub('[^a-z0-9]+', '_', title.lower()).strip('_')}.py"
    path.write_text(_FILE.format(title=title, revision=revision, before=before, body=code), "utf-8")
    return path


def _rendered(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Our own column types by what they are in the database: a migration does not change with them."""
    if kind == "type" and isinstance(item, UtcTime):
        return "sa.BigInteger()"
    if kind == "type" and isinstance(item, AutoString):
        return "sa.String()"
    return False


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], Path(__file__).parent / "versions")
