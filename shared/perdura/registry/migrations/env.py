"""Alembic environment: runs on the connection that `perdura.registry.migrate` hands over."""

from __future__ import annotations

from alembic import context

from perdura.metadata import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
