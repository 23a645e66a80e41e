"""Webhooks and disputes"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "account", "event_id", name="uq_webhook_event"),
    )
    with op.batch_alter_table("webhook_events", schema=None) as batch_op:
        batch_op.create_index("ix_webhook_received", ["received_at"], unique=False)
        batch_op.create_index(
            "ix_webhook_waiting",
            ["next_try_at"],
            unique=False,
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        )

    op.create_table(
        "webhook_news",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=True),
        sa.Column("charge", sa.String(), nullable=True),
        sa.Column("object_id", sa.String(), nullable=True),
        sa.Column("change", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["webhook_events.id"],
        ),
        sa.PrimaryKeyConstraint("event_id", "position"),
    )
    with op.batch_alter_table("webhook_news", schema=None) as batch_op:
        batch_op.create_index(
            "ix_webhook_news_charge",
            ["charge"],
            unique=False,
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        )
        batch_op.create_index(
            "ix_webhook_news_key",
            ["key"],
            unique=False,
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        )
        batch_op.create_index("ix_webhook_news_object", ["object_id"], unique=False)
        batch_op.create_index(
            "ix_webhook_news_reference",
            ["reference"],
            unique=False,
            sqlite_where=sa.text("status = 'waiting'"),
            postgresql_where=sa.text("status = 'waiting'"),
        )

    op.create_table(
        "disputes",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("withdrawn_minor", sa.BigInteger(), nullable=False),
        sa.Column("postings", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name="ck_dispute_amount"),
        sa.CheckConstraint("withdrawn_minor IN (0, amount_minor)", name="ck_dispute_withdrawn"),
        sa.ForeignKeyConstraint(
            ["payment_id"],
            ["payments.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("provider", "kind", "reference", name="uq_dispute_reference"),
    )
    with op.batch_alter_table("disputes", schema=None) as batch_op:
        batch_op.create_index("ix_dispute_payment", ["payment_id"], unique=False)
        batch_op.create_index("ix_dispute_status", ["status"], unique=False)

    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_reference", ["reference"], unique=False)

    # Not in batches: SQLite would make the tables anew, and lose what Alembic does not see of them.
    op.add_column("payments", sa.Column("disputed_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("payments", sa.Column("excess", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("refunds", sa.Column("origin", sa.String(), server_default="agentpay", nullable=False))
    op.add_column("refunds", sa.Column("reference", sa.String(), nullable=True))
    op.add_column("refunds", sa.Column("returned", sa.Boolean(), server_default=sa.false(), nullable=False))
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.create_index(
            "uq_refund_reference",
            ["payment_id", "reference"],
            unique=True,
            sqlite_where=sa.text("reference IS NOT NULL"),
            postgresql_where=sa.text("reference IS NOT NULL"),
        )
