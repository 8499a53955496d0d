"""Alembic's entry: it runs on the transaction that `storage.database.migrate` opened, and on nothing else."""

from __future__ import annotations

from alembic import context

from storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    compare_type=True,
)
context.run_migrations()
