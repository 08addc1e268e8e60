"""FTS3 REST: submission under deterministic ids, status in bulk, cancel, delegation (fts-cta.md 2, 10).

One keep-alive connection pool; identity and VO id are asked once; every error keeps the server's own words. What may
pass is Retryable, what an operator has to mend is Broken.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import httpx

from perdura import __version__
from perdura.clients import bounded
from perdura.clients.fts_answers import (
    BANNED,
    FILE_FIELDS,
    INTERNAL,
    NOT_FOUND,
    FtsGarbled,
    FtsJob,
    FtsRefused,
    FtsRetry,
    FtsUnavailable,
    FtsUnreached,
    Identity,
    accepted,
    decoded,
    identity_from,
    job_from,
    jobs_from,
    refusal,
    retry_from,
    said,
    understood,
    versions_from,
)
from perdura.clients.together import told_together
from perdura.errors import PerduraError
from perdura.ports import Deadline

log = logging.getLogger(__name__)
BULK = 200
"""Ids in one request: the front end's request line holds 8190 bytes (fts-cta.md 2.1)."""
LONGEST_URL, LONGEST_ACTIVITY, LONGEST_CHECKSUM, LONGEST_METADATA = 1100, 255, 100, 4096


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

    url: str

    def versions(self) -> tuple[int, int, int]:
        """Version of the REST API."""
        ...

    def identity(self) -> Identity:
        """Who FTS takes us for."""
        ...

    def forget_identity(self) -> None:
        """Ask anew who FTS takes us for."""
        ...

    def submit(self, document: Mapping[str, Any], sid: str) -> str:
        """Submit a job under `sid`; the same `sid` is always the same job."""
        ...

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> dict[str, FtsJob]:
        """States of jobs with their files."""
        ...

    def retries(self, job_id: str, file_id: int) -> list[FtsRetry]:
        """The attempts of a file that failed before the present one."""
        ...

    def archived(self, job_id: str) -> FtsJob | None:
        """A job that FTS moved to its archive."""
        ...

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
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
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": f"fts-perdura/3.14.2 (perdura/{__version__})",
            },
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            verify=tls or True,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request; raises FtsUnavailable when there is no answer, a boundless one, or one with a 5xx status.

        FtsUnreached among them: nothing was sent.
        """
        headers = {"Authorization": f"Bearer {self._token()}"} if self._token else {}
        headers |= more.pop("headers", {})
        try:
            answer = bounded.ask(self._client, method, path, headers=headers, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise FtsUnreached(f"FTS did not answer {method} {path[:80]}: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise FtsUnavailable(f"FTS did not answer {method} {path[:80]}: {type(error).__name__}") from error
        if answer.status_code >= 500:
            code = INTERNAL if answer.status_code == 500 else None
            raise FtsUnavailable(f"FTS answered {answer.status_code}: {said(answer)}", code=code)
        return answer

    def versions(self) -> tuple[int, int, int]:
        """Version of the REST API; raises FtsUnavailable or FtsRefused."""
        return versions_from(decoded(accepted(self.request("GET", "/"))))

    def identity(self) -> Identity:
        """Who we are to FTS, asked once. An anonymous answer is an error: ids computed with it would be wrong.

        Raises FtsUnavailable; FtsRefused with code `fts-not-authenticated`.
        """
        with self._lock:
            if self._identity is None:
                self._identity = identity_from(decoded(accepted(self.request("GET", "/whoami"))))
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
        except FtsUnreached:
            raise
        except FtsUnavailable as error:
            return accepted_after_all(self, sid, job_id, error)
        if answer.status_code == 409:
            return asked_before(self, sid, job_id)
        with understood("submission"):
            given = decoded(accepted(answer))["job_id"]
        return job_id if given == job_id else settled(self, sid, str(given), job_id)

    def forget_identity(self) -> None:
        """Ask FTS anew who we are: its administrator may have given our name another VO."""
        with self._lock:
            self._identity = None

    def _post(self, body: Mapping[str, Any]) -> httpx.Response:
        answer = self.request("POST", "/jobs", json=body)
        if answer.status_code == 419 and self._delegator is not None:
            log.warning("FTS asks for a delegation: %s", said(answer))
            self._delegator.delegate(self, self.identity())
            answer = self.request("POST", "/jobs", json=body)
        return answer

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> dict[str, FtsJob]:
        """States of jobs with their files, 200 to a request; jobs FTS does not know come with state None.

        One of which nothing is told, or which spoils the answer, is not `told`. Raises FtsUnavailable where that holds
        for all: nothing may be concluded from a poll that failed.
        """
        return jobs_in_bulk(job_ids, self._states, deadline)

    def _states(self, job_ids: Sequence[str]) -> dict[str, FtsJob]:
        answer = self.request("GET", f"/jobs/{','.join(job_ids)},", params={"files": FILE_FIELDS})
        if answer.status_code not in (200, 207, 404):
            raise refusal(answer)
        return jobs_from(decoded(answer))

    def retries(self, job_id: str, file_id: int) -> list[FtsRetry]:
        """The attempts of a file that failed before the present one; FTS keeps them until its retention is over."""
        answer = self.request("GET", f"/jobs/{job_id}/files/{file_id}/retries")
        found = decoded(accepted(answer))
        return [retry_from(item) for item in found] if isinstance(found, list) else [retry_from(found)]

    def archived(self, job_id: str) -> FtsJob | None:
        """A job that FTS moved to its archive after the retention time; None when there is none."""
        answer = self.request("GET", f"/archive/{job_id}")
        return None if answer.status_code == 404 else job_from(decoded(accepted(answer)))

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
        """Cancel jobs, 200 to a request; final and unknown ones are left as they are.

        One for which FTS errs or refuses keeps no other running. Raises FtsUnavailable or FtsRefused where that holds
        for all.
        """
        cancel_in_bulk(job_ids, self._delete, deadline)

    def _delete(self, job_ids: Sequence[str]) -> None:
        answer = self.request("DELETE", f"/jobs/{','.join(job_ids)},")
        if answer.status_code not in (200, 207, 404):
            raise refusal(answer)

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority (1 to 5) of unfinished jobs."""
        answer = self.request("POST", f"/jobs/{','.join(job_ids)},", json={"params": {"priority": priority}})
        if answer.status_code not in (200, 207, 404):
            raise refusal(answer)


def jobs_in_bulk(
    job_ids: Sequence[str], ask: Callable[[Sequence[str]], Mapping[str, FtsJob]], deadline: Deadline | None
) -> dict[str, FtsJob]:
    """What `ask` tells of jobs, `BULK` of them in one request."""
    found: dict[str, FtsJob] = {}
    for start in range(0, len(job_ids), BULK):
        found |= told_together(job_ids[start : start + BULK], ask, _untold, _spoilt, deadline)
    return found


def cancel_in_bulk(job_ids: Sequence[str], delete: Callable[[Sequence[str]], None], deadline: Deadline | None) -> None:
    """Have `delete` cancel jobs, `BULK` of them in one request; the log tells which it could not."""

    def ask(part: Sequence[str]) -> dict[str, str | None]:
        delete(part)
        return dict.fromkeys(part)

    for start in range(0, len(job_ids), BULK):
        part = job_ids[start : start + BULK]
        for job_id, why in told_together(part, ask, lambda _, why: why, _not_for_all, deadline).items():
            if why is not None:
                log.warning("job %s is not cancelled: %s", job_id, why)


def _not_for_all(error: PerduraError) -> bool:
    """Whether a request that failed may succeed without one of its jobs."""
    return _spoilt(error) or (isinstance(error, FtsRefused) and error.code != BANNED)


def _spoilt(error: PerduraError) -> bool:
    return isinstance(error, FtsGarbled) or error.code == INTERNAL


def _untold(job_id: str, why: str) -> FtsJob:
    return FtsJob(job_id, None, why, status=0, told=False)


def accepted_after_all(transport: FtsTransport, sid: str, expected: str, lost: FtsUnavailable) -> str:
    """The id of the job whose answer was `lost`, which is raised when FTS has none or does not tell: what is refused
    now says nothing of what was stored before."""
    try:
        found = _under(transport, sid, expected)
    except (FtsUnavailable, FtsRefused):
        raise lost from None
    if found is None:
        raise lost
    log.info("job %s was accepted although its answer was lost", found)
    return found


def asked_before(transport: FtsTransport, sid: str, expected: str) -> str:
    """The id of the job that FTS says it has of this `sid`, without saying which; raises FtsUnavailable."""
    try:
        transport.forget_identity()
        if transport.identity().job_id(sid) == expected:
            return expected
        return _under(transport, sid, expected) or expected
    except FtsRefused as error:
        raise FtsUnavailable(f"FTS has the job and does not say under which id: {error.message}") from error


def _under(transport: FtsTransport, sid: str, expected: str) -> str | None:
    """The id under which FTS has the job of a `sid`: that `expected`, or the one of the VO in which it has us by now.

    One that FTS only says it will not show is there as well (fts-cta.md 2.8, 2.9).
    """
    transport.forget_identity()
    ids = tuple(dict.fromkeys((expected, transport.identity().job_id(sid))))
    found = transport.jobs(ids)
    if not all(job.told for job in found.values()):
        raise FtsUnavailable("FTS does not say whether it has the job")
    return next((each for each in ids if found[each].state is not None or found[each].status != NOT_FOUND), None)


def settled(transport: FtsTransport, sid: str, given: str, expected: str) -> str:
    """The id of a job that FTS made under another id than `expected`, where that is the only one of its `sid`.

    So it is when our VO at FTS was changed since we asked who we are: ids are computed with it (fts-cta.md 2.8). One
    that may run beside a job under the expected id, or whose id is not understood, is cancelled: raises FtsRefused.
    """
    transport.forget_identity()
    if transport.identity().job_id(sid) == given and transport.jobs([expected])[expected].status == NOT_FOUND:
        log.warning("FTS has us in another VO than before: %s", transport.identity().vo)
        return given
    transport.cancel([given])
    message = f"FTS gave the job id {given}, not {expected}; that job was cancelled"
    raise FtsRefused(message, 200, code="fts-unexpected-id")


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
