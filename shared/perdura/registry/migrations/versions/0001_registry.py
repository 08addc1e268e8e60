"""The registry: archives, packages, steps, deposits, inbox and outbox."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from perdura.metadata import Base
from perdura.registry import tables
from perdura.registry.transitions import DEPOSIT_PIPELINE, HARVEST_PIPELINE

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the registry's tables and the two standard pipelines."""
    names = [value.__tablename__ for value in vars(tables).values() if isinstance(value, type)
             and issubclass(value, Base) and value is not Base]  # fmt: skip
    Base.metadata.create_all(op.get_bind(), tables=[Base.metadata.tables[name] for name in names])
    op.bulk_insert(
        Base.metadata.tables["pipeline"],
        [
            {"name": "deposit", "steps": list(DEPOSIT_PIPELINE), "description": "From a deposit to tape and access."},
            {"name": "harvest", "steps": list(HARVEST_PIPELINE), "description": "From a source to tape and access."},
        ],
    )
    _ = json, sa
