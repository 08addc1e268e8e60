"""The tape system as steps see it: FTS moves files, the tape endpoint says where they really are.

What FTS reports of a job is translated into few states; it is never taken as proof. Paths of this module are relative
to the directory that the settings name.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from perdura.clients.fts import FtsClient, FtsTransport
from perdura.clients.fts_answers import (
    NOT_FOUND,
    FtsDelegationNeeded,
    FtsFile,
    FtsJob,
    FtsRefused,
    FtsUnreached,
)
from perdura.clients.fts_delegation import ProxyDelegator
from perdura.clients.tape_endpoint import Locality, TapeEndpoint
from perdura.clients.tape_oauth import token_source
from perdura.clients.tape_x509 import Robot, load
from perdura.errors import Broken, PerduraError
from perdura.ports import Deadline, Residency, Staging, TapeAccount, TapeCredentials, TapeJob, TapeRequest, TapeRetry
from perdura.settings import Settings

Item = TypeVar("Item")
Answer = TypeVar("Answer")
IN_VAIN = 3
"""Requests for single files or jobs that may fail in one look."""
SINGLY = 60.0
"""Seconds that such requests may take in one look."""
WAITING = frozenset({"TOKEN_PREP", "SUBMITTED", "READY", "ACTIVE", "STAGING", "STARTED", "ON_HOLD", "FORCE_START"})


LAST_HOUR = timedelta(hours=1)
"""FTS takes no job whose proxy ends sooner, and no proxy outlives its certificate (fts-cta.md 2.4)."""


class CertificateExpired(FtsUnreached):
    """Our certificate is over, or FTS takes no job with it any more; what waits goes on when there is a new one."""

    code = "tape-certificate-expired"


class FtsTape:
    """`ports.TapeSystem` over FTS3 and one tape endpoint."""

    def __init__(
        self,
        fts: FtsTransport,
        endpoint: TapeEndpoint,
        destination: str,
        *,
        archive_timeout: int,
        priority: int = 3,
        token: Callable[[], str] | None = None,
        robot: Robot | None = None,
    ) -> None:
        """`destination` is the URL of our directory as FTS shall write to it (`davs://…/perdura`)."""
        self._token, self._robot = token, robot
        self.fts, self.endpoint = fts, endpoint
        self._destination = destination.rstrip("/")
        self._base = "/" + urlsplit(destination).path.strip("/")
        self._archive_timeout, self._priority = archive_timeout, priority

    def close(self) -> None:
        """Close all connections."""
        self.fts.close()
        self.endpoint.close()

    @property
    def by_token(self) -> bool:
        """Whether we show FTS a token, not a certificate."""
        return self._token is not None

    def uri(self, destination_path: str) -> str:
        """The address of a file in the tape system."""
        return f"{self._destination}/{destination_path}"

    def _path(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}"

    def submit(self, request: TapeRequest) -> str:
        """Ask FTS to copy a file to tape; the same `job_key` always gives the same job id."""
        self._certificate_lasts(LAST_HOUR)
        try:
            return self.fts.submit(self.document(request), request.job_key)
        except FtsDelegationNeeded as error:
            if self._robot is None:
                raise
            message = (
                f"FTS takes no job with a new proxy of the robot certificate {self._robot.dn}, which ends on "
                f"{self._robot.expires_at:%Y-%m-%d %H:%M} UTC: {error.message}"
            )
            raise CertificateExpired(message, code=error.code) from error

    def _certificate_lasts(self, longer: timedelta = timedelta()) -> None:
        """Say plainly what would else look like a server that does not answer; raises CertificateExpired."""
        now = datetime.now(UTC)
        if self._robot is not None and self._robot.expires_at - longer <= now:
            ends = f"{self._robot.expires_at:%Y-%m-%d %H:%M} UTC"
            over = self._robot.expires_at <= now
            raise CertificateExpired(
                f"the robot certificate {self._robot.dn} "
                + (f"expired on {ends}; " if over else f"ends on {ends}, and FTS takes no job in its last hour; ")
                + "import a new one under the same name, and everything goes on"
            )

    def document(self, request: TapeRequest) -> dict[str, Any]:
        """The job as FTS wants it (fts-cta.md 10.1): never overwrite, wait for tape, report what is there."""
        file: dict[str, Any] = {
            "sources": [request.source_url],
            "destinations": [self.uri(request.destination_path)],
            "checksum": f"ADLER32:{request.adler32}",
            "filesize": request.size,
            "activity": "archive",
            "metadata": dict(request.metadata),
        }
        tokens: dict[str, Any] = {}
        if request.source_token is not None and self._token is not None:
            # FTS wants tokens for both ends or none (fts-cta.md 5); it need not refresh them.
            file |= {"source_tokens": [request.source_token], "destination_tokens": [self._token()]}
            tokens = {"unmanaged_tokens": True}
        return {
            "files": [file],
            "params": {
                "verify_checksum": "both" if request.verify_source else "target",
                "archive_timeout": self._archive_timeout,
                "copy_pin_lifetime": -1,
                "bring_online": -1,
                "retry": 3,
                "retry_delay": 300,
                "priority": request.priority or self._priority,
                "dst_file_report": True,
                "overwrite": False,
                "job_metadata": {"issuer": "perdura"},
                **tokens,
            },
        }

    def job_id(self, job_key: str) -> str:
        """The id under which FTS has a job of this key, if it has one."""
        return self.fts.identity().job_id(job_key)

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, TapeJob]:
        """States of many jobs; a job FTS no longer lists is looked for in its archive."""
        self._certificate_lasts()
        found = {job_id: translated(job) for job_id, job in self.fts.jobs(job_ids, deadline).items()}
        unknown = [job for job in found.values() if job.state == "unknown"]
        return {**found, **{job.job_id: job for job in _one_by_one(unknown, self._archived, _untold)}}

    def _archived(self, job: TapeJob) -> TapeJob:
        try:
            archived = self.fts.archived(job.job_id)
        except FtsRefused as error:
            return replace(job, state="withheld", reason=error.message)
        return job if archived is None else translated(archived)

    def retries(self, job: TapeJob) -> Sequence[TapeRetry]:
        """The attempts of FTS's own that failed before the present one."""
        if job.file is None:
            return ()
        found = self.fts.retries(job.job_id, int(job.file))
        return [TapeRetry(each.attempt, each.at, each.reason, each.host, each.log_file) for each in found]

    def account(self) -> TapeAccount:
        """The FTS server, and the name under which it knows us."""
        self._certificate_lasts()
        return TapeAccount(self.fts.url, self.fts.identity().dn)

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
        """Stop jobs. A file already copied may still reach tape."""
        self.fts.cancel(job_ids, deadline)

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority of jobs that are not over."""
        self.fts.set_priority(job_ids, priority)

    def credentials(self) -> TapeCredentials:
        """The robot certificate and its end; nothing is known of a token before it is used."""
        if self._robot is None:
            return TapeCredentials("token", None)
        return TapeCredentials(self._robot.dn, self._robot.expires_at)

    def renew(self) -> TapeCredentials:
        """Delegate anew where the proxy at FTS is missing or ends soon; with a token, see that there is one."""
        if self._robot is not None:
            return replace(self.credentials(), proxy_expires_at=self.fts.renew())
        if self._token is not None:
            self._token()
        return self.credentials()

    def residency(self, paths: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, Residency]:
        """Locality, size and ADLER32 of files, from the endpoint itself."""
        ours = {self._path(path): path for path in paths}
        localities = self.endpoint.localities(list(ours), deadline)
        listed = [(ours[there], there, found) for there, found in localities.items() if there in ours]
        return {each.path: each for each in _one_by_one(listed, self._residency, _unsaid)}

    def _residency(self, asked: tuple[str, str, Locality]) -> Residency:
        path, there, found = asked
        locality = found.locality or ""
        stored = self.endpoint.stat(there) if "DISK" in locality or "TAPE" in locality else None
        if stored is None and ("DISK" in locality or "TAPE" in locality):
            return _unsaid(asked, f"the tape endpoint says {locality}, and that there is no such file")
        return Residency(
            path=path,
            on_disk="DISK" in locality,
            on_tape="TAPE" in locality,
            size=stored.size if stored else None,
            adler32=stored.adler32 if stored else None,
            error=found.error or (locality if locality in ("LOST", "NONE", "UNAVAILABLE") else None),
            said=found.said,
        )

    def stage(self, paths: Sequence[str], lifetime: int) -> str:
        """Ask for files on disk for `lifetime` seconds; gives back the request's id."""
        return self.endpoint.stage([self._path(path) for path in paths], lifetime)

    def staged(self, request: str) -> Mapping[str, Staging]:
        """How far a stage request is."""
        prefix = self._path("")
        return {
            path.removeprefix(prefix): Staging(progress.on_disk, progress.error)
            for path, progress in self.endpoint.staged(request).items()
        }

    def read(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Bytes of a file that is on disk."""
        return self.endpoint.read(self._path(path), offset, length)

    def unstage(self, request: str, paths: Sequence[str]) -> None:
        """Ask for the files of a stage request no longer."""
        self.endpoint.unstage(request, [self._path(path) for path in paths])

    def release(self, request: str, paths: Sequence[str]) -> None:
        """Let the tape system evict staged files."""
        self.endpoint.release(request, [self._path(path) for path in paths])


def _one_by_one(
    items: Iterable[Item], ask: Callable[[Item], Answer], failed: Callable[[Item, str], Answer]
) -> Iterator[Answer]:
    """Ask for each; one that cannot be answered is told as `failed` and does not keep the others waiting.

    After `IN_VAIN` failures, or `SINGLY` seconds, the rest is told so unasked: the server is at fault, and a look must
    end.
    """
    failures, message, until = 0, "", time.monotonic() + SINGLY
    for item in items:
        if time.monotonic() >= until:
            failures, message = IN_VAIN, "the tape system is too slow for all in one look"
        if failures < IN_VAIN:
            try:
                yield ask(item)
                continue
            except PerduraError as error:
                failures, message = failures + 1, error.message
        yield failed(item, message)


def _untold(job: TapeJob, message: str) -> TapeJob:
    return replace(job, state="untold", reason=message)


def _unsaid(asked: tuple[str, str, Locality], message: str) -> Residency:
    return Residency(asked[0], False, False, None, None, "UNAVAILABLE", message)


def translated(job: FtsJob) -> TapeJob:
    """What a job of one file means; the true reason is only in the file (fts-cta.md 3.1, rule 8)."""
    if not job.told:
        return TapeJob(job.job_id, "untold", job.reason)
    if job.state is None:
        return TapeJob(job.job_id, "unknown" if job.status == NOT_FOUND else "withheld", job.reason or None)
    file = _deciding(job.files)
    if file is None or file.state in WAITING:
        final = job.state in ("FAILED", "CANCELED", "FINISHEDDIRTY")
        state = "cancelled" if job.state == "CANCELED" else "failed" if final else "active"
        waiting = TapeJob(job.job_id, state, job.reason or None)
        return waiting if file is None else replace(waiting, **_details(file))
    states = {"FINISHED": "finished", "FAILED": "failed", "CANCELED": "cancelled", "ARCHIVING": "archiving"}
    return TapeJob(
        job.job_id,
        states.get(file.state, "active"),
        file.reason or job.reason or None,
        recoverable=bool(file.recoverable),
        at_destination=_report(file),
        **_details(file),
    )


def _details(file: FtsFile) -> dict[str, Any]:
    """What is kept of a file whatever its state is."""
    return {
        "file": str(file.file_id), "file_state": file.state, "retries": file.retries, "log_file": file.log_file,
    }  # fmt: skip


def _deciding(files: Sequence[FtsFile]) -> FtsFile | None:
    """The file that decides: unused replicas and hops are ignored, a finished one wins."""
    used = [file for file in files if file.state != "NOT_USED"]
    return next((file for file in used if file.state == "FINISHED"), used[0] if used else None)


def _report(file: FtsFile) -> Residency | None:
    report = file.metadata.get("dst_file")
    if not isinstance(report, Mapping):
        return None
    return Residency(
        path="",
        on_disk=bool(report.get("file_on_disk")),
        on_tape=bool(report.get("file_on_tape")),
        size=size if isinstance(size := report.get("file_size"), int) else None,
        adler32=str(report.get("checksum_value") or "").lower().zfill(8) if report.get("checksum_value") else None,
    )


def tape_system(settings: Settings) -> FtsTape | None:
    """The tape system that the settings name; None when they name none. Raises Broken for half a configuration."""
    base = settings.tape_base_path
    endpoint_url = settings.tape_endpoint_url
    if "://" in base:
        parts = urlsplit(base)
        endpoint_url, base = endpoint_url or f"{parts.scheme}://{parts.netloc}", parts.path
    if not settings.tape_fts_url:
        return None
    if not endpoint_url:
        raise Broken("PERDURA_TAPE_FTS_URL is set but PERDURA_TAPE_ENDPOINT_URL is not", code="tape-configuration")
    tls = client_tls(settings)
    token = token_source(settings)
    robot = None
    if settings.tape_certificate and settings.tape_key and token is None:
        robot = load(settings.tape_certificate, settings.tape_key)
    fts = _transport(settings, token, tls, robot)
    endpoint = TapeEndpoint(endpoint_url, token=token, tls=tls)
    there = endpoint_url.rstrip("/").replace("https://", "davs://", 1)
    return FtsTape(
        fts,
        endpoint,
        f"{there}/{base.strip('/')}",
        archive_timeout=int(settings.tape_archive_timeout),
        priority=settings.tape_priority,
        token=token,
        robot=robot,
    )


def _transport(
    settings: Settings, token: Callable[[], str] | None, tls: ssl.SSLContext, robot: Robot | None
) -> FtsTransport:
    """The transport that the settings choose."""
    url = str(settings.tape_fts_url)
    if settings.tape_transport == "fts3":
        from perdura.clients.fts_package import PackageFtsClient

        certificate, key = (settings.tape_certificate, settings.tape_key) if robot else (None, None)
        return PackageFtsClient(url, token=token, certificate=certificate, key=key, ca=settings.tape_ca)
    return FtsClient(url, token=token, tls=tls, delegator=ProxyDelegator(robot) if robot else None)


def client_tls(settings: Settings) -> ssl.SSLContext:
    """TLS with the operator's CA and client certificate, verification always on; raises Broken."""
    try:
        context = ssl.create_default_context(cafile=settings.tape_ca)
        if settings.tape_certificate:
            context.load_cert_chain(settings.tape_certificate, settings.tape_key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise Broken(f"the certificate of the tape system cannot be used: {error}", code="tape-certificate") from error
    return context


def _no_password() -> str:
    """An encrypted key would make OpenSSL ask at the terminal, which a function has not."""
    raise ssl.SSLError("the private key is encrypted; store it unencrypted with mode 0600")
