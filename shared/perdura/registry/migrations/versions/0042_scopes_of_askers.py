"""Jobs keep the scopes of the token that they were asked for with, and tokens the token."""

from __future__ import annotations

from alembic import op

revision = "0042"
down_revision = "0041"


def upgrade() -> None:
    """Add the columns; jobs and tokens that are there stay what they were."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE job ADD COLUMN scopes text[]",
    "ALTER TABLE token ADD COLUMN made_with uuid CONSTRAINT fk_token_made_with REFERENCES token (id)",
    "CREATE INDEX ix_token_made_with ON token (made_with) WHERE made_with IS NOT NULL",
)
