"""Taking over an archive of a CERN OAIS platform: its SIP is ingested anew, its history kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.ids import derived_id
from perdura.registry import collections
from perdura.registry.archives import Begun, create
from perdura.registry.transitions import DEPOSIT_PIPELINE


@dataclass(frozen=True, slots=True)
class FoundSip:
    """Where a SIP lies: an object, or a prefix ending in `/` with its bytes in all."""

    bucket: str
    key: str
    size: int
    etag: str | None = None


_DESCRIBE = text("""
    WITH known AS (
        INSERT INTO resource (id, source, recid) VALUES (:resource, :source, :recid)
        ON CONFLICT (source, recid) DO NOTHING
    )
    UPDATE archive SET metadata = metadata || CAST(:metadata AS jsonb), restricted = :restricted WHERE id = :archive
""")

_LINK = text("""
    UPDATE archive SET resource_id = (SELECT id FROM resource WHERE source = :source AND recid = :recid)
    WHERE id = :archive
""")

_SIP = text("""
    INSERT INTO package (id, archive_id, kind, bucket, key, container, size, checksums, accepted)
    VALUES (:id, :archive, 'SIP', :bucket, :key, 'prefix', :size, '{}', true) ON CONFLICT (id) DO NOTHING
""")


def take_over(connection: Connection, origin: str, told: Mapping[str, Any], sip: FoundSip) -> Begun:
    """Make the Archive of an archive there and begin its ingest; done again, it changes nothing."""
    archive = derived_id("oais", origin, told["id"])
    whole = {"bucket": sip.bucket, "key": sip.key, "etag": sip.etag, "size": sip.size, "filename": sip.key}
    unpacked = sip.key.endswith("/")
    begun = create(
        connection,
        archive,
        title=told["title"] or f"{told['source']} {told['recid']}",
        origin="announcement",
        pipeline=DEPOSIT_PIPELINE,
        step_input={} if unpacked else whole,
    )
    if not begun.events:
        return begun
    if unpacked:
        connection.execute(
            _SIP,
            {"id": derived_id("oais-sip", archive), "archive": archive, "bucket": sip.bucket, "key": sip.key,
             "size": sip.size},
        )  # fmt: skip
    history = {"oais_platform": {"origin": origin, **{name: told.get(name) for name in ("id", "source_url", "timestamp",
               "steps")}}}  # fmt: skip
    names = {"source": told["source"], "recid": told["recid"], "archive": archive}
    connection.execute(
        _DESCRIBE,
        {**names, "resource": derived_id("resource", told["source"], told["recid"]), "restricted": told["restricted"],
         "metadata": json.dumps(history)},
    )  # fmt: skip
    connection.execute(_LINK, names)
    _collect(connection, archive, told.get("collections") or ())
    return begun


def _collect(connection: Connection, archive: UUID, names: Sequence[str]) -> None:
    for name in names:
        known = connection.execute(text("SELECT id FROM collection WHERE name = :name"), {"name": name}).scalar()
        collections.add(connection, known or collections.create(connection, name), [archive])
