"""merges: several fulfilments in one warehouse order"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_WAITING = sa.text("merge_key IS NOT NULL AND state = 'ready'")
_MERGED = sa.text("merge_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "merges",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("warehouse_id", _ID, nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lead_id", _ID, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", _ID, nullable=False),
        sa.Column("updated_at", _ID, nullable=False),
        sa.CheckConstraint("state IN ('open', 'sealed', 'pushed', 'dissolved')", name=op.f("ck_merges_state")),
        sa.CheckConstraint("size > 1", name=op.f("ck_merges_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merges")),
        sa.UniqueConstraint("code", name=op.f("uq_merges_code")),
    )
    op.add_column("fulfilments", sa.Column("merge_key", sa.LargeBinary(), nullable=True))
    op.add_column("fulfilments", sa.Column("merge_id", _ID, nullable=True))
    op.create_index(
        "ix_fulfilments_merge_key",
        "fulfilments",
        ["merge_key"],
        unique=False,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_index(
        "ix_fulfilments_merge",
        "fulfilments",
        ["merge_id"],
        unique=False,
        sqlite_where=_MERGED,
        postgresql_where=_MERGED,
    )


def downgrade() -> None:
    op.drop_index("ix_fulfilments_merge", table_name="fulfilments")
    op.drop_index("ix_fulfilments_merge_key", table_name="fulfilments")
    op.drop_column("fulfilments", "merge_id")
    op.drop_column("fulfilments", "merge_key")
    op.drop_table("merges")
