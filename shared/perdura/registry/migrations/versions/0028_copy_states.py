"""What became of copies: whether one still counts, or was found lost or damaged."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Add the column; all copies there are count, for nothing else was ever noted.

    Without a constraint on it: functions of the version before go on writing while this one is rolled out.
    """
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE copy ADD COLUMN state text NOT NULL DEFAULT 'held'",
    "CREATE INDEX ix_copy_broken ON copy (location, package_id) WHERE state <> 'held'",
)
