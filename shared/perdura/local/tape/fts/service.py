"""The REST interface: routes, status codes and bodies of FTS REST 3.13.4 (fts-cta.md 2)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from perdura.local.tape.faults import Faults
from perdura.local.tape.fts import administration, datamanagement, delegation, reading, submission, transitions
from perdura.local.tape.fts.bodies import json_value
from perdura.local.tape.fts.identity import Identity, whoami
from perdura.local.tape.fts.ledger import DuplicateJob, Ledger
from perdura.local.tape.fts.problems import (
    INTERNAL,
    NO_RIGHT,
    NOT_ALLOWED,
    NOT_FOUND,
    Crash,
    Refused,
    foreign_job,
    html,
    no_job,
    problem,
    status_line,
)
from perdura.local.tape.fts.storage import Storages
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.http import ConnectionLost, Request, Response, as_json

log = logging.getLogger(__name__)
FINAL_STATE = "The job is in a terminal state"


class Service:
    """Answers requests. `who` tells the identity of a request, or the error of the authentication layer."""

    def __init__(
        self,
        ledger: Ledger,
        faults: Faults,
        who: Callable[[Request], Identity | Response],
        storages: Storages,
        *,
        api: tuple[int, int, int] = (3, 14, 0),
        submitted: Callable[[Row, list[Row]], None] = lambda _, __: None,
        delegated: Callable[[], None] = lambda: None,
    ) -> None:
        self.ledger, self.faults, self.who, self.api = ledger, faults, who, api
        self._storages = storages
        self._submitted, self._delegated = submitted, delegated

    def handle(self, asked: Request) -> Response:
        """Answer one request; injected faults come first."""
        line = f"{asked.method} {asked.path}"
        if self.faults.apply("reset-before", line):
            raise ConnectionLost
        if fault := self.faults.apply("hang", line):
            time.sleep(float(fault.get("seconds", 30)))
        if fault := self.faults.apply("http", line):
            return html(int(fault.get("status", 503)), "injected")
        answer = self._answer(asked)
        if self.faults.apply("reset-after", line):
            raise ConnectionLost
        if self.faults.apply("truncate", line) and isinstance(answer.body, bytes):
            answer.body = iter([answer.body[: len(answer.body) // 2]])
        return answer

    def _answer(self, asked: Request) -> Response:
        origin, host = asked.headers.get("origin"), asked.headers.get("host", "")
        if origin is not None and origin.partition("://")[2] != host:
            return html(403, "Host and Origin do not match")
        identity = self.who(asked)
        if isinstance(identity, Response):
            return identity
        if self.ledger.note("banned-dn", identity.dn):
            return html(403, "The user has been banned")
        try:
            return self._route(asked, identity)
        except Refused as refusal:
            return problem(refusal.status, refusal.message)
        except Exception:
            log.exception("%s %s", asked.method, asked.path)
            return problem(500, INTERNAL)

    def _route(self, asked: Request, identity: Identity) -> Response:
        parts = asked.path.strip("/").split("/")
        match (asked.method, parts):
            case ("GET", [""]):
                return as_json(reading.versions(self.api))
            case ("GET", ["whoami"]):
                return as_json(whoami(identity))
            case ("GET", ["whoami", "certificate"]):
                if identity.certificate is None:
                    raise Refused(403, "Certificate required")
                return Response(200, identity.certificate.encode(), {"Content-Type": "application/x-pem-file"})
            case (_, ["delegation", delegation_id, *rest]):
                answer = delegation.handle(self.ledger, identity, delegation_id, rest, asked)
                if answer.status == 201:
                    self._delegated()
                return answer
            case ("POST" | "PUT", ["jobs"]) if asked.path == "/jobs":
                return self.submit(asked, identity)
            case ("GET", ["jobs"]):
                self._right(identity)
                return as_json(reading.jobs(self.ledger, identity, asked))
            case ("GET", ["files"]):
                self._right(identity)
                return as_json(reading.open_files(self.ledger, identity, asked))
            case (_, ["jobs", ids, *rest]):
                return self._job(asked, identity, ids, rest)
            case ("GET", ["archive", job_id, *rest]) if len(rest) < 2:
                return self._archived(identity, job_id, rest)
            case ("GET", ["dm", "stat" | "list" as act]):
                self._right(identity, "datamanagement")
                return datamanagement.handle(self.ledger, identity, self._storages, act, asked)
        administrative = administration.handle(self.ledger, identity, parts, asked)
        if administrative is not None:
            return administrative
        known = parts[0] in ("", "whoami", "jobs", "files", "archive")
        return problem(405, NOT_ALLOWED) if known else problem(404, NOT_FOUND)

    def _right(self, identity: Identity, right: str = "transfer") -> None:
        if right not in identity.levels:
            raise Refused(403, NO_RIGHT)

    def submit(self, asked: Request, identity: Identity) -> Response:
        """`POST /jobs`."""
        self._right(identity)
        kind = asked.headers.get("content-type", "").partition(";")[0].strip()
        if asked.method == "POST" and kind not in ("application/json", "application/x-www-form-urlencoded"):
            raise Refused(400, "Expecting application/json or application/x-www-form-urlencoded")
        if kind == "application/x-www-form-urlencoded":
            raise Crash
        document = json_value(asked)
        if identity.method == "certificate":
            delegation.check(self.ledger, identity)
        job, files = submission.build(document, identity, tape_by_token=self.api >= (3, 14, 0))
        if self.faults.apply("check-duplicates", "POST /jobs"):
            raise Refused(400, "Malformed request: encoding without a string argument")
        administration.refuse_banned(self.ledger, files)
        try:
            with self.ledger.change():
                self.ledger.add_job(job, files)
                for name, token in submission.tokens_of(document).items():
                    self.ledger.keep_note("token", name, {"token": token})
        except DuplicateJob as error:
            raise Refused(409, "The sid provided by the user is duplicated") from error
        self._submitted(job, files)
        return as_json({"job_id": job["job_id"]})

    def _job(self, asked: Request, identity: Identity, ids: str, rest: list[str]) -> Response:
        if identity.anonymous:
            raise Crash
        match (asked.method, rest):
            case ("GET", []):
                return self._bulk(ids, identity, lambda job: reading.job(self.ledger, job, asked))
            case ("DELETE", []):
                if ids in ("all", "vo"):
                    return self._cancel_many(identity, None)
                return self._bulk(ids, identity, self._cancel, errors_first=True)
            case ("DELETE", [_]) if ids == "vo":
                return self._cancel_many(identity, rest[0])
            case ("POST", []):
                return self._modify(asked, identity, ids)
            case ("DELETE", ["files", file_ids]):
                return self._cancel_files(self._visible(ids, identity), file_ids)
            case ("GET", ["files"]):
                self._visible(ids, identity)
                return as_json(self.ledger.files(ids))
            case ("GET", ["files", file_id, "retries"]):
                self._visible(ids, identity)
                return as_json(reading.retries(self.ledger, ids, file_id))
            case ("GET", ["dm"]):
                self._visible(ids, identity)
                return as_json([])
            case ("GET", [name]):
                return as_json(reading.field(self._visible(ids, identity), name))
        return problem(405, NOT_ALLOWED)

    def _visible(self, job_id: str, identity: Identity) -> Row:
        job = self.ledger.job(job_id)
        if job is None:
            raise Refused(404, no_job(job_id))
        if not identity.may_see(job["vo_name"]):
            raise Refused(403, foreign_job(job_id))
        return job

    def _bulk(self, ids: str, identity: Identity, act: Callable[[Row], Row], *, errors_first: bool = False) -> Response:
        wanted = [job_id for job_id in ids.split(",") if job_id]
        answers: list[Row] = []
        status = 200
        seen: set[str] = set()
        with self.ledger.change():
            for job_id in wanted:
                try:
                    answer = act(self._visible(job_id, identity))
                    # The real server reads the files of a job asked for twice only once.
                    answers.append({**answer, "files": []} if job_id in seen and "files" in answer else answer)
                    seen.add(job_id)
                except Refused as refusal:
                    status = refusal.status
                    answers.append(
                        {"job_id": job_id, "http_status": status_line(status), "http_message": refusal.message}
                    )
        if "," not in ids:
            return as_json(answers[0], status)
        if errors_first:
            answers.sort(key=lambda answer: answer["http_status"] == "200 Ok")
        return as_json(answers, 200 if status == 200 else 207)

    def _cancel(self, job: Row) -> Row:
        if job["job_state"] in transitions.JOB_FINAL:
            return {**job, "http_status": "304 Not Modified", "http_message": FINAL_STATE}
        files = self.ledger.files(job["job_id"])
        transitions.cancel(job, files)
        self.ledger.store(job, files)
        return {**job, "http_status": "200 Ok", "http_message": None}

    def _cancel_many(self, identity: Identity, vo: str | None) -> Response:
        if not identity.root:
            raise Refused(403, "User does not have root privileges")
        jobs = self.ledger.jobs(vo, unfinished=True)
        for job in jobs:
            self._cancel(job)
        files = sum(len(self.ledger.files(job["job_id"])) for job in jobs)
        return as_json({"affected_files": files, "affected_dm": 0, "affected_jobs": len(jobs)})

    def _cancel_files(self, job: Row, file_ids: str) -> Response:
        if job["job_type"] in "HY":
            kind = job["job_type"]
            raise Refused(400, f"Multihop or reuse jobs must be cancelled at once ({kind})")
        with self.ledger.change():
            files = self.ledger.files(job["job_id"])
            by_id = {str(file["file_id"]): file for file in files}
            answers = [
                transitions.cancel_file(job, files, by_id[file_id])
                if file_id in by_id
                else "File does not belong to the job"
                for file_id in file_ids.split(",")
                if file_id
            ]
            self.ledger.store(job, files)
        return as_json(answers if "," in file_ids else answers[0])

    def _modify(self, asked: Request, identity: Identity, ids: str) -> Response:
        document = json_value(asked)
        priority = (document.get("params") or {}).get("priority")
        if isinstance(priority, list | dict):
            raise Crash
        try:
            priority = int(priority or 0)
        except ValueError as error:
            raise Refused(400, "Invalid priority value") from error

        def act(job: Row) -> Row:
            if job["job_state"] in transitions.JOB_FINAL:
                return {**job, "http_status": "304 Not Modified", "http_message": FINAL_STATE}
            if not priority:
                return {**job, "http_status": "200 Ok", "http_message": None}
            files = self.ledger.files(job["job_id"])
            for row in (job, *files):
                row["priority"] = priority
            self.ledger.store(job, files)
            return {**job, "files": files, "http_status": "200 Ok", "http_message": None}

        return self._bulk(ids, identity, act, errors_first=True)

    def _archived(self, identity: Identity, job_id: str, rest: Sequence[str]) -> Response:
        job = self.ledger.backup(job_id)
        if job is None:
            raise Refused(404, f"{no_job(job_id)} in the archive")
        if not identity.may_see(job["vo_name"]):
            raise Refused(403, foreign_job(job_id))
        shown: Any = reading.archived(job)
        return as_json(reading.field(shown, rest[0]) if rest else shown)
