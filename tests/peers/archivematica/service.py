"""Further calls of the Storage Service as recorded: asynchronous work, moving, deleting (2.8)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from .answers import UUID, Answer, json_answer, text_answer
from .pipeline import Pipeline, Stored
from .places import Places
from .storing import stored

_ASYNCHRONOUS_SECONDS = 5.0
_WISH = ("event_reason", "pipeline", "user_id", "user_email")


@dataclass
class _Work:
    """Something that goes on after its request was answered; `told` is how it ended, for whoever asks."""

    begun: datetime
    told: dict[str, Any]


class Service:
    """Answers what the driver never asks, so that the fake is whole; None for calls that are not its own."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline, self.places = pipeline, Places(pipeline)
        self._work: list[_Work] = []
        self._wishes: dict[tuple[str, str], int] = {}

    def answered(self, method: str, path: str, params: dict[str, str], body: bytes) -> Answer | None:
        if (answer := self.places.answered(method, path, params, body)) is not None:
            return answer
        if method == "GET":
            found = re.fullmatch(r"/api/v2/async/(\d+)/", path)
            return self._asynchronous(int(found[1])) if found else None
        if path == "/api/v2/file/":
            return stored(self.pipeline, self.places, body)
        if path == "/api/v2/file/async/":
            return self._stored_later(body)
        if found := re.fullmatch(rf"/api/v2/file/{UUID}/(move|delete_aip|recover_aip)/", path):
            record = self.pipeline.stored.get(found[1])
            if record is None:
                return text_answer(404, f"Resource with UUID {found[1]} does not exist")
            return self._move(record, body) if found[2] == "move" else self._wish(record, found[2], body)
        return None

    def _begun(self, told: dict[str, Any]) -> Answer:
        self._work.append(_Work(self.pipeline.clock.time, told))
        _, headers, _ = text_answer(202, "")
        return 202, headers | {"Location": f"/api/v2/async/{len(self._work)}/"}, b""

    def _asynchronous(self, number: int) -> Answer:
        """The state of a piece of work; that it is done is noticed some seconds late."""
        if not 0 < number <= len(self._work):
            return text_answer(404, "")
        work, now = self._work[number - 1], self.pipeline.clock.time
        done = now >= work.begun + timedelta(seconds=_ASYNCHRONOUS_SECONDS)
        found: dict[str, Any] = {
            "completed": done,
            "completed_time": _stamp(now) if done else None,
            "created_time": _stamp(work.begun),
            "id": number,
            "resource_uri": f"/api/v2/async/{number}/",
            "updated_time": _stamp(now),
            "was_error": done and "error" in work.told,
        }
        return json_answer(200, found | (work.told if done else {}))

    def _stored_later(self, body: bytes) -> Answer:
        status, _, said = stored(self.pipeline, self.places, body)
        document = json.loads(said)
        return self._begun({"result": document} if status == 201 else {"error": document["error_message"]})

    def _move(self, record: Stored, body: bytes) -> Answer:
        wanted = parse_qs(body.decode()).get("location_uuid", [""])[0]
        if not wanted:
            return text_answer(400, "All of these fields must be provided: location_uuid")
        if wanted == (record.location or self.places.store) and record.status in ("UPLOADED", "MOVING"):
            return _refused("New location must be different to the current location")
        if record.status != "UPLOADED":
            return _refused(f"The file must be in an UPLOADED state to be moved. Current state: {record.status}")
        if self.places.purpose(wanted) is None:
            return _refused(f"Location UUID {wanted} failed to return a location")
        if self.places.purpose(wanted) != "AS":
            return _refused("New location must have the same purpose as the current location - AS")
        record.status, record.location = "MOVING", wanted
        self.pipeline.agenda.after(_ASYNCHRONOUS_SECONDS, lambda: setattr(record, "status", "UPLOADED"))
        return self._begun({"result": "Package moved successfully"})

    def _wish(self, record: Stored, call: str, body: bytes) -> Answer:
        """A wish to delete or recover, which a person has to approve: nothing else happens."""
        told = json.loads(body or b"{}")
        if any(name not in told for name in _WISH):
            return text_answer(400, f"All of these fields must be provided: {', '.join(_WISH)}")
        word, kind = ("Delete", "deletion") if call == "delete_aip" else ("Recover", "recovery")
        if (record.id, call) in self._wishes:
            return json_answer(200, {"message": f"A {kind} request already exists for this AIP."})
        self._wishes[record.id, call] = number = len(self._wishes) + 1
        record.status = "DEL_REQ" if call == "delete_aip" else "RECOVER_REQ"
        return json_answer(202, {"message": f"{word} request created successfully.", "id": number})


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
    told = re.search(r"Payload-Oxum: (\d+)\.(\d+)", members.get("bag-info.txt", b"").decode())
    payload = [len(body) for path, body in members.items() if path.startswith("data/")]
    if told and len(payload) == int(told[2]) and sum(payload) != int(told[1]):
        return (
            f"Payload-Oxum validation failed. Expected {told[2]} files and {told[1]} bytes "
            f"but found {len(payload)} files and {sum(payload)} bytes"
        )
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
            message = f'{path.strip()} {algorithm} validation failed: expected="{expected}" found="{actual}"'
            files["changed"].append(told | {"message": message})
    listed = {line.partition(" ")[2].strip() for line in manifest.decode().splitlines()}
    for path in sorted(path for path in members if path.startswith("data/") and path not in listed):
        message = f"{path} exists on filesystem but is not in the manifest"
        files["untracked"].append({"path": path, "message": message})
    return "Bag validation failed" if any(files.values()) else ""


def _members(record: Stored) -> dict[str, bytes]:
    if not record.made.data:
        return dict(record.made.members)
    with tarfile.open(fileobj=io.BytesIO(record.made.data)) as packed:
        return {
            member.name.partition("/")[2]: body.read()
            for member in packed
            if member.isfile() and (body := packed.extractfile(member)) is not None
        }


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")


def _refused(message: str) -> Answer:
    return json_answer(400, {"error": True, "message": message})
