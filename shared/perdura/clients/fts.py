"""FTS3 REST: submission under deterministic ids, status in bulk, cancel, delegation (fts-cta.md 2, 10).

One keep-alive connection pool; identity and VO id are asked once; every error keeps the server's own words. What may
pass is Retryable, what an operator has to mend is Broken.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import httpx

from perdura import __version__
from perdura.errors import Broken, UpstreamUnavailable

log = logging.getLogger(__name__)
BULK = 200
"""Ids in one request: the front end's request line holds 8190 bytes (fts-cta.md 2.1)."""
FILE_FIELDS = (
    "file_id,file_index,file_state,reason,recoverable,retry,finish_time,archive_start_time,archive_finish_time,"
    "staging_start,bringonline_token,filesize,throughput,file_metadata"
)
LONGEST_URL, LONGEST_ACTIVITY, LONGEST_CHECKSUM, LONGEST_METADATA = 1100, 255, 100, 4096
SHOWN = 400


class FtsUnavailable(UpstreamUnavailable):
    """FTS did not answer, failed with a 5xx, or answered with something cut off."""

    code = "fts-unavailable"


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
    stage_token: str | None = None


@dataclass(frozen=True, slots=True)
class FtsJob:
    """One job. `state` None: FTS knows no such job, or will not show it; `reason` then says why."""

    job_id: str
    state: str | None
    reason: str = ""
    cancelled_by_user: bool = False
    files: tuple[FtsFile, ...] = ()


class Delegator(Protocol):
    """Gives FTS a proxy of our certificate."""

    def delegate(self, client: FtsClient, identity: Identity) -> None:
        """Delegate anew; raises FtsUnavailable or FtsRefused."""
        ...

    def keep_fresh(self, client: FtsClient, now: datetime | None = None) -> datetime:
        """Delegate anew where that is due; gives back when the present proxy ends."""
        ...


class FtsTransport(Protocol):
    """What the tape system needs of an FTS server; two transports do it, one contract suite holds for both."""

    def identity(self) -> Identity:
        """Who FTS takes us for."""
        ...

    def submit(self, document: Mapping[str, Any], sid: str) -> str:
        """Submit a job under `sid`; the same `sid` is always the same job."""
        ...

    def jobs(self, job_ids: Sequence[str]) -> dict[str, FtsJob]:
        """States of jobs with their files."""
        ...

    def archived(self, job_id: str) -> FtsJob | None:
        """A job that FTS moved to its archive."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs."""
        ...

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority of jobs."""
        ...

    def renew(self) -> datetime | None:
        """Keep the proxy at FTS fresh; gives back when it ends, None with a token."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class FtsClient:
    """The REST interface of one FTS server. Safe to use from several threads.

    `token` is a bearer token; `tls` carries the client certificate and the CA. `delegator` is called when FTS asks
    for a delegation (certificates only).
    """

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], str] | None = None,
        tls: ssl.SSLContext | None = None,
        delegator: Delegator | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._token, self._delegator = token, delegator
        self._lock = threading.Lock()
        self._identity: Identity | None = None
        self._client = httpx.Client(
            base_url=self.url,
            headers={"Accept": "application/json", "User-Agent": f"fts-perdura/3.14.2 (perdura/{__version__})"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            verify=tls or True,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; raises FtsUnavailable when there is no answer, or one with a 5xx status."""
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token else {}
        headers |= more.pop("headers", {})
        try:
            answer = self._client.request(method, path, headers=headers, **more)
        except httpx.HTTPError as error:
            raise FtsUnavailable(f"FTS did not answer {method} {path[:80]}: {type(error).__name__}") from error
        if answer.status_code >= 500:
            raise FtsUnavailable(f"FTS answered {answer.status_code}: {said(answer)}")
        return answer

    def versions(self) -> tuple[int, int, int]:
        """Version of the REST API; raises FtsUnavailable or FtsRefused."""
        api = _decoded(_accepted(self.request("GET", "/")))["api"]
        return int(api["major"]), int(api["minor"]), int(api["patch"])

    def identity(self) -> Identity:
        """Who we are to FTS, asked once. An anonymous answer is an error: ids computed with it would be wrong.

        Raises FtsUnavailable; FtsRefused with code `fts-not-authenticated`.
        """
        with self._lock:
            if self._identity is None:
                self._identity = identity_from(_decoded(_accepted(self.request("GET", "/whoami"))))
            return self._identity

    def renew(self) -> datetime | None:
        """Delegate when the proxy at FTS is missing or ends soon; gives back when it ends, None with a token."""
        return None if self._delegator is None else self._delegator.keep_fresh(self)

    def submit(self, document: Mapping[str, Any], sid: str) -> str:
        """Submit a job under `sid` and give back its id; asking again with the same `sid` makes no second job.

        When the answer is lost the job is looked for under its computed id. Raises FtsUnavailable (ask again with
        the same `sid`) or FtsRefused.
        """
        check(document)
        job_id = self.identity().job_id(sid)
        params = {**document.get("params", {}), "id_generator": "deterministic", "sid": sid}
        body = {**document, "params": params}
        try:
            answer = self._post(body)
        except FtsUnavailable:
            if self.jobs([job_id])[job_id].state is not None:
                log.info("job %s was accepted although its answer was lost", job_id)
                return job_id
            raise
        if answer.status_code == 409:
            return job_id
        given = _decoded(_accepted(answer)).get("job_id")
        if given != job_id:
            raise FtsRefused(f"FTS gave the job id {given}, not {job_id}", 200, code="fts-unexpected-id")
        return job_id

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        answer = self.request("POST", "/jobs", json=body)
        if answer.status_code == 419 and self._delegator is not None:
            log.warning("FTS asks for a delegation: %s", said(answer))
            self._delegator.delegate(self, self.identity())
            answer = self.request("POST", "/jobs", json=body)
        return answer

    def jobs(self, job_ids: Sequence[str]) -> dict[str, FtsJob]:
        """States of jobs with their files, 200 to a request; jobs FTS does not know come with state None.

        Raises FtsUnavailable, also for an answer cut off: nothing may be concluded from a poll that failed.
        """
        found: dict[str, FtsJob] = {}
        for start in range(0, len(job_ids), BULK):
            part = job_ids[start : start + BULK]
            answer = self.request("GET", f"/jobs/{','.join(part)},", params={"files": FILE_FIELDS})
            if answer.status_code not in (200, 207, 404):
                raise _refusal(answer)
            items = _decoded(answer)
            for item in items if isinstance(items, list) else [items]:
                job = job_from(item)
                found[job.job_id] = job
        missing = set(job_ids) - set(found)
        if missing:
            raise FtsUnavailable(f"FTS left {len(missing)} jobs out of its answer")
        return found

    def archived(self, job_id: str) -> FtsJob | None:
        """A job that FTS moved to its archive after the retention time; None when there is none."""
        answer = self.request("GET", f"/archive/{job_id}")
        return None if answer.status_code == 404 else job_from(_decoded(_accepted(answer)))

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs; final and unknown ones are left as they are."""
        for start in range(0, len(job_ids), BULK):
            answer = self.request("DELETE", f"/jobs/{','.join(job_ids[start : start + BULK])},")
            if answer.status_code not in (200, 207, 404):
                raise _refusal(answer)

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority (1 to 5) of unfinished jobs."""
        answer = self.request("POST", f"/jobs/{','.join(job_ids)},", json={"params": {"priority": priority}})
        if answer.status_code not in (200, 207, 404):
            raise _refusal(answer)


def check(document: Mapping[str, Any]) -> None:
    """Refuse what FTS would answer with a bare 500 or store wrongly (fts-cta.md 2.7); raises FtsRefused."""
    for file in document["files"]:
        for url in (*file["sources"], *file["destinations"]):
            if len(url) > LONGEST_URL or not url.isascii():
                raise FtsRefused(
                    f"an address is longer than {LONGEST_URL} characters or not ASCII: {url.partition('?')[0][:80]}",
                    400,
                    code="fts-impossible-url",
                )
        too_long = (
            len(file.get("activity") or "") > LONGEST_ACTIVITY
            or len(file.get("checksum") or "") > LONGEST_CHECKSUM
            or len(json.dumps(file.get("metadata"))) > LONGEST_METADATA
        )
        if too_long:
            raise FtsRefused("activity, checksum or metadata of a file is too long", 400, code="fts-too-long")


def said(answer: httpx.Response) -> str:
    """What the server says, whether as JSON or HTML, at most 400 characters."""
    try:
        document = answer.json()
        text = document.get("message") or document.get("http_message") if isinstance(document, dict) else None
    except ValueError:
        text = None
    if text is None:
        text = " ".join(answer.text.replace("<p>", "\n<p>").rpartition("<p>")[2].replace("</p>", "").split())
    return str(text)[:SHOWN]


def _refusal(answer: httpx.Response) -> FtsRefused:
    text = said(answer)
    if answer.status_code == 419:
        return FtsDelegationNeeded(f"FTS needs a delegation: {text}", 419)
    code = "fts-banned" if "has been banned" in text else None
    return FtsRefused(f"FTS answered {answer.status_code}: {text}", answer.status_code, code=code)


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.status_code not in (200, 201, 204):
        raise _refusal(answer)
    return answer


def _decoded(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise FtsUnavailable(f"FTS answered {answer.status_code} with something cut off or not JSON") from error


def identity_from(document: Mapping[str, Any]) -> Identity:
    """The answer of `GET /whoami`; raises FtsRefused for the anonymous one (fts-cta.md 2.8)."""
    if document.get("method") == "unauthenticated" or not document.get("vos_id"):
        raise FtsRefused("FTS does not accept our credentials", 401, code="fts-not-authenticated")
    return Identity(
        dn=document["user_dn"],
        method=document["method"],
        vo=document["vos"][0],
        vo_id=uuid.UUID(document["vos_id"][0]),
        delegation_id=document["delegation_id"],
    )


def job_from(item: Mapping[str, Any]) -> FtsJob:
    """One job as FTS shows it, or its error for that job."""
    if "job_state" not in item:
        return FtsJob(str(item["job_id"]), None, f"{item.get('http_status')}: {item.get('http_message')}")
    files = tuple(
        FtsFile(
            file_id=int(file["file_id"]),
            index=int(file["file_index"]),
            state=str(file["file_state"]),
            reason=str(file.get("reason") or ""),
            recoverable=file.get("recoverable"),
            metadata=file.get("file_metadata") or {},
            stage_token=file.get("bringonline_token"),
        )
        for file in item.get("files", ())
    )
    reason = str(item.get("reason") or "")
    by_user = bool(item.get("cancel_job")) or reason == "Job canceled by the user"
    return FtsJob(str(item["job_id"]), str(item["job_state"]), reason, by_user, files)
