"""Taking over an archive of a CERN OAIS platform: its SIP is ingested anew, its AIP and its history are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Conflict
from perdura.fleet import id_in_name
from perdura.ids import derived_id
from perdura.registry import collections, preservation, taken_over
from perdura.registry.archives import Begun, create
from perdura.registry.transitions import DEPOSIT_PIPELINE


@dataclass(frozen=True, slots=True)
class FoundSip:
    """Where a SIP lies: an object, or a prefix ending in `/` with its bytes in all."""

    bucket: str
    key: str
    size: int
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class AnnouncedAip:
    """Where an AIP is said to lie: an object or a prefix, without a slash at its end."""

    bucket: str
    key: str


def sip_place(given: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[str, str] | None:
    """Bucket and key of the SIP of an archive there, None where it has none; `given` is what all have in common."""
    path = told.get("path_to_sip")
    return (given["bucket"], _key(path, given["base"])) if path else None


def aip_place(given: Mapping[str, Any], told: Mapping[str, Any]) -> AnnouncedAip | None:
    """Where the AIP lies that was made there, None where none is to be taken over."""
    path = told.get("path_to_aip")
    if not path or not given.get("aips", True):
        return None
    base = given.get("aip_base")
    return AnnouncedAip(given.get("aip_bucket") or given["bucket"], _key(path, given["base"] if base is None else base))


def _key(path: str, base: str) -> str:
    return path.removeprefix(base).strip("/")


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


_TAKEN = text("""
    SELECT archive_id FROM package WHERE id = :aip AND archive_id <> :archive
    UNION ALL
    SELECT archive_id FROM preservation_wish
    WHERE wish -> 'take_over' ->> 'id' = CAST(:aip AS text) AND archive_id <> :archive
    LIMIT 1
""")


def take_over(
    connection: Connection, origin: str, told: Mapping[str, Any], sip: FoundSip, aip: AnnouncedAip | None = None
) -> Begun:
    """Make the Archive of an archive there and begin its ingest; done again, it changes nothing.

    Its step `preserve` takes `aip` over as it is. Raises Conflict when that is another Archive's.
    """
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
    taken_over.note(connection, archive, sip.bucket, sip.key, sip.etag)
    if aip is not None:
        _announce(connection, archive, aip)
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


def _announce(connection: Connection, archive: UUID, aip: AnnouncedAip) -> None:
    identity = id_in_name(aip.key)
    named = {"aip": identity, "archive": archive}
    if identity and connection.execute(_TAKEN, named).scalar():
        raise Conflict(f"The AIP {identity} belongs to another Archive already.", code="aip-taken")
    for key in (aip.key, f"{aip.key}/"):
        taken_over.note(connection, archive, aip.bucket, key)
    place = {"bucket": aip.bucket, "key": aip.key, "id": str(identity) if identity else None}
    preservation.note_wish(connection, archive, {"take_over": place})


def _collect(connection: Connection, archive: UUID, names: Sequence[str]) -> None:
    for name in names:
        known = connection.execute(text("SELECT id FROM collection WHERE name = :name"), {"name": name}).scalar()
        collections.add(connection, known or collections.create(connection, name), [archive])
