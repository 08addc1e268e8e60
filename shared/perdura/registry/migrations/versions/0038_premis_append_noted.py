"""The PREMIS log: the function that records one event keeps its entry of the audit log as well."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0038"
down_revision = "0037"


def upgrade() -> None:
    """Replace the function; the one that functions of the version before call stays."""
    schema.create(op.get_bind())
