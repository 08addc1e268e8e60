"""Further calls of the Storage Service as recorded: its places, asynchronous work, moving, deleting (2.2 to 2.8)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import NAMESPACE_URL, uuid5

from .pipeline import Pipeline, Stored

Answer = tuple[int, dict[str, str], bytes]

_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_ASYNCHRONOUS_SECONDS = 5.0
_WISH = ("event_reason", "pipeline", "user_id", "user_email")


class Service:
    """Answers what the driver never asks, so that the fake is whole; None for calls that are not its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.secret = "REDACTED-SECRET-KEY"
        self._work: list[tuple[float, Callable[[], None]]] = []
        self._wishes: dict[tuple[str, str], int] = {}
        self._moved: dict[str, str] = {}

    def answered(self, method: str, path: str, params: dict[str, str], body: bytes) -> Answer | None:
        if method == "GET":
            return self._shown(path, params)
        if method == "POST" and (found := re.fullmatch(rf"/api/v2/file/{_UUID}/(move|delete_aip|recover_aip)/", path)):
            record = self.pipeline.stored.get(found[1])
            if record is None:
                return _text(404, f"Resource with UUID {found[1]} does not exist")
            return self._move(record, body) if found[2] == "move" else self._wish(record, found[2], body)
        return None

    def _shown(self, path: str, params: dict[str, str]) -> Answer | None:
        if found := re.fullmatch(r"/api/v2/async/(\d+)/", path):
            return self._asynchronous(int(found[1]))
        if re.fullmatch(r"/api/v2/location/default/\w+/", path):
            return _text(404, "Default location not defined for this purpose.")
        for kind, rows in (("location", self._locations), ("pipeline", self._pipelines), ("space", self._spaces)):
            if path == f"/api/v2/{kind}/":
                purpose = params.get("purpose")
                return _listed([row for row in rows() if purpose in (None, row.get("purpose"))])
            if found := re.fullmatch(rf"/api/v2/{kind}/{_UUID}/", path):
                row = next((row for row in rows() if row["uuid"] == found[1]), None)
                return _json(200, row) if row else _text(404, "")
        return None

    @property
    def store(self) -> str:
        """Id of the location that keeps AIPs."""
        return str(uuid5(NAMESPACE_URL, f"{self.pipeline.location}/aips"))

    @property
    def elsewhere(self) -> str:
        """Id of another location for AIPs."""
        return str(uuid5(NAMESPACE_URL, f"{self.pipeline.location}/elsewhere"))

    def _locations(self) -> list[dict[str, Any]]:
        (source, prefix), (store, folder) = self.pipeline.source, self.pipeline.aips
        told = (
            (self.pipeline.location, "TS", prefix, source),
            (self.store, "AS", folder, store),
            (self.elsewhere, "AS", "elsewhere", store),
        )
        return [
            {
                "description": purpose,
                "enabled": True,
                "path": f"/{path}",
                "pipeline": [f"/api/v2/pipeline/{self.pipeline.pipeline}/"],
                "purpose": purpose,
                "quota": None,
                "relative_path": path,
                "resource_uri": f"/api/v2/location/{identity}/",
                "space": f"/api/v2/space/{_space(bucket)}/",
                "used": 0,
                "uuid": identity,
            }
            for identity, purpose, path, bucket in told
        ]

    def _pipelines(self) -> list[dict[str, Any]]:
        identity = self.pipeline.pipeline
        uri = f"/api/v2/pipeline/{identity}/"
        told = {"description": "Archivematica on dashboard-host", "remote_name": "http://dashboard"}
        return [told | {"resource_uri": uri, "uuid": identity}]

    def _spaces(self) -> list[dict[str, Any]]:
        return [
            {
                "access_key_id": "REDACTED-ACCESS-KEY",
                "access_protocol": "S3",
                "bucket": bucket,
                "endpoint_url": "http://s3.example.org",
                "last_verified": None,
                "path": "",
                "region": "us-east-1",
                "resource_uri": f"/api/v2/space/{_space(bucket)}/",
                "secret_access_key": self.secret,
                "size": None,
                "staging_path": "/var/archivematica/storage_service/s3stage",
                "used": 0,
                "uuid": _space(bucket),
                "verified": False,
            }
            for bucket in (self.pipeline.source[0], self.pipeline.aips[0])
        ]

    def _begin(self, then: Callable[[], None]) -> int:
        self._work.append((self.pipeline.clock.time.timestamp(), then))
        number = len(self._work)
        self.pipeline.agenda.after(_ASYNCHRONOUS_SECONDS, then)
        return number

    def _asynchronous(self, number: int) -> Answer:
        if not 0 < number <= len(self._work):
            return _text(404, "")
        begun, _ = self._work[number - 1]
        done = self.pipeline.clock.time.timestamp() >= begun + _ASYNCHRONOUS_SECONDS
        at = self.pipeline.clock.time.strftime("%Y-%m-%dT%H:%M:%S.%f")
        found: dict[str, Any] = {
            "completed": done,
            "completed_time": at if done else None,
            "created_time": at,
            "id": number,
            "resource_uri": f"/api/v2/async/{number}/",
            "updated_time": at,
            "was_error": False,
        }
        return _json(200, found | ({"result": {}} if done else {}))

    def _move(self, record: Stored, body: bytes) -> Answer:
        wanted = parse_qs(body.decode()).get("location_uuid", [""])[0]
        if not wanted:
            return _text(400, "All of these fields must be provided: location_uuid")
        if record.status != "UPLOADED":
            return _refused(f"The file must be in an UPLOADED state to be moved. Current state: {record.status}")
        if wanted == self._moved.get(record.id, self.store):
            return _refused("New location must be different to the current location")
        if wanted not in (self.store, self.elsewhere):
            return _refused("New location must have the same purpose as the current location - AS")
        record.status, self._moved[record.id] = "MOVING", wanted
        number = self._begin(lambda: setattr(record, "status", "UPLOADED"))
        return 202, {"Content-Type": "text/html; charset=utf-8", "Location": f"/api/v2/async/{number}/"}, b""

    def _wish(self, record: Stored, call: str, body: bytes) -> Answer:
        """A wish to delete or recover, which a person has to approve: nothing else happens."""
        told = json.loads(body or b"{}")
        if any(name not in told for name in _WISH):
            return _text(400, f"All of these fields must be provided: {', '.join(_WISH)}")
        word, kind = ("Delete", "deletion") if call == "delete_aip" else ("Recover", "recovery")
        if (record.id, call) in self._wishes:
            return _json(200, {"message": f"A {kind} request already exists for this AIP."})
        self._wishes[record.id, call] = number = len(self._wishes) + 1
        if call == "delete_aip":
            record.status = "DEL_REQ"
        return _json(202, {"message": f"{word} request created successfully.", "id": number})


def fixity(record: Stored) -> dict[str, Any]:
    """What `check_fixity` says: true only of a bag whose files are what its manifest says; null of what is no bag."""
    files: dict[str, list[dict[str, str]]] = {"missing": [], "changed": [], "untracked": []}
    if record.kind != "AIP":
        message, success = "Unable to scan; package is not a bag (AIP or AIC)", None
    else:
        message = _faults(record, files)
        success = not message
    return {"success": success, "message": message, "failures": {"files": files}, "timestamp": None}


def _faults(record: Stored, files: dict[str, list[dict[str, str]]]) -> str:
    try:
        members = _members(record)
    except (OSError, EOFError, tarfile.TarError, gzip.BadGzipFile):
        return "Incorrect package checksum"
    manifest = next((body for path, body in members.items() if path.startswith("manifest-")), b"")
    name = next((path for path in members if path.startswith("manifest-")), "manifest-sha256.txt")
    algorithm = name.removeprefix("manifest-").removesuffix(".txt")
    for line in manifest.decode().splitlines():
        expected, _, path = line.partition(" ")
        if path.strip() not in members:
            message = f"{path.strip()} exists in manifest but was not found on filesystem"
            files["missing"].append({"path": path.strip(), "message": message})
            continue
        actual = hashlib.new(algorithm, members[path.strip()]).hexdigest()
        if actual != expected:
            told = {"path": path.strip(), "expected": expected, "actual": actual, "hash_type": algorithm}
            files["changed"].append(told | {"message": f"{path.strip()} {algorithm} validation failed"})
    return "Bag validation failed" if files["missing"] or files["changed"] else ""


def _members(record: Stored) -> dict[str, bytes]:
    if not record.made.data:
        return dict(record.made.members)
    with tarfile.open(fileobj=io.BytesIO(record.made.data)) as packed:
        return {
            member.name.partition("/")[2]: body.read()
            for member in packed
            if member.isfile() and (body := packed.extractfile(member)) is not None
        }


def _space(bucket: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"space/{bucket}"))


def _listed(rows: list[dict[str, Any]]) -> Answer:
    meta = {"limit": 20, "next": None, "offset": 0, "previous": None, "total_count": len(rows)}
    return _json(200, {"meta": meta, "objects": rows})


def _refused(message: str) -> Answer:
    return _json(400, {"error": True, "message": message})


def _json(status: int, document: object) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


def _text(status: int, text: str) -> Answer:
    return status, {"Content-Type": "text/html; charset=utf-8"}, text.encode()
