"""the whole spending policy"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "decision_requests",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("direction", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=True),
        sa.Column("payee", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=True),
        sa.Column("method", sa.String(), nullable=True),
        sa.Column("currency", sa.String(), nullable=True),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("plan", sa.String(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanos", sa.BigInteger(), nullable=True),
        sa.Column("own_charge", sa.Boolean(), nullable=False),
        sa.Column("period", sa.String(), nullable=True),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("look_alike", sa.String(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("violations", sa.String(), nullable=False),
        sa.Column("shadow", sa.String(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=True),
        sa.Column("policy_hash", sa.String(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    with op.batch_alter_table("decision_requests", schema=None) as batch_op:
        batch_op.create_index("ix_decision_request_time", ["decided_at", "seq"], unique=False)

    op.create_table(
        "enrolments",
        sa.Column("agent", sa.String(), nullable=False),
        sa.Column("enrolled_by", sa.String(), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent"),
    )
    op.create_table(
        "policy_notices",
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("threshold", sa.String(), nullable=False),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "subject", "unit", "threshold", "window_start"),
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("weight_minor", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("cost_nanos", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("approved", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("restores", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("restored_minor", sa.BigInteger(), nullable=False, server_default="0"))
    # What was held before counted its amount, and people were asked where there is an approval that was used.
    op.execute("UPDATE holds SET weight_minor = amount_minor")
    op.execute(
        "UPDATE holds SET approved = true WHERE kind = 'approval' OR owner_id IN "
        "(SELECT owner_id FROM approvals WHERE status = 'consumed')"
    )
    with op.batch_alter_table("holds", schema=None) as batch_op:
        batch_op.create_check_constraint("ck_hold_restored", "restored_minor >= 0 AND restored_minor <= weight_minor")
    op.add_column("payments", sa.Column("plan_period", sa.String(), nullable=True))
    op.add_column("payments", sa.Column("plan_term", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("subscriptions", sa.Column("term", sa.Integer(), nullable=False, server_default="1"))
