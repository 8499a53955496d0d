"""trained dictionaries, archives of finished orders, how far walks have come"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "dictionaries",
        sa.Column("number", _BIG, autoincrement=False, nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_dictionaries")),
    )
    op.create_table(
        "archives",
        sa.Column("order_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_archives")),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("at", _BIG, nullable=False),
        sa.Column("row_id", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_marks")),
    )
    news = sa.text("source_kind <> 'account' AND order_id IS NOT NULL")
    waits = sa.text("state = 'waiting'")
    op.create_index("ix_outbox_waiting", "outbox", ["id"], sqlite_where=waits, postgresql_where=waits)
    # On SQLite these were partial from the beginning.
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_orders_partner", "orders")
        told = sa.text("partner_id IS NOT NULL")
        op.create_index("ix_orders_partner", "orders", ["partner_id", "updated_at", "id"], postgresql_where=told)
        op.drop_index("ix_orders_tail", "orders")
        known = sa.text("tail_hash IS NOT NULL")
        op.create_index("ix_orders_tail", "orders", ["tail_hash", "id"], postgresql_where=known)
    op.create_index("ix_inbox_news", "inbox", ["order_id"], sqlite_where=news, postgresql_where=news)
