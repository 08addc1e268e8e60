"""What FTS answers: identity, jobs and their files, and its errors with their own words (fts-cta.md 2)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from perdura.clients import bounded
from perdura.errors import Broken, UpstreamUnavailable
from perdura.recordable import recordable

FILE_FIELDS = (
    "file_id,file_index,file_state,reason,recoverable,retry,finish_time,archive_start_time,archive_finish_time,"
    "staging_start,filesize,throughput,file_metadata,log_file"
)
SHOWN = 400
NOT_FOUND = 404


class FtsUnavailable(UpstreamUnavailable):
    """FTS did not answer, failed with a 5xx, or answered with something cut off."""

    code = "fts-unavailable"


class FtsGarbled(FtsUnavailable):
    """FTS answered with something cut off, or that is not what was asked for."""


class FtsUnreached(FtsUnavailable):
    """There was no connection to FTS: what was asked never left."""


INTERNAL = "fts-internal-error"
"""Code of a bare 500: a defect that passes, or something in the request that the server cannot store."""
BANNED = "fts-banned"


class FtsRefused(Broken):
    """FTS refuses what it was asked; `status` is its HTTP status, the message its own text."""

    code = "fts-refused"

    def __init__(self, message: str, status: int, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status


class FtsDelegationNeeded(FtsRefused):
    """FTS has no proxy of ours that lasts (419)."""

    code = "fts-delegation-needed"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who FTS takes us for. `vo_id` is the namespace of our deterministic job ids."""

    dn: str
    method: str
    vo: str
    vo_id: uuid.UUID
    delegation_id: str

    def job_id(self, sid: str) -> str:
        """The id of the job submitted under `sid` (fts-cta.md 2.8)."""
        return str(uuid.uuid5(self.vo_id, sid))


@dataclass(frozen=True, slots=True)
class FtsFile:
    """One file of a job, with the fields that decisions need."""

    file_id: int
    index: int
    state: str
    reason: str
    recoverable: bool | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    log_file: str | None = None
    """Where the server that copied it keeps the log of the copy."""


@dataclass(frozen=True, slots=True)
class FtsRetry:
    """One attempt of FTS's own that failed and was followed by another."""

    attempt: int
    at: datetime
    reason: str
    host: str | None
    log_file: str | None


@dataclass(frozen=True, slots=True)
class FtsJob:
    """One job. `state` None: FTS knows no such job (`status` 404), or will not show it; `reason` then says why."""

    job_id: str
    state: str | None
    reason: str = ""
    files: tuple[FtsFile, ...] = ()
    status: int = 200
    """HTTP status of this job alone; 0 where FTS gives none."""
    told: bool = True
    """False where FTS said nothing of it that is understood, though asked; `reason` then says why."""


def said(answer: httpx.Response) -> str:
    """What the server says, whether as JSON or HTML, at most 400 characters."""
    try:
        document = answer.json()
        text = document.get("message") or document.get("http_message") if isinstance(document, dict) else None
    except ValueError:
        text = None
    if text is None:
        text = " ".join(answer.text.replace("<p>", "\n<p>").rpartition("<p>")[2].replace("</p>", "").split())
    return recordable(str(text)[:SHOWN])


def refusal(answer: httpx.Response) -> FtsRefused:
    """The error that an answer is, with the server's own words."""
    text = said(answer)
    if answer.status_code == 419:
        return FtsDelegationNeeded(f"FTS needs a delegation: {text}", 419)
    code = BANNED if "has been banned" in text else None
    return FtsRefused(f"FTS answered {answer.status_code}: {text}", answer.status_code, code=code)


def accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a good one; raises FtsRefused."""
    if answer.status_code not in (200, 201, 204):
        raise refusal(answer)
    return answer


def understood(what: str) -> AbstractContextManager[None]:
    """Turn what goes wrong while an answer is taken apart into FtsGarbled: it is no `what`."""
    return bounded.understood(FtsGarbled(f"FTS answered with something that is no {what}"))


def decoded(answer: httpx.Response) -> Any:
    """Its JSON, recordable as it is; raises FtsUnavailable for something else."""
    try:
        return recordable(answer.json())
    except ValueError as error:
        raise FtsGarbled(f"FTS answered {answer.status_code} with something cut off or not JSON") from error


def versions_from(document: Any) -> tuple[int, int, int]:
    """The version in the answer of `GET /`; raises FtsUnavailable."""
    with understood("version"):
        api = document["api"]
        return int(api["major"]), int(api["minor"]), int(api["patch"])


def identity_from(document: Mapping[str, Any]) -> Identity:
    """The answer of `GET /whoami`; raises FtsRefused for the anonymous one (fts-cta.md 2.8), FtsUnavailable."""
    with understood("identity"):
        document = recordable(document)
        if document.get("method") == "unauthenticated" or not document.get("vos_id"):
            raise FtsRefused("FTS does not accept our credentials", 401, code="fts-not-authenticated")
        return Identity(
            dn=str(document["user_dn"]),
            method=str(document["method"]),
            vo=str(document["vos"][0]),
            vo_id=uuid.UUID(document["vos_id"][0]),
            delegation_id=str(document["delegation_id"]),
        )


def job_from(item: Mapping[str, Any]) -> FtsJob:
    """One job as FTS shows it, or its error for that job; raises FtsUnavailable for something that is neither."""
    with understood("job"):
        return _job_from(item)


def jobs_from(document: Any) -> dict[str, FtsJob]:
    """The jobs of an answer by id, without those that are not understood; raises FtsGarbled where that is none."""
    found: dict[str, FtsJob] = {}
    for item in document if isinstance(document, list) else [document]:
        try:
            job = job_from(item)
        except FtsGarbled:
            continue
        found[job.job_id] = job
    if not found:
        raise FtsGarbled("FTS answered with something that is no list of jobs")
    return found


def _job_from(item: Mapping[str, Any]) -> FtsJob:
    if "job_state" not in item:
        told = str(item.get("http_status"))
        status = int(told[:3]) if told[:3].isdigit() else 0
        return FtsJob(str(item["job_id"]), None, f"{told}: {item.get('http_message')}", status=status)
    files = tuple(
        FtsFile(
            file_id=int(file["file_id"]),
            index=int(file["file_index"]),
            state=str(file["file_state"]),
            reason=str(file.get("reason") or ""),
            recoverable=file.get("recoverable"),
            metadata=_object(file.get("file_metadata")),
            retries=int(file.get("retry") or 0),
            log_file=file.get("log_file"),
        )
        for file in item.get("files", ())
    )
    reason = str(item.get("reason") or "")
    return FtsJob(str(item["job_id"]), str(item["job_state"]), reason, files)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def retry_from(item: Mapping[str, Any]) -> FtsRetry:
    """One row of `/jobs/{id}/files/{file}/retries` (fts-cta.md 2.9); raises FtsUnavailable."""
    with understood("failed attempt"):
        return FtsRetry(
            attempt=int(item["attempt"]),
            at=datetime.fromisoformat(item["datetime"]).replace(tzinfo=UTC),
            reason=str(item.get("reason") or ""),
            host=item.get("transfer_host"),
            log_file=item.get("log_file"),
        )
