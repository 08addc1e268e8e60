"""What the access pages offer of an Archive, as it was decided when it was published."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Connection

from perdura.ports import Offer

_OFFER = text("""
    WITH placed AS (
        INSERT INTO placement (destination, archive_id, record_id, state)
        VALUES (:destination, :archive, CAST(:archive AS text), 'published')
        ON CONFLICT (destination, archive_id) DO UPDATE SET state = excluded.state, details = excluded.details,
            updated_at = clock_timestamp()
    )
    INSERT INTO offer (archive_id, package_id, content, files, file_bytes)
    VALUES (:archive, :package, :content, :files, :file_bytes)
    ON CONFLICT (archive_id) DO UPDATE SET package_id = excluded.package_id, content = excluded.content,
        files = excluded.files, file_bytes = excluded.file_bytes
    RETURNING xmax = 0
""")

_FORGET = text("DELETE FROM offer_file WHERE archive_id = :archive")

_FILES = text("""
    INSERT INTO offer_file (archive_id, name, path)
    SELECT :archive, name, path FROM unnest(CAST(:names AS text[]), CAST(:paths AS text[])) AS f (name, path)
""")

PAGE = 5_000
"""Files that are noted in one statement: an AIP may have millions."""


def record(connection: Connection, destination: str, archive: UUID, offer: Offer) -> None:
    """Offer this of an Archive from now on, and nothing else of it; it counts as published at the destination."""
    values = {"package": offer.package, "content": offer.content, "file_bytes": offer.file_bytes}
    noted = connection.execute(
        _OFFER, {"archive": archive, "destination": destination, "files": len(offer.files), **values}
    )
    if not noted.scalar_one():
        connection.execute(_FORGET, {"archive": archive})
    for begin in range(0, len(offer.files), PAGE):
        names, paths = zip(*offer.files[begin : begin + PAGE], strict=True)
        connection.execute(_FILES, {"archive": archive, "names": list(names), "paths": list(paths)})
