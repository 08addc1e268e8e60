"""What the transfer service does to storages: stat, checksum, third-party copy, Tape REST calls (fts-cta.md 4)."""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from perdura.local.tape import transfer
from perdura.local.tape.transfer import RemoteFailure

ERRNO = {404: 2, 401: 13, 403: 13, 409: 17, 412: 17, 416: 22, 507: 28}
EIO, ECOMM, ENOMSG, EEXIST = 5, 70, 42, 17
BODY_LIMIT = 64 << 20


class StorageError(Exception):
    """A storage did not do what was asked; `errno` as gfal2 would report it."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(message)
        self.errno, self.message = errno, message


@dataclass(frozen=True, slots=True)
class Stat:
    """Size and, when the storage tells it, ADLER32 of a file."""

    size: int
    adler32: str | None


Credentials = Callable[[str], Mapping[str, str]]
"""Headers that open a URL."""


def storage(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    scheme = {"davs": "https", "dav": "http"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


def path(url: str) -> str:
    """Path of a URL with repeated slashes merged, as Tape REST answers are matched."""
    return re.sub("/{2,}", "/", urlsplit(url).path)


class Storages:
    """Every storage reachable over HTTP; the address of each Tape REST API is looked up once."""

    def __init__(self, credentials: Credentials, tls: ssl.SSLContext | None = None) -> None:
        self.credentials, self.tls = credentials, tls
        self._apis: dict[str, str] = {}
        self._lock = threading.Lock()

    def ask(self, method: str, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """One request with what opens the storage; the answer is open. Raises RemoteFailure when there is none."""
        return transfer.request(method, url, {**self.credentials(url), **headers}, tls=self.tls)

    def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str]]:
        try:
            answer = self.ask(method, url, headers or {})
        except RemoteFailure as error:
            raise StorageError(ECOMM, f"Result {error}") from error
        with answer:
            return answer.status, dict(answer.headers.items())

    def macaroon(self, url: str, minutes: int, tls: ssl.SSLContext) -> str | None:
        """A token to read a file, asked for with a client certificate; None when the storage gives none."""
        headers = {"Content-Type": "application/macaroon-request"}
        wanted = {"caveats": ["activity:DOWNLOAD,LIST"], "validity": f"PT{minutes}M"}
        try:
            with transfer.request("POST", url, headers, tls=tls, body=json.dumps(wanted).encode()) as answer:
                given = json.loads(answer.read(BODY_LIMIT)) if answer.status == 200 else {}
        except (RemoteFailure, OSError, ValueError):
            return None
        return given.get("macaroon") if isinstance(given, dict) else None

    def stat(self, url: str, token: str | None = None) -> Stat | None:
        """What a storage says of a file; None when there is none. A presigned GET is asked for its first byte."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        status, headers = self._ask("HEAD", url, {"Want-Digest": "ADLER32", **bearer})
        size = headers.get("Content-Length", "")
        if status in (400, 403, 405) and urlsplit(url).query:
            status, headers = self._ask("GET", url, {"Range": "bytes=0-0", **bearer})
            size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
        if status == 404:
            return None
        if status not in (200, 206) or not size.isdigit():
            raise StorageError(ERRNO.get(status, EIO), f"Result HTTP {status} after 1 attempts")
        match = re.search(r"adler32=([0-9a-f]{1,8})", headers.get("Digest", headers.get("digest", "")), re.IGNORECASE)
        return Stat(int(size), match[1].lower().zfill(8) if match else None)

    def copy(self, destination: str, headers: Mapping[str, str]) -> None:
        """Let the destination pull what `Source` names; raises StorageError."""
        try:
            with transfer.request(
                "COPY", destination, {**self.credentials(destination), **headers}, tls=self.tls
            ) as answer:
                said = answer.read(BODY_LIMIT).decode("utf-8", "replace")
        except (RemoteFailure, OSError) as error:
            raise StorageError(ECOMM, _copy_failed(str(error))) from error
        last = said.rstrip().rpartition("\n")[2]
        if answer.status in (201, 202) and last.startswith("success:"):
            return
        if answer.status not in (201, 202):
            raise StorageError(ERRNO.get(answer.status, EIO), _copy_failed(f"copy HTTP {answer.status}"))
        code = re.search(r"status code (\d{3})", last)
        errno = ERRNO.get(int(code[1]), EIO) if code else EEXIST if "exists" in last else EIO
        raise StorageError(errno, _copy_failed(last.removeprefix("failure:").strip() or "no result"))

    def delete(self, url: str) -> None:
        """Remove a file; nobody minds when that fails."""
        try:
            self._ask("DELETE", url)
        except StorageError:
            return

    def tape(self, base: str, call: str, document: Any = None) -> Any:
        """One call of a storage's Tape REST API; gives back the JSON answer. Raises StorageError."""
        with self._lock:
            api = self._apis.get(base)
        if api is None:
            found = self._json("GET", f"{base}/.well-known/wlcg-tape-rest-api", None)
            api = str(found["endpoints"][0]["uri"])
            with self._lock:
                self._apis[base] = api
        return self._json("GET" if document is None else "POST", f"{api}/{call}", document)

    def _json(self, method: str, url: str, document: Any) -> Any:
        headers = {**self.credentials(url), "Content-Type": "application/json"}
        body = None if document is None else json.dumps(document).encode()
        try:
            with transfer.request(method, url, headers, tls=self.tls, body=body) as answer:
                said = answer.read(BODY_LIMIT)
        except (RemoteFailure, OSError) as error:
            raise StorageError(ECOMM, f"[Tape REST API] {error}") from error
        if answer.status not in (200, 201):
            raise StorageError(ERRNO.get(answer.status, EIO), f"[Tape REST API] HTTP {answer.status}")
        try:
            return json.loads(said) if said else None
        except ValueError as error:
            raise StorageError(EIO, "[Tape REST API] Malformed server response") from error

    def archived(self, urls: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """`archiveinfo` items by URL, for files of one storage."""
        by_path = {path(url): url for url in urls}
        items = self.tape(storage(urls[0]), "archiveinfo", {"paths": list(by_path)})
        return {by_path[item["path"]]: item for item in items if item.get("path") in by_path}


def _copy_failed(text: str) -> str:
    return f"TRANSFER ERROR: Copy failed (3rd pull). Last attempt: {text}"
