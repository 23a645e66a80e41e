"""Copies, epochs and the jobs of workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_jobs",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("ran_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("fault", sa.String(), nullable=True),
        sa.CheckConstraint("failures >= 0", name="ck_job_failures"),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("installation", schema=None) as batch_op:
        batch_op.add_column(sa.Column("is_copy", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("epoch", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("epoch_at", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("reconciled_epoch", sa.Integer(), nullable=True))
    op.execute("UPDATE installation SET is_copy = false, epoch = 1, reconciled_epoch = 1")
    with op.batch_alter_table("installation", schema=None) as batch_op:
        batch_op.alter_column("is_copy", existing_type=sa.Boolean(), nullable=False)
        batch_op.alter_column("epoch", existing_type=sa.Integer(), nullable=False)
        batch_op.alter_column("reconciled_epoch", existing_type=sa.Integer(), nullable=False)
