"""The Archives that are restricted are found at once: each page of the PREMIS log asks for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_archive_restricted", "archive", ["id"], postgresql_where=sa.text("restricted"))
