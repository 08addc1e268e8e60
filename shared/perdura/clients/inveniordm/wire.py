"""The connection to one InvenioRDM: statuses become errors, a lost answer stays an unknown outcome.

No write is repeated here: whoever asked has to look what became of it (inveniordm.md 4). Only a request that the
server itself turned away with 429 was certainly not carried out, so it is repeated when the wait is short.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from perdura import __version__
from perdura.clients.http import retry_after
from perdura.clients.inveniordm.model import Tombstone, said, tombstone_of
from perdura.errors import Broken, Rejected, Retryable, UpstreamUnavailable

PATIENCE = 5.0
"""Seconds that a `Retry-After` is waited for within a request; for longer waits the work is given back."""
PATIENT_TRIES = 3
SETTLING = 5.0
"""Seconds after an unknown outcome before looking again: a search index lags by about one (inveniordm.md 4)."""

_LIMIT = 16 * 2**20


class RdmRefused(Rejected):
    """InvenioRDM refuses what it was sent; `status` is its HTTP status, the message its own words."""

    code = "access-system-refused"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RdmForbidden(Broken):
    """InvenioRDM says 401 or 403: no token, a wrong one, another user's draft, or a right that is missing."""

    code = "access-system-forbids"


class RdmNotFound(RdmRefused):
    """There is nothing at that address (404)."""

    code = "access-system-not-found"


class RdmTooLarge(RdmRefused):
    """The content exceeds what the server takes in one request (413)."""

    code = "access-system-content-too-large"


class RdmTooMuch(RdmRefused):
    """The server's answer is larger than what is read of one."""

    code = "access-system-answer-too-large"


class RdmChanged(RdmRefused):
    """Somebody else changed the draft meanwhile (412)."""

    code = "access-system-draft-changed"


class RdmGone(RdmRefused):
    """The record was deleted at the access system (410); `record` is the one that was asked about."""

    code = "access-system-record-withdrawn"

    def __init__(self, message: str, tombstone: Tombstone, record: str) -> None:
        super().__init__(message, 410)
        self.tombstone, self.record = tombstone, record


class RdmUnavailable(UpstreamUnavailable):
    """InvenioRDM turned the request away for now (429, 503; 408, 502, 504 to one that changes nothing)."""

    code = "access-system-unavailable"


class RdmUnknown(Retryable):
    """The answer is lost, or a proxy's or a 500: the request may have been carried out. Each counts as a failed try."""

    code = "access-system-outcome-unknown"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read whole; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body) if self.body else None
        except (ValueError, RecursionError):
            return None


class Wire:
    """HTTP to one InvenioRDM as one user. Safe to use from several threads; close it, or use it as a context.

    `upload_hosts` are hosts (with port) beside the server's own to which parts of files may be sent: with S3 storage
    part addresses are presigned ones, which must not see our token.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        upload_hosts: Iterable[str] = (),
        timeout: float = 60.0,
        verify: bool | str = True,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.host = urlsplit(self.url).netloc
        self.calls = 0
        self._token = token
        self._upload_hosts = frozenset(upload_hosts)
        self._sleep = sleep
        self._client = httpx.Client(
            headers={"User-Agent": f"perdura/{__version__}", "Accept": "application/json"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            verify=verify,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def json(self, method: str, path: str, **more: Any) -> Any:
        """The JSON of a request that must succeed; None for an empty answer.

        Raises one of the errors of this module. `path` is below the server's address, already percent-encoded.
        """
        answer = self.send(method, path, **more)
        return self.judged(answer, f"{method} {path.partition('?')[0]}")

    def judged(self, answer: Reply, what: str) -> Any:
        """The JSON of an answer with a good status; every other status is raised as what it means."""
        value = answer.json()
        status = answer.status
        if status < 300:
            if answer.body and value is None:
                raise RdmRefused(f"{self.host} answered {what} with something that is not JSON.", status)
            return value
        words = f"{self.host}: {what}: {status} {said(value, status)}"
        match status:
            case 401 | 403:
                raise RdmForbidden(
                    f"{words} The token is missing or wrong, the draft is another user's, or a right is missing."
                )
            case 404:
                raise RdmNotFound(words, status)
            case 410:
                raise RdmGone(words, tombstone_of(value), unquote(what.partition("/records/")[2].partition("/")[0]))
            case 412:
                raise RdmChanged(words, status)
            case 413:
                raise RdmTooLarge(words, status)
            case 408 | 502 | 504 if what.startswith(("GET ", "HEAD ")):
                raise RdmUnavailable(words)
            case 429 | 503:
                raise RdmUnavailable(words, retry_after=retry_after(answer.headers))
            case _ if status == 408 or status >= 500:
                # A proxy that answers so has given up on a server that may go on.
                raise RdmUnknown(words, retry_after=SETTLING)
            case _:
                raise RdmRefused(words, status)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
        size: int | None = None,
    ) -> Reply:
        """One request, whatever its status; raises RdmUnknown when no answer came.

        `content` is sent as it is, or as the callable gives it anew at each try; `size` is then its length.
        """
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        if size is not None:
            sent["Content-Length"] = str(size)
        for attempt in range(1, PATIENT_TRIES + 1):
            data = content() if callable(content) else content
            answer = self._once(method, self.url + path, sent, body, data, params)
            wait = retry_after(answer.headers) if answer.status == 429 else None
            if wait is None or wait > PATIENCE or attempt == PATIENT_TRIES:
                return answer
            self._sleep(wait)
        raise AssertionError("unreachable")

    def send_part(self, url: str, content: Callable[[], Iterable[bytes]], size: int) -> Reply:
        """Send one part of a file to the address the server gave; our token goes to the server itself only."""
        parts = urlsplit(url)
        own = url.startswith(f"{self.url}/")
        if not own and (parts.scheme != "https" or parts.netloc not in self._upload_hosts):
            raise Broken(
                f"{self.host} wants a part of a file at {parts.netloc}, which is not among the upload hosts of this "
                "destination.",
                code="destination-refused",
            )
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        if own:
            headers["Authorization"] = f"Bearer {self._token}"
        return self._once("PUT", url, headers, None, content(), None)

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any,
        content: bytes | Iterable[bytes] | None,
        params: Mapping[str, str | int] | None,
    ) -> Reply:
        self.calls += 1
        try:
            with self._client.stream(
                method, url, headers=dict(headers), json=body, content=content, params=params
            ) as answer:
                headers_read = tuple((name.lower(), value) for name, value in answer.headers.items())
                return Reply(answer.status_code, headers_read, _body(answer))
        except httpx.HTTPError as error:
            raise RdmUnknown(
                f"{self.host} gave no answer to {method} ({type(error).__name__}).", retry_after=SETTLING
            ) from error


def _body(answer: httpx.Response) -> bytes:
    """The body, up to a limit that an answer about one record never reaches."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _LIMIT:
            raise RdmTooMuch("The access system answered with far too much.", answer.status_code)
    return bytes(body)
