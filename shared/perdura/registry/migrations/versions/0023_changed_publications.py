"""When what is published was published last: harvesters ask for what changed; both orders are read from an index."""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the column; what was published before changed when it was published."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE publication ADD COLUMN changed_at timestamptz NOT NULL DEFAULT clock_timestamp()",
    "UPDATE publication SET changed_at = published_at",
    "CREATE INDEX ix_publication_destination_changed_at_archive_id"
    " ON publication (destination, changed_at, archive_id)",
    "CREATE INDEX ix_publication_destination_published_at_archive_id"
    " ON publication (destination, published_at, archive_id)",
)
