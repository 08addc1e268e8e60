"""FTS3 REST through the package `fts3` (extra `fts3-rest`): the second transport, chosen by PERDURA_TAPE_TRANSPORT.

Context, submission, delegation and cancellation are the package's own. Its requests go through a session of ours, which
keeps connections alive and accepts 207, for which the package throws all good answers away (fts-cta.md 6).
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from perdura.clients.bounded import TooMuch, read, refuse_coded
from perdura.clients.fts import accepted_after_all, asked_before, cancel_in_bulk, check, jobs_in_bulk, settled
from perdura.clients.fts_answers import (
    BANNED,
    FILE_FIELDS,
    INTERNAL,
    FtsDelegationNeeded,
    FtsGarbled,
    FtsJob,
    FtsRefused,
    FtsRetry,
    FtsUnavailable,
    Identity,
    identity_from,
    job_from,
    jobs_from,
    retry_from,
    understood,
    versions_from,
)
from perdura.clients.fts_delegation import LIFETIME, RENEW_BELOW
from perdura.clients.tape_x509 import load
from perdura.errors import Broken
from perdura.ports import Deadline
from perdura.recordable import recordable

log = logging.getLogger(__name__)
TIMEOUT, CONNECT_TIMEOUT = 30, 10


class PackageFtsClient:
    """`perdura.clients.fts.FtsTransport` over the package. Safe to use from several threads: one call at a time."""

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], str] | None = None,
        certificate: str | None = None,
        key: str | None = None,
        ca: str | None = None,
    ) -> None:
        """Raises Broken where the package is not installed."""
        try:
            import fts3.rest.client.easy as easy
            from fts3.rest.client import exceptions
        except ImportError as error:
            message = (
                "PERDURA_TAPE_TRANSPORT is fts3, but the package is not installed: pip install 'perdura[fts3-rest]'"
            )
            raise Broken(message, code="tape-configuration") from error
        self.url = url.rstrip("/")
        self._easy, self._errors = easy, exceptions
        self._token, self._files = token, (certificate, key)
        self._ca = ca or ssl.get_default_verify_paths().cafile
        self._lock = threading.RLock()
        self._context: Any = None
        self._identity: Identity | None = None

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._context is not None:
                self._context._requester.close()

    def _do(self, work: Callable[[Any], Any]) -> Any:
        """Do some work with the package's context; its exceptions become ours."""
        import requests

        with self._lock:
            try:
                if self._context is None:
                    self._certificate_lasts()
                    self._context = self._new_context()
                if self._token is not None:
                    self._context._requester.fts_access_token = self._token()
                return work(self._context)
            except (requests.RequestException, TooMuch, self._errors.BadEndpoint) as error:
                raise FtsUnavailable(f"FTS did not answer: {type(error).__name__}") from error
            except ValueError as error:
                raise FtsGarbled(f"FTS answered with something cut off: {error}"[:400]) from error
            except self._errors.ServerError as error:
                code = INTERNAL if str(error) == "Server error: 500" else None
                message = f"FTS answered with an error: {error}"[:400]
                raise FtsUnavailable(message, code=code) from error
            except self._errors.NeedDelegation as error:
                raise FtsDelegationNeeded("FTS needs a delegation", 419) from error
            except self._errors.Unauthorized as error:
                code = BANNED if "has been banned" in str(error) else None
                raise FtsRefused(f"FTS answered 403: {error}"[:400], 403, code=code) from error
            except self._errors.FTS3ClientException as error:
                raise FtsRefused(f"FTS refuses: {error}"[:400], _status(error)) from error

    def _certificate_lasts(self) -> None:
        """Say what the package would only raise a bare exception for; raises FtsRefused."""
        certificate, key = self._files
        if certificate is None or key is None:
            return
        robot = load(certificate, key)
        if robot.expires_at <= datetime.now(UTC):
            message = f"the robot certificate {robot.dn} expired on {robot.expires_at:%Y-%m-%d}"
            raise FtsRefused(message, 401, code="tape-certificate-expired")

    def _new_context(self) -> Any:
        """A context of the package, which asks the server for its version when it is made."""
        return self._easy.Context(
            self.url,
            ucert=self._files[0],
            ukey=self._files[1],
            verify=True,
            fts_access_token=self._token() if self._token else None,
            capath=self._ca,
            request_class=_session_class(),
            connectTimeout=CONNECT_TIMEOUT,
            timeout=TIMEOUT,
        )

    def versions(self) -> tuple[int, int, int]:
        """Version of the REST API; raises FtsUnavailable or FtsRefused."""
        return versions_from(self._get("/"))

    def identity(self) -> Identity:
        """Who we are to FTS, asked once; raises FtsUnavailable or FtsRefused."""
        with self._lock:
            if self._identity is None:
                self._identity = identity_from(self._do(self._easy.whoami))
            return self._identity

    def submit(self, document: Mapping[str, Any], sid: str) -> str:
        """Submit a job under `sid` and give back its id; asking again with the same `sid` makes no second job."""
        check(document)
        job_id = self.identity().job_id(sid)
        params = {**document.get("params", {}), "id_generator": "deterministic", "sid": sid}
        job = {"files": [dict(file) for file in document["files"]], "params": params}
        try:
            given = self._do(
                lambda context: self._easy.submit(
                    context, job, delegation_lifetime=LIFETIME, delegate_when_lifetime_lt=RENEW_BELOW
                )
            )
        except FtsUnavailable as error:
            return accepted_after_all(self, sid, job_id, error)
        except FtsRefused as error:
            if error.status == 409:
                return asked_before(self, sid, job_id)
            raise
        return job_id if given == job_id else settled(self, sid, str(given), job_id)

    def forget_identity(self) -> None:
        """Ask FTS anew who we are."""
        with self._lock:
            self._identity = None

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> dict[str, FtsJob]:
        """States of jobs with their files; jobs FTS does not know come with state None."""
        return jobs_in_bulk(job_ids, self._states, deadline)

    def _states(self, job_ids: Sequence[str]) -> dict[str, FtsJob]:
        return jobs_from(self._get(f"/jobs/{','.join(job_ids)},?files={FILE_FIELDS}"))

    def _get(self, path: str) -> Any:
        return self._do(lambda context: recordable(json.loads(context.get(path))))

    def retries(self, job_id: str, file_id: int) -> list[FtsRetry]:
        """The attempts of a file that failed before the present one."""
        return [retry_from(item) for item in self._get(f"/jobs/{job_id}/files/{file_id}/retries")]

    def archived(self, job_id: str) -> FtsJob | None:
        """A job that FTS moved to its archive; None when there is none."""

        def ask(context: Any) -> FtsJob | None:
            try:
                return job_from(recordable(json.loads(context.get(f"/archive/{job_id}"))))
            except self._errors.NotFound:
                return None

        found: FtsJob | None = self._do(ask)
        return found

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
        """Cancel jobs; final and unknown ones are left as they are, and one that fails keeps no other running."""
        cancel_in_bulk(job_ids, self._delete, deadline)

    def _delete(self, job_ids: Sequence[str]) -> None:
        def ask(context: Any) -> None:
            for job_id in job_ids:
                try:
                    self._easy.cancel(context, job_id)
                except (self._errors.NotFound, self._errors.Unauthorized):
                    log.info("FTS has no job %s of ours to be cancelled", job_id)

        self._do(ask)

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority (1 to 5) of unfinished jobs."""
        body = {"params": {"priority": priority}}
        self._do(lambda context: context.post_json(f"/jobs/{','.join(job_ids)},", body))

    def renew(self) -> datetime | None:
        """Delegate when the proxy at FTS is missing or ends soon; gives back when it ends, None with a token."""

        def ask(context: Any) -> datetime | None:
            delegation = self._easy.delegate(context, lifetime=LIFETIME, delegate_when_lifetime_lt=RENEW_BELOW)
            if not delegation:
                return None
            with understood("delegation"):
                ends = json.loads(context.get(f"/delegation/{delegation}"))["termination_time"]
                return datetime.fromisoformat(ends).replace(tzinfo=UTC)

        found: datetime | None = self._do(ask)
        return found


def _status(error: Exception) -> int:
    """The HTTP status that the package put into its exception, 400 where it kept none."""
    reason = str(getattr(error, "reason", ""))
    return int(reason) if reason.isdigit() else 404 if type(error).__name__ == "NotFound" else 400


def _session_class() -> type[Any]:
    """The package's request class on one session: connections are kept, 207 is an answer."""
    import requests
    from fts3.rest.client.request import Request

    class Session(Request):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._session = requests.Session()
            self._session.trust_env = False

        def method(self, method: str, url: str, body: Any = None, headers: Any = None, **_: Any) -> str:
            sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
            if self.fts_access_token:
                sent["Authorization"] = f"Bearer {self.fts_access_token}"
            answer = self._session.request(
                method, str(url), data=body, headers=sent, verify=self.capath,
                timeout=(self.connectTimeout, self.timeout), cert=(self.ucert, self.ukey) if self.ucert else None,
                allow_redirects=False, stream=True,
            )  # fmt: skip
            with answer:
                refuse_coded(answer.headers)
                told: str = read(answer.iter_content(1 << 16)).decode(answer.encoding or "utf-8", "replace")
            if answer.status_code != 207:
                self._handle_error(url, answer.status_code, told)
            return told

        def close(self) -> None:
            self._session.close()

    return Session
