"""PgQueuer carries the jobs, on PostgreSQL in a schema of its own; the planned ticks"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("jobs")
    op.create_table(
        "ticks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("tick", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ticks")),
    )
    if op.get_bind().dialect.name == "postgresql":
        from storage.queue import install  # noqa: PLC0415 - only installations on PostgreSQL need the library

        install(op.get_bind())
