"""Places of the Storage Service: spaces, the locations in them, and the pipeline that uses them (2.2)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from .answers import UUID, Answer, json_answer, text_answer
from .pipeline import Pipeline

DISK = "disk"
"""The bucket that stands for the file system of the Storage Service."""
_S3 = ("endpoint_url", "access_key_id", "secret_access_key", "region", "bucket")


class Places:
    """What is asked of places, and made; every location is one of a bucket, or of the disk, of the pipeline's store."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.store, self.elsewhere, self.disk = (
            str(uuid5(NAMESPACE_URL, f"{pipeline.location}/{name}")) for name in ("aips", "elsewhere", DISK)
        )
        """Ids of the location that keeps AIPs, of another one for AIPs, and of a transfer source on the disk."""
        (source, prefix), (aips, folder) = pipeline.source, pipeline.aips
        self._spaces = {bucket: _space(_s3_wish(bucket), _id(bucket)) for bucket in (source, aips)}
        self._spaces[DISK] = _space({"access_protocol": "FS", "path": "/", "staging_path": "/var/ss"}, _id(DISK))
        self._locations: dict[str, dict[str, Any]] = {}
        for identity, purpose, path, bucket in (
            (pipeline.location, "TS", prefix, source),
            (self.store, "AS", folder, aips),
            (self.elsewhere, "AS", "elsewhere", aips),
            (self.disk, "TS", "var/archivematica/transfers", DISK),
        ):
            space = f"/api/v2/space/{_id(bucket)}/"
            wish = {"description": purpose, "purpose": purpose, "relative_path": path, "space": space}
            self._locations[identity] = self._location(wish, identity)

    def purpose(self, location: str) -> str | None:
        """What a location is for; None when there is no such location."""
        return str(self._locations[location]["purpose"]) if location in self._locations else None

    def found(self, location: str) -> tuple[str, str]:
        """The bucket and the prefix, without a slash at its ends, of a location by its address; raises KeyError."""
        row = self._locations[location.rstrip("/").rpartition("/")[2]]
        bucket = next(name for name, space in self._spaces.items() if space["resource_uri"] == row["space"])
        return bucket, str(row["relative_path"]).strip("/")

    def answered(self, method: str, path: str, params: dict[str, str], body: bytes) -> Answer | None:
        """The answer about places; None for calls that are about something else."""
        if method == "POST":
            return self._made(path, body)
        if re.fullmatch(r"/api/v2/location/default/\w+/", path):
            return text_answer(404, "Default location not defined for this purpose.")
        if found := re.fullmatch(rf"/api/v2/location/{UUID}/browse/", path):
            return self._browsed(found[1], params)
        for kind, rows in (
            ("location", list(self._locations.values())),
            ("pipeline", [self._itself()]),
            ("space", list(self._spaces.values())),
        ):
            if path == f"/api/v2/{kind}/":
                return _listed(
                    [row for row in rows if all(row.get(name, told) == told for name, told in params.items())]
                )
            if found := re.fullmatch(rf"/api/v2/{kind}/{UUID}/", path):
                row = next((row for row in rows if row["uuid"] == found[1]), None)
                return json_answer(200, row) if row else text_answer(404, "")
        return None

    def _made(self, path: str, body: bytes) -> Answer | None:
        """A place that is wished for: it is checked as little as by the real one (2.2)."""
        identity = str(uuid4())
        if path == "/api/v2/space/":
            wish = json.loads(body)
            missing = (
                next((name for name in _S3 if name not in wish), None) if wish["access_protocol"] == "S3" else None
            )
            if missing is not None:
                told = f"Traceback (most recent call last):\n\nKeyError: '{missing}'\n"
                return json_answer(500, {"error_message": f"'{missing}'", "traceback": told})
            made = self._spaces[wish.get("bucket", identity)] = _space(wish, identity)
            return _created(made)
        if path == "/api/v2/location/":
            wish = json.loads(body)
            made = self._locations[identity] = self._location(wish, identity)
            return _created({"default": wish.get("default", False), **made})
        return None

    def _browsed(self, location: str, params: dict[str, str]) -> Answer:
        """What lies in a folder of a location: properties of a file, and how much is in a directory on the disk."""
        if location not in self._locations:
            return text_answer(404, f"Resource with UUID {location} does not exist")
        wanted = base64.b64decode(params.get("path", "")).decode()
        if ".." in wanted:
            return text_answer(400, "The path parameter must be relative to the location path")
        bucket, prefix = self.found(location)
        folder = "".join(f"{part}/" for part in (prefix, wanted.removeprefix(f"/{prefix}").strip("/")) if part)
        directories: dict[str, int] = {}
        properties: dict[str, dict[str, Any]] = {}
        for info in self._pipeline.store.list(bucket, folder):
            name, slash, _ = info.ref.key.removeprefix(folder).partition("/")
            coded = base64.b64encode(name.encode()).decode()
            if slash:
                directories[coded] = directories.get(coded, 0) + 1
                continue
            properties[coded] = {"size": info.size}
            if bucket != DISK:
                digest = hashlib.md5(self._pipeline.store.read(info.ref), usedforsecurity=False).hexdigest()
                at = self._pipeline.agenda.at.strftime("%Y-%m-%dT%H:%M:%S")
                properties[coded] |= {"e_tag": f'"{digest}"', "timestamp": at}
        entries = [*directories, *properties]
        if bucket == DISK:
            properties |= {name: {"object count": count} for name, count in directories.items()}
        return json_answer(200, {"directories": [*directories], "entries": entries, "properties": properties})

    def _location(self, wish: dict[str, Any], identity: str) -> dict[str, Any]:
        path = wish["relative_path"]
        return {
            "description": wish["description"],
            "enabled": True,
            "path": f"/{path.lstrip('/')}",
            "pipeline": wish.get("pipeline", [self._itself()["resource_uri"]]),
            "purpose": wish["purpose"],
            "quota": None,
            "relative_path": path,
            "resource_uri": f"/api/v2/location/{identity}/",
            "space": wish["space"],
            "used": 0,
            "uuid": identity,
        }

    def _itself(self) -> dict[str, Any]:
        identity = self._pipeline.pipeline
        uri = f"/api/v2/pipeline/{identity}/"
        told = {"description": "Archivematica on dashboard-host", "remote_name": "http://dashboard"}
        return told | {"resource_uri": uri, "uuid": identity}


def _s3_wish(bucket: str) -> dict[str, str]:
    return {
        "access_protocol": "S3",
        "path": "",
        "staging_path": "/var/archivematica/storage_service/s3stage",
        "endpoint_url": "http://s3.example.org",
        "access_key_id": "REDACTED-ACCESS-KEY",
        "secret_access_key": "REDACTED-SECRET-KEY",
        "region": "us-east-1",
        "bucket": bucket,
    }


def _space(wish: dict[str, Any], identity: str) -> dict[str, Any]:
    told = {"last_verified": None, "resource_uri": f"/api/v2/space/{identity}/", "size": None, "used": 0}
    return {**wish, **told, "uuid": identity, "verified": False}


def _id(bucket: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"space/{bucket}"))


def _created(row: dict[str, Any]) -> Answer:
    status, headers, body = json_answer(201, row)
    return status, headers | {"Location": str(row["resource_uri"])}, body


def _listed(rows: list[dict[str, Any]]) -> Answer:
    meta = {"limit": 20, "next": None, "offset": 0, "previous": None, "total_count": len(rows)}
    return json_answer(200, {"meta": meta, "objects": rows})
