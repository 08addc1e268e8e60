"""An index over the steps that wait for a person: how many there are is read at every scrape of the metrics."""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"


def upgrade() -> None:
    """Add the index."""
    op.get_bind().exec_driver_sql("CREATE INDEX ix_step_blocked ON step (name) WHERE state = 'blocked'")
