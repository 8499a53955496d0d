"""the life of a ruleset, its log, and what decisions share"""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NEW: dict[str, object] = {
    "rails": "",
    "replay": "",
    "replay_digest": "",
    "replayed_at": None,
    "approver": "",
    "approved_at": None,
}
_NEW |= {"override_reason": "", "rolled_back": False}


def upgrade() -> None:
    # A handful of rows, and a constraint to replace: the table is made anew on both databases.
    known = [dict(row) for row in op.get_bind().execute(sa.text("SELECT * FROM rulesets")).mappings()]
    op.drop_table("rulesets")
    made = op.create_table("rulesets", *_rulesets())
    # Until now only configuration files brought rulesets, and armed them.
    rows = [
        row | _NEW | {"author": "apply", "armed_from": row["armed_at"], "digest": _digest(row["document"])}
        for row in known
    ]
    if rows:
        op.bulk_insert(made, rows)
    op.create_table(
        "ruleset_log",
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("at", _BIG, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ruleset_log")),
    )
    op.create_index("ix_ruleset_log_version", "ruleset_log", ["version", "id"], unique=False)
    op.create_table(
        "contexts",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_contexts")),
    )


def _digest(document: str) -> str:
    """As `rules.language.load` computes it."""
    canonical = json.dumps(json.loads(document), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _rulesets() -> list[sa.Column[object] | sa.Constraint]:
    return [
        sa.Column("id", _BIG, autoincrement=False, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at", _BIG, nullable=False),
        sa.Column("rails", sa.Text(), nullable=False),
        sa.Column("replay", sa.Text(), nullable=False),
        sa.Column("replay_digest", sa.Text(), nullable=False),
        sa.Column("replayed_at", _BIG, nullable=True),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("approved_at", _BIG, nullable=True),
        sa.Column("override_reason", sa.Text(), nullable=False),
        sa.Column("armed_at", _BIG, nullable=True),
        sa.Column("armed_from", _BIG, nullable=True),
        sa.Column("rolled_back", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'validated', 'replayed', 'approved', 'armed', 'retired')",
            name=op.f("ck_rulesets_state"),
        ),
        sa.CheckConstraint("approver = '' OR approver <> author", name=op.f("ck_rulesets_two_persons")),
        sa.CheckConstraint(
            "state <> 'armed' OR (armed_from IS NOT NULL AND "
            "(author = 'apply' OR (approver <> '' AND digest <> '' AND replay_digest = digest)))",
            name=op.f("ck_rulesets_armed_as_replayed"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rulesets")),
        sa.UniqueConstraint("version", name=op.f("uq_rulesets_version")),
    ]
