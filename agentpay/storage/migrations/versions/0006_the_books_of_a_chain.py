"""the books of a chain"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_cursors",
        sa.Column("chain", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.BigInteger(), nullable=False),
        sa.Column("head_at", sa.BigInteger(), nullable=False),
        sa.Column("scanned", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain"),
    )
    op.create_table(
        "chain_deposits",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("payment_id", sa.String(), nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("path_index", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("decimals", sa.Integer(), nullable=False),
        sa.Column("price", sa.String(), nullable=False),
        sa.Column("units", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("opened_block", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "address", "token", "slot", name="uq_chain_deposit_slot"),
        sa.UniqueConstraint("chain", "source", "path_index", name="uq_chain_deposit_index"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("chain_deposits", schema=None) as batch_op:
        batch_op.create_index("ix_chain_deposit_address", ["chain", "address"], unique=False)
        batch_op.create_index("ix_chain_deposit_open", ["chain", "state"], unique=False)

    op.create_table(
        "chain_news",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("first_told_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("chain_news", schema=None) as batch_op:
        batch_op.create_index("ix_chain_news_told", ["chain", "first_told_at"], unique=False)

    op.create_table(
        "chain_sends",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("step_key", sa.String(), nullable=True),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("charge_id", sa.String(), nullable=True),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("units", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("result", sa.String(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("chain", "sender", "nonce", name="uq_chain_send_nonce"),
        sa.UniqueConstraint("key"),
    )
    with op.batch_alter_table("chain_sends", schema=None) as batch_op:
        batch_op.create_index("ix_chain_send_charge", ["charge_id"], unique=False)
        batch_op.create_index(
            "ix_chain_send_open",
            ["chain", "state"],
            unique=False,
            sqlite_where=sa.text("state = 'sent'"),
            postgresql_where=sa.text("state = 'sent'"),
        )

    op.create_table(
        "chain_transfers",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("chain", sa.BigInteger(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(), nullable=False),
        sa.Column("block_at", sa.BigInteger(), nullable=False),
        sa.Column("sender", sa.String(), nullable=False),
        sa.Column("recipient", sa.String(), nullable=False),
        sa.Column("units", sa.String(), nullable=False),
        sa.Column("canonical", sa.Boolean(), nullable=False),
        sa.Column("deposit_id", sa.String(), nullable=True),
        sa.Column("stray_units", sa.String(), nullable=False),
        sa.Column("stray_reason", sa.String(), nullable=True),
        sa.Column("stray_changes", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("chain", "block_hash", "tx_hash", "log_index", name="uq_chain_transfer"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("chain_transfers", schema=None) as batch_op:
        batch_op.create_index("ix_chain_transfer_block", ["chain", "block_number"], unique=False)
        batch_op.create_index("ix_chain_transfer_deposit", ["deposit_id"], unique=False)
        batch_op.create_index("ix_chain_transfer_stray", ["chain", "stray_reason"], unique=False)

    op.create_table(
        "chain_raws",
        sa.Column("tx_hash", sa.String(), nullable=False),
        sa.Column("send_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("raw", sa.String(), nullable=False),
        sa.Column("gas", sa.BigInteger(), nullable=False),
        sa.Column("max_fee", sa.String(), nullable=False),
        sa.Column("tip", sa.String(), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["send_id"],
            ["chain_sends.id"],
        ),
        sa.PrimaryKeyConstraint("tx_hash"),
    )
    with op.batch_alter_table("chain_raws", schema=None) as batch_op:
        batch_op.create_index("ix_chain_raw_send", ["send_id"], unique=False)
