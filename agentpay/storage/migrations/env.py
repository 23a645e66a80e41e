"""Alembic's entry: it runs on the connection that `agentpay.storage.migrate` passes in."""

from __future__ import annotations

from alembic import context

from agentpay.storage.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    render_as_batch=True,
    version_table=VERSION_TABLE,
)
context.run_migrations()
