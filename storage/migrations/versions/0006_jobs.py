"""jobs of many workers, and work by target"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_WORK = "state IN ('due', 'sending', 'unknown')"


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False)


def _words(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "jobs",
        _words("key"),
        _words("name"),
        _number("subject_id"),
        _words("part"),
        _words("lane"),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        _number("wanted"),
        _number("done"),
        _number("due_at"),
        _number("lease_until"),
        _number("token"),
        _words("holder"),
        _number("runs"),
        sa.Column("failures", sa.Integer(), nullable=False),
        _words("error"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_jobs")),
    )
    where = sa.text("wanted > done")
    op.create_index("ix_jobs_due", "jobs", ["due_at"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_jobs_lease", "jobs", ["lease_until"])
    work = sa.text(_WORK)
    op.create_index("ix_outbox_target", "outbox", ["target_id", "due_at"], sqlite_where=work, postgresql_where=work)
