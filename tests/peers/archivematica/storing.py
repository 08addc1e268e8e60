"""A package that is given to the Storage Service to be stored: `POST /file/` and `POST /file/async/` (2.8)."""

from __future__ import annotations

import json
from typing import Any

from perdura.errors import NotStored
from perdura.storage.store import ObjectRef

from . import aip
from .answers import Answer, json_answer
from .pipeline import Pipeline, Stored
from .places import Places

_GIVEN = ("agents", "aip_subtype", "events", "origin_location", "origin_path", "related_package_uuid")


def stored(pipeline: Pipeline, places: Places, body: bytes) -> Answer:
    """What a request to store is answered with, once it is done.

    A package of a known id is refused. Of a source that is missing a PENDING record stays. A compressed AIP without
    its PREMIS event of compression is stored, and told as an error all the same, without a pointer file.
    """
    wish = json.loads(body)
    identity = wish["uuid"]
    if identity in pipeline.stored:
        return _broken("UNIQUE constraint failed: locations_package.uuid", "sqlite3.IntegrityError")
    bucket, folder = places.found(wish["current_location"])
    folders = "/".join(identity.replace("-", "")[start : start + 4] for start in range(0, 32, 4))
    name = wish["current_path"].rpartition("/")[2]
    key = f"{folder}/{folders}/{name}"
    empty = aip.Made(name, b"", b"", {})
    location = wish["current_location"].rstrip("/").rpartition("/")[2]
    record = Stored(
        identity, wish["package_type"], "PENDING", f"/{key}", pipeline.agenda.at, empty, location=location, given=True
    )
    pipeline.stored[identity] = record
    try:
        data = pipeline.store.read(_source(places, wish))
    except NotStored:
        return _broken(f"The origin path {wish['origin_path']} does not exist", "StorageException")
    pipeline.store.put(bucket, key, data)
    record.status = "UPLOADED"
    pointer = aip.pointer(identity, name, data, pipeline.agenda.at) if _compressed(wish) else b""
    record.made = aip.Made(name, data, pointer, {})
    if not pointer:
        return _broken(f"Failed to extract compression details for AIP {identity}", "StorageException")
    document = described(record, pipeline) | {each: wish.get(each) for each in _GIVEN}
    status, headers, said = json_answer(201, document)
    return status, headers | {"Location": document["resource_uri"]}, said


def described(record: Stored, pipeline: Pipeline) -> dict[str, Any]:
    """The record of a package, as its own address shows it."""
    return {
        "current_full_path": record.path,
        "current_location": f"/api/v2/location/{record.location or pipeline.location}/",
        "current_path": record.path.lstrip("/").partition("/")[2],
        "encrypted": False,
        "misc_attributes": {},
        "origin_pipeline": f"/api/v2/pipeline/{pipeline.pipeline}/",
        "package_type": record.kind,
        "related_packages": [f"/api/v2/file/{each}/" for each in record.related],
        "replicas": [],
        "replicated_package": None,
        "resource_uri": f"/api/v2/file/{record.id}/",
        "size": len(record.made.data) or sum(map(len, record.made.members.values())),
        "status": record.status,
        "stored_date": record.at.strftime("%Y-%m-%dT%H:%M:%S.%f") if record.status != "PENDING" else None,
        "uuid": record.id,
    }


def _source(places: Places, wish: dict[str, Any]) -> ObjectRef:
    bucket, folder = places.found(wish["origin_location"])
    return ObjectRef(bucket, f"{folder}/{wish['origin_path'].strip('/')}")


def _compressed(wish: dict[str, Any]) -> bool:
    return any(["event_type", "compression"] in event for event in wish.get("events") or ())


def _broken(message: str, error: str) -> Answer:
    told = f"Traceback (most recent call last):\n\n{error}: {message}\n"
    return json_answer(500, {"error_message": message, "traceback": told})
