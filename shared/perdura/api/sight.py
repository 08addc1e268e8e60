"""One rule for whoever asks for an Archive by its id: one that they may not see does not exist for them."""

from __future__ import annotations

from uuid import UUID

from perdura.api.operations import Call
from perdura.api.problems import not_found
from perdura.api.queries import archives
from perdura.api.queries.rows import AnyRow


def seen(call: Call, archive_id: UUID) -> AnyRow:
    """The row of the Archive (`archives.find`); raises the same 404 for a hidden as for a missing one."""
    archive = archives.find(call.connection, call.principal, archive_id)
    if archive is None:
        raise not_found("Archive")
    return archive
