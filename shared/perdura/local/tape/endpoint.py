"""The tape endpoint: WebDAV with digests and macaroons in front of the disk buffer (fts-cta.md 7.3, 7.4, 11.2)."""

from __future__ import annotations

import hmac
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from perdura.local.tape import tape_rest
from perdura.local.tape.catalogue import Entry
from perdura.local.tape.faults import Faults
from perdura.local.tape.http import CHUNK, ConnectionLost, Request, Response, as_json
from perdura.local.tape.library import BadSize, BufferFull, Exists, Library, WriteFailure
from perdura.local.tape.transfer import RemoteFailure, content, request

MARKER_SECONDS = 5.0
MACAROON_SECONDS = 12 * 3600
NEEDS = {"GET": "DOWNLOAD", "HEAD": "LIST", "PROPFIND": "LIST", "PUT": "UPLOAD", "MKCOL": "MANAGE",
         "DELETE": "DELETE", "COPY": "UPLOAD"}  # fmt: skip
DURATION = re.compile(r"PT(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})S)?$")


class Endpoint:
    """Answers requests for one library. Each of `tokens` opens everything; a macaroon one path for some time."""

    def __init__(
        self, library: Library, faults: Faults, tokens: Sequence[str], tls: ssl.SSLContext | None = None
    ) -> None:
        self.library, self.faults, self.tokens, self.tls = library, faults, tokens, tls
        self.url = ""
        self._macaroons: dict[str, tuple[str, frozenset[str], float]] = {}
        self._lock = threading.Lock()

    def handle(self, asked: Request) -> Response:
        """Answer one request."""
        line = f"{asked.method} {asked.path}"
        if self.faults.apply("reset-before", line):
            raise ConnectionLost
        if fault := self.faults.apply("hang", line):
            time.sleep(float(fault.get("seconds", 30)))
        if fault := self.faults.apply("http", line):
            return Response(int(fault.get("status", 503)), b"<html>injected</html>", {"Content-Type": "text/html"})
        answer = self._route(asked)
        if self.faults.apply("reset-after", line):
            raise ConnectionLost
        return answer

    def _route(self, asked: Request) -> Response:
        if any(part in (".", "..") for part in asked.path.split("/")) or "\0" in asked.path:
            return Response(400, b"bad path\n")
        if asked.path == "/.well-known/wlcg-tape-rest-api":
            return tape_rest.discovery(self.url)
        if asked.method == "OPTIONS":
            return Response(200, headers={"Allow": "OPTIONS, POST, " + ", ".join(NEEDS), "DAV": "1"})
        if asked.method == "POST" and asked.headers.get("content-type", "") == "application/macaroon-request":
            return self._macaroon(asked)
        if asked.path.startswith("/api/v1/"):
            if not self._known(asked):
                return tape_rest.problem(401, "Unauthorized")
            return tape_rest.handle(self.library, self.url, asked)
        need = NEEDS.get(asked.method)
        if need is None:
            return Response(405, headers={"Allow": ", ".join(NEEDS)})
        if not self._known(asked) and not self._may(asked, need):
            given = "authorization" in asked.headers
            return Response(403 if given else 401, headers={} if given else {"WWW-Authenticate": "Bearer"})
        path = asked.path.rstrip("/") or "/"
        match asked.method:
            case "HEAD":
                return self._head(asked, path)
            case "GET":
                return self._get(asked, path)
            case "PUT":
                return self._put(asked, path)
            case "MKCOL":
                return self._mkcol(path)
            case "DELETE":
                return self._delete(path)
            case "PROPFIND":
                return self._propfind(asked, path)
        return self._copy(asked, path)

    def _known(self, asked: Request) -> bool:
        scheme, _, given = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and any(hmac.compare_digest(given.encode(), t.encode()) for t in self.tokens):
            return True
        return bool(asked.peer.chain) and not given

    def _may(self, asked: Request, need: str) -> bool:
        given = asked.headers.get("authorization", "").partition(" ")[2]
        with self._lock:
            path, activities, until = self._macaroons.get(given, ("", frozenset[str](), 0.0))
        wanted, opened = asked.path.rstrip("/") + "/", path.rstrip("/") + "/"
        # A directory's token opens what lies below. Clients that are about to write look at the directories above,
        # and make them, with the file's token.
        fits = wanted.startswith(opened) or (need in ("LIST", "MANAGE") and opened.startswith(wanted))
        return bool(path) and fits and need in activities and until > time.time()

    def _macaroon(self, asked: Request) -> Response:
        if not self._known(asked):
            return Response(401)
        try:
            wanted = json.loads(asked.content(1 << 16))
            caveat = next(c for c in wanted["caveats"] if c.startswith("activity:"))
            match = DURATION.match(wanted["validity"])
            hours, minutes, seconds = (int(part or 0) for part in match.groups())  # type: ignore[union-attr]
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration):
            return Response(400, b"a macaroon request needs caveats and a validity\n")
        lasts = min(hours * 3600 + minutes * 60 + seconds, MACAROON_SECONDS)
        name = secrets.token_urlsafe(32)
        now = time.time()
        with self._lock:
            self._macaroons = {k: v for k, v in self._macaroons.items() if v[2] > now}
            self._macaroons[name] = (asked.path, frozenset(caveat[9:].split(",")), now + lasts)
        return as_json({"macaroon": name, "expires_in": lasts})

    def _file(self, path: str) -> Entry | None:
        entry = self.library.catalogue.entry(path)
        return None if entry is None or entry.directory else entry

    def _head(self, asked: Request, path: str) -> Response:
        entry = self._file(path)
        if entry is None:
            return Response(404)
        if self.library.locality(path)[0] in ("LOST", "UNAVAILABLE"):
            return Response(503, b"the file is in a pool that is away\n")
        return Response(200, headers={"Content-Length": str(entry.size), **_described(entry, asked)})

    def _get(self, asked: Request, path: str) -> Response:
        entry = self._file(path)
        if entry is None:
            return Response(404)
        if entry.blob is None:
            return Response(500, b"The source file is not ONLINE\n", {"Content-Type": "text/plain"})
        start, end = 0, entry.size
        status, headers = 200, _described(entry, asked)
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))
        if match and any(match.groups()):
            first, last = match.groups()
            start = int(first) if first else max(0, entry.size - int(last))
            end = min(entry.size, int(last) + 1) if first and last else entry.size
            if start >= end:
                return Response(416, headers={"Content-Range": f"bytes */{entry.size}"})
            status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{entry.size}"
        headers["Content-Length"] = str(end - start)
        return Response(status, _slice(self.library.disk / entry.blob, start, end), headers)

    def _put(self, asked: Request, path: str) -> Response:
        length = asked.headers.get("content-length", "")
        try:
            with self.library.writer(path, int(length) if length.isdigit() else None) as writer:
                for data in asked.stream():
                    writer.write(data)
                writer.finish()
        except Exists:
            return Response(409, b"the file is on tape and cannot be replaced\n")
        except (BufferFull, WriteFailure) as error:
            return Response(507, f"{error or 'the disk buffer is full'}\n".encode())
        except BadSize as error:
            return Response(400, f"{error}\n".encode())
        return Response(201)

    def _mkcol(self, path: str) -> Response:
        if self.library.catalogue.entry(path) is not None:
            return Response(405)
        self.library.catalogue.add_directories(path)
        return Response(201)

    def _delete(self, path: str) -> Response:
        entry = self.library.catalogue.entry(path)
        if entry is None:
            return Response(404)
        if entry.directory and self.library.catalogue.children(path):
            return Response(409, b"the directory is not empty\n")
        self.library.delete(path)
        return Response(204)

    def _propfind(self, asked: Request, path: str) -> Response:
        asked.content(1 << 16)
        entry = self.library.catalogue.entry(path)
        if entry is None:
            return Response(404)
        listed = [entry]
        if entry.directory and asked.headers.get("depth", "0") != "0":
            listed += self.library.catalogue.children(path)
        body = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">'
        body += "".join(map(_properties, listed)) + "</D:multistatus>\n"
        return Response(207, body.encode(), {"Content-Type": "text/xml"})

    def _copy(self, asked: Request, path: str) -> Response:
        if asked.headers.get("credential", "none") != "none":
            return Response(400, b"COPY requested an unsupported Credential type\n")
        passed = {
            name[len("transferheader") :]: value
            for name, value in asked.headers.items()
            if name.startswith("transferheader")
        }
        source, target = asked.headers.get("source"), asked.headers.get("destination")
        if bool(source) == bool(target):
            return Response(400, b"COPY needs either Source or Destination\n")
        if target is not None:
            entry = self._file(path)
            if entry is None:
                return Response(404)
            return _markers(_Push(self, entry, target, passed))
        if asked.headers.get("overwrite", "T").upper() == "F" and self._file(path) is not None:
            return Response(412)
        return _markers(_Pull(self, path, str(source), passed))


class _Copy(threading.Thread):
    """One third-party copy: how far it is, and how it ended."""

    def __init__(self, endpoint: Endpoint, url: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.endpoint, self.url, self.headers = endpoint, url, headers
        self.done, self.abandoned, self.failure = 0, False, "aborted"
        self.ended = threading.Event()

    def run(self) -> None:
        """Copy; `failure` is empty when all went well."""
        try:
            self.copy()
            self.failure = ""
        except RemoteFailure as error:
            self.failure = str(error)
        except Exists:
            self.failure = "the destination exists and cannot be replaced"
        except (BufferFull, BadSize, WriteFailure) as error:
            self.failure = str(error) or "the disk buffer is full"
        finally:
            self.ended.set()

    def copy(self) -> None:
        """Move the bytes."""
        raise NotImplementedError

    def counted(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        """The parts, counted; stops when the client is gone."""
        for part in parts:
            if self.abandoned:
                raise RemoteFailure("aborted by the client")
            yield part
            self.done += len(part)


class _Pull(_Copy):
    def __init__(self, endpoint: Endpoint, path: str, url: str, headers: dict[str, str]) -> None:
        super().__init__(endpoint, url, headers)
        self.path = path

    def copy(self) -> None:
        answer = request("GET", self.url, self.headers, tls=self.endpoint.tls)
        if answer.status not in (200, 206):
            answer.close()
            raise RemoteFailure(f"Remote side failed with status code {answer.status}", answer.status)
        with answer, self.endpoint.library.writer(self.path, answer.length) as writer:
            for part in self.counted(content(answer)):
                writer.write(part)
            writer.finish()


class _Push(_Copy):
    def __init__(self, endpoint: Endpoint, entry: Entry, url: str, headers: dict[str, str]) -> None:
        super().__init__(endpoint, url, headers)
        self.entry = entry

    def copy(self) -> None:
        if self.entry.blob is None:
            raise RemoteFailure("The source file is not ONLINE")
        parts = self.counted(_slice(self.endpoint.library.disk / self.entry.blob, 0, self.entry.size))
        headers = {**self.headers, "Content-Length": str(self.entry.size)}
        answer = request("PUT", self.url, headers, tls=self.endpoint.tls, body=parts)
        answer.close()
        if answer.status not in (200, 201, 204):
            raise RemoteFailure(f"Remote side failed with status code {answer.status}", answer.status)


def _markers(copy: _Copy) -> Response:
    """202 and a stream of performance markers that ends with the result."""

    def lines() -> Iterator[bytes]:
        copy.start()
        try:
            while not copy.ended.wait(MARKER_SECONDS):
                yield _marker(copy)
            yield _marker(copy)
            yield (f"failure: {copy.failure}\n" if copy.failure else "success: Created\n").encode()
        finally:
            copy.abandoned = True

    return Response(202, lines(), {"Content-Type": "text/perf-marker-stream"})


def _marker(copy: _Copy) -> bytes:
    return (
        f"Perf Marker\nTimestamp: {int(time.time())}\nStripe Index: 0\nStripe Bytes Transferred: {copy.done}\n"
        f"Total Stripe Count: 1\nEnd\n"
    ).encode()


def _described(entry: Entry, asked: Request) -> dict[str, str]:
    headers = {
        "Last-Modified": formatdate(entry.modified, usegmt=True),
        "ETag": f'"{entry.adler32}-{entry.size}"',
        "Accept-Ranges": "bytes",
    }
    if "adler32" in asked.headers.get("want-digest", "").lower():
        headers["Digest"] = f"adler32={entry.adler32}"
    return headers


def _slice(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as reader:
        reader.seek(start)
        while start < end and (data := reader.read(min(CHUNK, end - start))):
            start += len(data)
            yield data


def _properties(entry: Entry) -> str:
    kind = "<D:resourcetype><D:collection/></D:resourcetype>" if entry.directory else "<D:resourcetype/>"
    return (
        f"<D:response><D:href>{escape(quote(entry.path))}</D:href><D:propstat><D:prop>"
        f"<D:getcontentlength>{entry.size}</D:getcontentlength>"
        f"<D:getlastmodified>{formatdate(entry.modified, usegmt=True)}</D:getlastmodified>{kind}"
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )
