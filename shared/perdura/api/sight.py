"""One rule for whoever asks for an Archive by its id: one that they may not see does not exist for them.

And one for whoever wants its bytes: an embargo holds for all to whom the Archive would be hidden were it restricted.
"""

from __future__ import annotations

from uuid import UUID

from perdura.api.operations import Call
from perdura.api.problems import embargoed, not_found
from perdura.api.queries import archives
from perdura.api.queries.rows import AnyRow


def seen(call: Call, archive_id: UUID) -> AnyRow:
    """The row of the Archive (`archives.find`); raises the same 404 for a hidden as for a missing one."""
    archive = archives.find(call.connection, call.principal, archive_id)
    if archive is None:
        raise not_found("Archive")
    return archive


def readable(call: Call, archive_id: UUID) -> AnyRow:
    """The row of the Archive, for whoever wants bytes of any of its packages.

    Raises a 404 as `seen` does, a 403 under an embargo.
    """
    archive = seen(call, archive_id)
    until = archives.shut_until(archive)
    if until is not None:
        raise embargoed(until)
    return archive
