"""DEVELOPMENT FORM of the first revision: replaced by explicit DDL before it is committed."""

from __future__ import annotations

import importlib
import pkgutil

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    import agentpay
    from agentpay.storage.types import Base

    for found in pkgutil.walk_packages(agentpay.__path__, "agentpay."):
        if found.name.endswith("tables"):
            importlib.import_module(found.name)
    Base.metadata.create_all(op.get_bind())
