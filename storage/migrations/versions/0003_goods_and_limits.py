"""Goods, capacity per day, credit in use, reservations that expire."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEPT = sa.text("reserved_until IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "goods",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("weight_grams", _BIG, nullable=False),
        sa.Column("volume_ml", _BIG, nullable=False),
        sa.Column("supplier", sa.Text(), nullable=False),
        sa.Column("classes", sa.Text(), nullable=False),
        sa.Column("updated_at", _BIG, nullable=False),
        sa.CheckConstraint("weight_grams >= 0", name=op.f("ck_goods_weight_grams")),
        sa.CheckConstraint("volume_ml >= 0", name=op.f("ck_goods_volume_ml")),
        sa.PrimaryKeyConstraint("sku", name=op.f("pk_goods")),
    )
    op.create_table(
        "capacity",
        sa.Column("warehouse_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("planned", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("warehouse_id", "day", name=op.f("pk_capacity")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credits",
        sa.Column("owner_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("used", _BIG, nullable=True),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_credits")),
    )
    op.add_column("orders", sa.Column("reserved_until", _BIG, nullable=True))
    op.create_index("ix_orders_reserved", "orders", ["reserved_until"], sqlite_where=_KEPT, postgresql_where=_KEPT)
    op.add_column("fulfilments", sa.Column("day", sa.Integer(), nullable=True))
