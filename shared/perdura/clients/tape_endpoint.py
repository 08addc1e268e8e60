"""A tape endpoint: HTTP reads with ranges and digests, and the WLCG Tape REST API v1 (fts-cta.md 7)."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from perdura import __version__
from perdura.clients import bounded
from perdura.clients.together import told_together
from perdura.errors import Broken, NotStored, PerduraError, UpstreamUnavailable
from perdura.ports import Deadline
from perdura.recordable import recordable

BULK = 200
CHUNK = 1 << 20
REQUEST_ID = re.compile(r"[A-Za-z0-9._~:-]{1,200}")
"""Ids of stage requests that may stand in a path."""
CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)
UNSATISFIED_RANGE = re.compile(r"bytes \*/(\d{1,19})", re.ASCII)
DIGEST = re.compile(r"adler32=([0-9a-fA-F]{1,8})", re.IGNORECASE)


class TapeUnavailable(UpstreamUnavailable):
    """The tape endpoint did not answer or failed with a 5xx."""

    code = "tape-unavailable"


class TapeGarbled(TapeUnavailable):
    """The tape endpoint failed with a 500, or answered with something cut off or not asked for."""


class TapeRefused(Broken):
    """The tape endpoint refuses what it was asked."""

    code = "tape-refused"


@dataclass(frozen=True, slots=True)
class Locality:
    """What archiveinfo says of a path: a locality of the standard, an error, or both."""

    locality: str | None
    error: str | None
    said: str | None = None
    """Why nothing is told of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Size and ADLER32 as the endpoint tells them."""

    size: int
    adler32: str | None


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One file of a stage request: on disk, failed with `error`, or still to come."""

    on_disk: bool
    error: str | None


class TapeEndpoint:
    """One endpoint. Paths are absolute and unquoted. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], str] | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/").replace("davs://", "https://", 1)
        self._token = token
        self._lock = threading.Lock()
        self._api: str | None = None
        self._client = httpx.Client(
            headers={"User-Agent": f"perdura/{__version__}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            verify=tls or True,
            trust_env=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _headers(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        bearer = {"Authorization": f"Bearer {self._token()}"} if self._token else {}
        return {**bearer, **(more or {})}

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        try:
            answer = bounded.ask(self._client, method, url, headers=self._headers(headers), **more)
        except httpx.HTTPError as error:
            raise TapeUnavailable(f"the tape endpoint did not answer {method}: {type(error).__name__}") from error
        if answer.status_code >= 500:
            failed = TapeGarbled if answer.status_code == 500 else TapeUnavailable
            raise failed(f"the tape endpoint answered {answer.status_code}")
        return answer

    def _file(self, path: str) -> str:
        return self.url + quote(path)

    def stat(self, path: str) -> Stored | None:
        """Size and ADLER32 of a file, on tape or on disk; None when there is none."""
        answer = self._ask("HEAD", self._file(path), {"Want-Digest": "adler32"})
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            raise TapeRefused(f"the tape endpoint answered {answer.status_code} to HEAD {path}")
        match = DIGEST.search(answer.headers.get("Digest", ""))
        size = answer.headers.get("Content-Length", "")
        if not size.isdigit():
            raise TapeUnavailable(f"the tape endpoint gives no size of {path}")
        return Stored(int(size), match[1].lower().zfill(8) if match else None)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Bytes of a file that is on disk; fewer than asked for only where the file ends before.

        Raises NotStored; TapeUnavailable also when the file is only on tape, or other bytes than those come.
        """
        end = "" if length is None else str(offset + length - 1)
        whole = offset == 0 and length is None
        headers = self._headers(None if whole else {"Range": f"bytes={offset}-{end}"})
        done = 0
        try:
            with self._client.stream("GET", self._file(path), headers=headers) as answer:
                if answer.status_code == 404:
                    raise NotStored(f"the tape endpoint has no {path}")
                if answer.status_code == 416 and _ends_before(answer, offset):
                    return
                if answer.status_code != (200 if whole else 206):
                    raise TapeUnavailable(f"the tape endpoint answered {answer.status_code} to GET {path}")
                bounded.refuse_coded(answer.headers)
                told = answer.headers.get("Content-Length", "")
                promised = (int(told) if told.isdigit() else None) if whole else _range_size(answer, offset, length)
                for data in answer.iter_raw(CHUNK):
                    done += len(data)
                    if promised is not None and done > promised:
                        raise TapeGarbled(f"the tape endpoint gave more than the {promised} bytes it promised")
                    yield data
        except httpx.HTTPError as error:
            raise TapeUnavailable(f"reading from tape broke off after {done} bytes: {type(error).__name__}") from error
        if promised not in (None, done):
            raise TapeUnavailable(f"reading from tape broke off after {done} of {promised} bytes")

    def api(self) -> str:
        """Address of the Tape REST API, discovered once; raises TapeRefused when there is none of version 1."""
        with self._lock:
            if self._api is None:
                answer = self._ask("GET", f"{self.url}/.well-known/wlcg-tape-rest-api")
                found = _document(answer)
                with _understood("discovery"):
                    uris = [e["uri"] for e in found.get("endpoints", ()) if str(e.get("version", "")).lower() == "v1"]
                # A token that travels encrypted is not sent anywhere in the clear.
                uris = [uri for uri in uris if str(uri).startswith(("https://", self.url.partition("//")[0] + "//"))]
                if answer.status_code != 200 or not uris:
                    raise TapeRefused(f"no WLCG Tape REST API v1 at {self.url} (status {answer.status_code})")
                self._api = str(uris[0]).rstrip("/")
            return self._api

    def _call(self, method: str, call: str, document: Mapping[str, Any] | None = None) -> Any:
        answer = self._ask(method, f"{self.api()}/{call}", json=document)
        if answer.status_code == 404:
            raise NotStored(f"the tape endpoint knows no {call}")
        if answer.status_code not in (200, 201):
            with _understood(call):
                problem = _document(answer)
                title, detail = problem.get("title"), problem.get("detail", "")
            raise TapeRefused(f"{call}: {answer.status_code} {title}: {detail}"[:400])
        return _document(answer) if answer.content else None

    def localities(self, paths: Sequence[str], deadline: Deadline | None = None) -> dict[str, Locality]:
        """Where files are. One of which nothing is told, or which spoils the answer, is told `UNAVAILABLE`."""
        found: dict[str, Locality] = {}
        for start in range(0, len(paths), BULK):
            found |= told_together(paths[start : start + BULK], self._archiveinfo, _untold, _spoilt, deadline)
        return found

    def _archiveinfo(self, paths: Sequence[str]) -> dict[str, Locality]:
        found: dict[str, Locality] = {}
        answer = self._call("POST", "archiveinfo", {"paths": list(paths)})
        for item in answer if isinstance(answer, list) else ():
            if isinstance(item, Mapping) and isinstance(path := item.get("path"), str):
                found[path] = Locality(_text(item.get("locality")), _text(item.get("error")))
        if not found:
            raise TapeGarbled("the tape endpoint answered archiveinfo with something else")
        return found

    def stage(self, paths: Sequence[str], lifetime: int) -> str:
        """Ask for files on disk for `lifetime` seconds; gives back the id of the request."""
        files = [{"path": path, "diskLifetime": f"PT{lifetime}S"} for path in paths]
        answer = self._call("POST", "stage", {"files": files})
        with _understood("stage"):
            request = str(answer["requestId"] or "")
        if not REQUEST_ID.fullmatch(request):
            raise TapeUnavailable("the tape endpoint gave a stage request no usable id")
        return request

    def staged(self, request: str) -> dict[str, StageProgress]:
        """How far a stage request is, by path; raises NotStored when the endpoint has forgotten it."""
        answer = self._call("GET", f"stage/{request}")
        with _understood("stage"):
            return {
                str(item["path"]): StageProgress(
                    bool(item.get("onDisk")) or item.get("state") == "COMPLETED",
                    item.get("error") or (item["state"] if item.get("state") in ("FAILED", "CANCELLED") else None),
                )
                for item in answer["files"]
            }

    def unstage(self, request: str, paths: Sequence[str]) -> None:
        """Cancel files of a stage request; what is on disk stays there until released.

        Raises NotStored for a request that the endpoint has forgotten.
        """
        self._call("POST", f"stage/{request}/cancel", {"paths": list(paths)})

    def release(self, request: str, paths: Sequence[str]) -> None:
        """Let the endpoint evict staged files."""
        self._call("POST", f"release/{request}", {"paths": list(paths)})


def _range_size(answer: httpx.Response, offset: int, length: int | None) -> int:
    """Bytes of an answer to a ranged GET; raises TapeGarbled where they are not those asked for (RFC 9110, 14.4)."""
    told = answer.headers.get("Content-Range", "")
    match = CONTENT_RANGE.fullmatch(told)
    if match is not None:
        first, last = int(match[1]), int(match[2])
        at_end = match[3] != "*" and last + 1 == int(match[3])
        fits = length is None or last - first + 1 == length or (at_end and last - first + 1 < length)
        if first == offset <= last and fits and (at_end or length is not None):
            return last - first + 1
    raise TapeGarbled(f"the tape endpoint gave bytes that were not asked for: {told[:80] or 'it does not say which'}")


def _ends_before(answer: httpx.Response, offset: int) -> bool:
    """Whether a range cannot be given because the file has no bytes there."""
    match = UNSATISFIED_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    return match is not None and int(match[1]) <= offset


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _untold(_: str, why: str) -> Locality:
    return Locality("UNAVAILABLE", None, why)


def _spoilt(error: PerduraError) -> bool:
    return isinstance(error, (TapeGarbled, TapeRefused))


def _understood(call: str) -> AbstractContextManager[None]:
    """Turn what goes wrong while an answer is taken apart into TapeGarbled."""
    return bounded.understood(TapeGarbled(f"the tape endpoint answered {call} with something else"))


def _document(answer: httpx.Response) -> Any:
    """Its JSON, recordable as it is."""
    try:
        return recordable(answer.json())
    except ValueError as error:
        raise TapeGarbled(f"the tape endpoint answered {answer.status_code} with something not JSON") from error
