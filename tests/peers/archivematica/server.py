"""The HTTP side: answers as the dashboard and the Storage Service give them, and faults on any call (1, 2, 11.12)."""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import httpx

from .answers import UUID, Answer, json_answer, text_answer
from .jobs import REMOVE
from .pipeline import Pipeline, Stored, Unit, decoded
from .service import Service, fixity
from .storing import described

TYPES = {"standard", "zipfile", "unzipped bag", "zipped bag", "dspace", "maildir", "TRIM", "dataverse", "disk image"}
KEY = "ApiKey perdura:key"


class Dropped(Exception):
    """The connection breaks."""


class FakeArchivematica:
    """Answers requests to `http://dashboard` and `http://storage-service`; `noise` is the share of calls that fail.

    A POST, after which it matters whether anything was begun, has the faults of its Plan instead.
    `version` switches what 1.19 can; `down` lets every request fail to connect.
    """

    def __init__(self, pipeline: Pipeline, *, version: str = "1.17.0", noise: float = 0.0, seed: int = 0) -> None:
        self.pipeline, self.version, self.noise = pipeline, version, noise
        self.service = Service(pipeline)
        self.down = False
        self.gone: set[str] = set()
        """Kinds of packages that are gone from its disk (2.6)."""
        self.server_down = False
        self.change_stream: Callable[[bytes], bytes] = lambda data: data
        """Changes a tar that is made on the fly."""
        self.spoiled: dict[str, Callable[[bytes], bytes]] = {}
        """By call of a package, as `pointer_file`: what becomes of its next answer, with 200 all the same."""
        self.requests: list[tuple[str, str]] = []
        self._random = random.Random(seed)
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._pending: set[str] = set()
        self.cannot_tell: set[str] = set()
        """Parts of paths that are answered with 500, always."""
        self._asynchronous = 0

    @property
    def transport(self) -> httpx.MockTransport:
        """For clients in this process."""
        return httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        try:
            status, headers, body = self.answer(
                request.method, request.url.host, request.url.raw_path.decode(), dict(request.headers), request.read()
            )
        except Dropped:
            raise httpx.ReadError("connection reset", request=request) from None
        return httpx.Response(status, headers=headers, content=body)

    def answer(self, method: str, host: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """One exchange; raises Dropped where the connection is to break."""
        self.pipeline.agenda.run()
        path, _, query = target.partition("?")
        self.requests.append((method, path))
        if method != "POST" and self._random.random() < self.noise and (noisy := self._noisy(path)) is not None:
            return noisy
        if any(part in path for part in self.cannot_tell):
            return json_answer(500, {"error": True, "message": "Deadline exceeded"})
        params = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        given = headers.get("authorization", headers.get("Authorization", ""))
        if "storage" in host:
            if given != KEY:
                return 401, {"Content-Type": "text/html; charset=utf-8"}, b""
            return self._storage(method, path.removeprefix("/storage-service"), params, body)
        return self._dashboard(method, path, params, headers, body, given)

    def _noisy(self, path: str) -> Answer | None:
        """A broken answer; None for what will break when it was made."""
        kind = self._random.choice(["500", "html", "reset", "cut", "page"])
        call = path.rstrip("/").rpartition("/")[2]
        if kind in {"cut", "page"} and call in {"pointer_file", "extract_file", "download"}:
            self.spoiled[call] = cut if kind == "cut" else page
            return None
        if kind == "page":
            return 200, {"Content-Type": "text/html"}, page(b"")
        if kind == "reset":
            raise Dropped
        if kind == "html":
            return 502, {"Content-Type": "text/html"}, b"<html><h1>502 Bad Gateway</h1></html>"
        if kind == "cut":
            return 200, {"Content-Type": "application/json"}, b'{"type": "transfer", "stat'
        return 500, {"Content-Type": "application/json"}, b'{"error": true, "message": "Deadline exceeded"}'

    def _stamped(self, answer: Answer) -> Answer:
        status, headers, body = answer
        stamp = {"X-Archivematica-Version": self.version, "X-Archivematica-ID": self.pipeline.pipeline}
        return status, headers | stamp, body

    def _dashboard(
        self, method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes, given: str
    ) -> Answer:
        allowed = _allowed(path)
        if method not in allowed:
            return 405, {"Content-Type": "text/html; charset=utf-8", "Allow": ", ".join(allowed)}, b""
        if given != KEY:
            return json_answer(403, {"message": "API key not valid.", "error": True})
        return self._stamped(self._called(method, path, params, headers, body))

    def _called(self, method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        pipeline = self.pipeline
        if path.startswith("/api/v2beta/package"):
            return self._package(method, headers, body)
        if found := re.match(rf"/api/(transfer|ingest)/status/{UUID}", path):
            return json_answer(*pipeline.status(found[1], found[2]))
        if found := re.match(rf"/api/v2beta/jobs/{UUID}", path):
            return self._jobs(found[1], params)
        if found := re.match(rf"/api/v2beta/task/{UUID}", path):
            return self._task(found[1])
        if path.startswith("/api/ingest/waiting"):
            waiting = [unit for unit in pipeline.units.values() if unit.state in {"asking", "unapproved"}]
            results = [
                {
                    "sip_directory": unit.directory,
                    "sip_uuid": unit.id,
                    "sip_name": unit.name,
                    "microservice": unit.jobs[-1].name,
                }
                for unit in waiting
            ]
            return json_answer(200, {"results": results, "message": "Fetched units successfully."})
        if path.startswith("/api/transfer/approve"):
            return self._approve(body)
        if path.startswith("/api/transfer/unapproved"):
            results = [{"type": u.kind, "directory": u.directory, "uuid": u.id} for u in self._unapproved()]
            return json_answer(200, {"results": results, "message": "Fetched unapproved transfers successfully."})
        if found := re.match(r"/api/(transfer|ingest)/completed", path):
            words = "transfers" if found[1] == "transfer" else "ingests"
            results = [
                unit.id
                for unit in pipeline.units.values()
                if unit.stage == found[1] and unit.state == "complete" and not unit.hidden
            ]
            return json_answer(200, {"results": results, "message": f"Fetched completed {words} successfully."})
        if found := re.match(rf"/api/(transfer|ingest)/{UUID}/delete", path):
            unit = pipeline.units.get(found[2])
            if unit is None or unit.hidden or not unit.ended:
                return json_answer(409, {"removed": False})
            unit.hidden = True
            return json_answer(200, {"removed": True})
        if path.rstrip("/") == "/api/processing-configuration":
            return json_answer(200, {"processing_configurations": sorted(pipeline.configurations)})
        if found := re.match(r"/api/processing-configuration/([^/]+)", path):
            return self._configuration(found[1], headers)
        return 404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>"

    def _approve(self, body: bytes) -> Answer:
        """Approval of a transfer that waits for one: it was begun so, or this pipeline approves none by itself."""
        told = {name: values[-1] for name, values in parse_qs(body.decode()).items()}
        if "directory" not in told:
            return json_answer(500, {"error": True, "message": "Please specify a transfer directory."})
        if told.get("type", "standard") not in TYPES:
            return json_answer(500, {"error": True, "message": "Invalid transfer type."})
        waiting = (unit for unit in self._unapproved() if unit.directory == told["directory"])
        if (unit := next(waiting, None)) is None:
            return json_answer(500, {"error": True, "message": "Unable to start the transfer."})
        return json_answer(200, {"message": "Approval successful.", "uuid": self.pipeline.approve(unit).id})

    def _unapproved(self) -> list[Unit]:
        return [unit for unit in self.pipeline.units.values() if unit.state == "unapproved"]

    def _configuration(self, name: str, headers: dict[str, str]) -> Answer:
        accept = headers.get("accept", headers.get("Accept", ""))
        if accept != "*/*" and "xml" not in accept:
            return 415, {"Content-Type": "text/html; charset=utf-8"}, b""
        if name not in self.pipeline.configurations:
            return json_answer(404, {"success": False, "error": f'No such processing config "{name}".'})
        return 200, {"Content-Type": "text/xml"}, self._choices()

    def _choices(self) -> bytes:
        chosen = "".join(
            f"<preconfiguredChoice><appliesTo>{question}</appliesTo><goToChain>{choice}</goToChain></preconfiguredChoice>"
            for question, choice in self.pipeline.choices.items()
        )
        return f"<processingMCP><preconfiguredChoices>{chosen}</preconfiguredChoices></processingMCP>".encode()

    def _package(self, method: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "GET":
            return 501, {"Content-Type": "text/html; charset=utf-8"}, b""
        try:
            request = json.loads(body)
        except ValueError:
            request = {}
        place = decoded(request.get("path")) if isinstance(request, dict) else None
        if place is None:
            return json_answer(400, {"error": True, "message": 'Parameter "path" cannot be decoded.'})
        refused = json_answer(500, {"error": True, "message": "Package cannot be created"})
        kind, name = request.get("type", "standard"), request.get("name")
        if kind not in TYPES or not name or not place or not isinstance(request.get("auto_approve", True), bool):
            return refused
        if self.server_down:
            self.pipeline.clock.step(30)
            return refused
        key = headers.get("idempotency-key", headers.get("Idempotency-Key"))
        idempotent = tuple(map(int, self.version.split(".")[:2])) >= (1, 19)
        if key and idempotent and key in self._pending:
            return json_answer(409, {"error": True, "message": "A request with this Idempotency-Key is in progress"})
        if key and idempotent and key in self._keys:
            known, unit_id = self._keys[key]
            if known != body:
                return json_answer(422, {"error": True, "message": "Idempotency-Key was used for another request"})
            return json_answer(202, {"id": unit_id})
        return self._begun(request, place, key, body, refused)

    def _begun(self, request: dict[str, Any], place: str, key: str | None, body: bytes, refused: Answer) -> Answer:
        plan = self.pipeline.plan_of(request["name"]).post
        # A fault of the request happens once: whoever asks again is answered.
        self.pipeline.plans[request["name"]] = _without_post_fault(self.pipeline, request["name"])
        if plan == "pending" and key:
            self._pending.add(key)
        if plan in {"reset", "pending"}:
            raise Dropped
        if plan == "error":
            return refused
        if plan == "html":
            return 502, {"Content-Type": "text/html"}, b"<html><h1>502 Bad Gateway</h1></html>"
        unit = self.pipeline.begin(
            request["name"],
            request.get("type", "standard"),
            place,
            request.get("processing_config", "default"),
            approve=request.get("auto_approve", True),
        )
        if key:
            self._keys[key] = (body, unit.id)
        if plan == "reset-created":
            raise Dropped
        if plan == "error-created":
            self.pipeline.clock.step(30)
            return json_answer(500, {"error": True, "message": "Deadline exceeded"})
        if plan == "html-created":
            return 504, {"Content-Type": "text/html"}, b"<html><h1>504 Gateway Time-out</h1></html>"
        if plan == "truncated-created":
            return 202, {"Content-Type": "application/json"}, b'{"id": "304b'
        return json_answer(202, {"id": unit.id})

    def _jobs(self, unit_id: str, params: dict[str, str]) -> Answer:
        unit = self.pipeline.units.get(unit_id)
        jobs = list(unit.jobs) if unit else []
        for name, prefix in (("name", "Job:"), ("microservice", "Microservice:"), ("link_uuid", "")):
            if wanted := params.get(name):
                wanted = wanted.removeprefix(prefix).strip()
                jobs = [job for job in jobs if job.document(detailed=False)[name] == wanted]
        if not jobs:
            return json_answer(400, {"error": True, "message": f"No jobs found for unit: {unit_id}"})
        return json_answer(200, [job.document(detailed="detailed" in params) for job in jobs])

    def _task(self, task_id: str) -> Answer:
        for unit in self.pipeline.units.values():
            for job in unit.jobs:
                for task in job.document(detailed=True)["tasks"]:
                    if task["uuid"] == task_id:
                        return json_answer(200, task)
        return json_answer(400, {"error": True, "message": f"Task with UUID {task_id} does not exist"})

    def _storage(self, method: str, path: str, params: dict[str, str], body: bytes) -> Answer:
        if path == "/api/v2/file/" and method == "GET":
            return self._list(params)
        if (answer := self.service.answered(method, path, params, body)) is not None:
            return answer
        found = re.fullmatch(rf"/api/v2/file/{UUID}/(\w+/)?", path)
        if not found:
            return 404, {"Content-Type": "text/html; charset=utf-8"}, b""
        record, call = self.pipeline.stored.get(found[1]), found[2]
        if call is None:
            if record is None:
                return 404, {"Content-Type": "text/html; charset=utf-8"}, b""
            return json_answer(200, described(record, self.pipeline))
        if record is None:
            return text_answer(404, f"Resource with UUID {found[1]} does not exist")
        status, headers, said = self._of_package(record, call.rstrip("/"), params)
        if status == 200 and (spoil := self.spoiled.pop(call.rstrip("/"), None)) is not None:
            said = spoil(said)
        return status, headers | {"Content-Length": str(len(said))}, b"" if method == "HEAD" else said

    def _of_package(self, record: Stored, call: str, params: dict[str, str]) -> Answer:
        if call == "pointer_file":
            if not record.made.pointer and record.given:
                return text_answer(404, "File not found")
            if not record.made.pointer:
                return text_answer(404, f"Resource with UUID {record.id} does not have a pointer file")
            return 200, _attached(f"pointer.{record.id}.xml"), record.made.pointer
        if call == "download" and record.kind in self.gone:
            return json_answer(500, {"error_message": "Rsync failed with status 23", "traceback": "Traceback …"})
        if call == "download":
            name = record.made.name if record.made.data else f"{record.made.name}.tar"
            data = record.made.data or self.change_stream(tarred(record))
            return 200, _attached(name), data
        if call == "extract_file":
            return self._extract(record, params)
        if call == "check_fixity":
            return json_answer(200, fixity(record))
        return 405, {"Content-Type": "text/html; charset=utf-8", "Allow": "GET,PUT,PATCH"}, b"GET,PUT,PATCH"

    def _extract(self, record: Stored, params: dict[str, str]) -> Answer:
        wanted = params.get("relative_path_to_file")
        if wanted is None:
            return text_answer(400, "All of these fields must be provided: relative_path_to_file")
        members, inside = record.made.members, wanted.partition("/")[2]
        if not record.made.data and wanted in members:
            inside = wanted
        if inside not in members:
            told = "File not found" if record.made.data else f"Requested file, {inside}, not found in AIP"
            return text_answer(404, told)
        return 200, _attached(wanted.rpartition("/")[2]), members[inside]

    def _list(self, params: dict[str, str]) -> Answer:
        known = {"package_type", "status", "stored_date__gte", "uuid", "uuid__in", "limit", "offset"}
        known |= {"related_packages__uuid", "current_location__uuid"}
        if "order_by" in params:
            return json_answer(400, {"error": f"The '{params['order_by'].lstrip('-')}' field does not allow ordering."})
        for name in params:
            if name not in known:
                return json_answer(400, {"error": f"The '{name.partition('__')[0]}' field does not allow filtering."})
        rows = list(self.pipeline.stored.values())
        if kind := params.get("package_type"):
            rows = [row for row in rows if row.kind == kind]
        if status := params.get("status"):
            rows = [row for row in rows if row.status == status]
        if related := params.get("related_packages__uuid"):
            rows = [row for row in rows if related in row.related]
        if ids := params.get("uuid__in", params.get("uuid")):
            rows = [row for row in rows if row.id in ids.split(",")]
        if since := params.get("stored_date__gte"):
            try:
                begin = datetime.fromisoformat(since).replace(tzinfo=UTC)
            except ValueError:
                words = "value has an invalid format. It must be in YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ] format."
                return json_answer(400, {"error": f"['“{since}” {words}']"})
            rows = [row for row in rows if row.at >= begin]
        limit, offset = int(params.get("limit", 20)), int(params.get("offset", 0))
        more = offset + limit < len(rows)
        following = urlencode({**params, "limit": limit, "offset": offset + limit})
        meta = {
            "limit": limit,
            "next": f"/api/v2/file/?{following}" if more else None,
            "offset": offset,
            "previous": None,
            "total_count": len(rows),
        }
        return json_answer(
            200, {"meta": meta, "objects": [described(row, self.pipeline) for row in rows[offset : offset + limit]]}
        )


def _without_post_fault(pipeline: Pipeline, name: str) -> Any:
    from dataclasses import replace

    return replace(pipeline.plan_of(name), post="ok")


def _allowed(path: str) -> list[str]:
    if path.startswith("/api/v2beta/package"):
        return ["GET", "POST"]
    if path.rstrip("/").endswith("/delete"):
        return ["DELETE"]
    if "/approve" in path:
        return ["POST"]
    if path.startswith("/api/processing-configuration/") and path.rstrip("/").count("/") > 2:
        return ["GET", "DELETE"]
    return ["GET"]


def _attached(name: str) -> dict[str, str]:
    """Headers of a file that is sent: no type is told of it."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def cut(data: bytes) -> bytes:
    """What comes when a connection ends in the middle and nobody says so."""
    return data[: len(data) // 2]


def page(data: bytes) -> bytes:
    """What a proxy says instead."""
    return b"<!DOCTYPE html>\n<html><body>Down for maintenance</body></html>\n"


def tarred(record: Stored) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, body in record.made.members.items():
            info = tarfile.TarInfo(f"{record.made.name}/{path}")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


__all__ = ["KEY", "REMOVE", "Dropped", "FakeArchivematica", "Unit"]
