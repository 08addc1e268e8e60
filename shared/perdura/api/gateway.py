"""The AIP gateway: the `davs://` service from which FTS reads AIPs (fts-cta.md 8).

It serves AIPs, and containers of small AIPs, and nothing else of the store, by `GET`, `HEAD` and `PROPFIND`. Whoever
asks shows a token bound to one path, some methods and a time, or the certificate of an allowed robot (or a proxy of
it). Size and ADLER32 come from the registry; the bytes by redirection to the store, or through the gateway where the
store cannot be reached from outside. A container is put together while it is read.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Protocol
from urllib.parse import unquote
from uuid import UUID
from xml.sax.saxutils import escape

from cryptography import x509
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Request, Response

from perdura.api.gateway_suspicion import suspect
from perdura.clients.tape_tokens import mint, read
from perdura.clients.tape_x509 import holder_dn
from perdura.errors import StoreUnavailable
from perdura.packages.tape_container import Member
from perdura.registry import tape_containers
from perdura.settings import Settings
from perdura.storage.digests import adler32
from perdura.storage.store import ObjectRef, Store

log = logging.getLogger(__name__)
READING = ("GET", "HEAD", "PROPFIND")
LONGEST_TOKEN = 12 * 3600
LONGEST_SIGNATURE = 7 * 86400
SLOWEST = 5_000_000
BODY_LIMIT = 1 << 16
HEADER_LIMIT = 64 << 10
PATH = re.compile(r"/(aips|containers)/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\.tar$")
DURATION = re.compile(r"PT(?=\d)(?:(\d{1,6})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?$")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")


@dataclass(frozen=True, slots=True)
class Held:
    """One AIP as the registry knows it: an object of the store. Or a container of AIPs, which is stored nowhere:
    `archive` and `ref` are then None, and `parts` gives its bytes from `start` to `end`.
    """

    package: UUID
    archive: UUID | None
    ref: ObjectRef | None
    size: int
    adler32: str | None
    created_at: datetime
    parts: Callable[[Store, int, int], Iterator[bytes]] | None = None

    def chunks(self, store: Store, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to `end`."""
        if self.parts is not None:
            yield from self.parts(store, start, end)
        elif self.ref is not None:
            for chunk in store.stream(self.ref, start, end - start):
                yield bytes(chunk)


@dataclass(frozen=True, slots=True)
class Access:
    """One answered request, for the audit: who, what, how many bytes were given (or redirected to)."""

    who: str
    method: str
    path: str
    status: int
    bytes: int
    held: Held | None


Find = Callable[[str, UUID], Held | None]
"""Looks up `aips` or `containers` by id."""
Audit = Callable[[Access], None]


class Services(Protocol):
    """What the gateway uses of the process."""

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        ...

    @property
    def store(self) -> Store:
        """The object store."""
        ...


def respond(request: Request, services: Services, find: Find, audit: Audit | None = None) -> Response:
    """Answer one request. What cannot be audited is not given: 503. Error bodies are a few words."""
    path = re.sub("/{2,}", "/", request.path)
    try:
        who, response, held = _answer(request, path, services, find)
        given = 0
        if request.method == "GET" and response.status_code in (200, 206, 307) and held is not None:
            given = int(response.headers.get("Content-Length") or 0) if response.status_code != 307 else held.size
        (audit or note)(Access(who or "nobody", request.method, path, response.status_code, given, held))
    except (SQLAlchemyError, StoreUnavailable) as error:
        log.warning("gateway %s: %s", request.method, type(error).__name__)
        return _refusal(503, {"Retry-After": "10"})
    return response


def note(access: Access) -> None:
    """The audit where nothing better is given: a line of the log."""
    log.info(
        "gateway %s %s %d", access.method, access.path, access.status, extra={"who": access.who, "bytes": access.bytes}
    )


def find_in(engine: Engine) -> Find:
    """Looks AIPs and containers up in the registry."""

    def find(kind: str, identifier: UUID) -> Held | None:
        with engine.connect() as connection:
            return _container(connection, identifier, engine) if kind == "containers" else _aip(connection, identifier)

    return find


_AIP = text("""
    SELECT id, archive_id, bucket, key, version_id, etag, size, checksums, created_at
    FROM package WHERE id = :id AND kind = 'AIP'
""")


def _aip(connection: Connection, package: UUID) -> Held | None:
    row = connection.execute(_AIP, {"id": package}).one_or_none()
    if row is None:
        return None
    ref = ObjectRef(row.bucket, row.key, row.version_id, row.etag)
    return Held(row.id, row.archive_id, ref, row.size, row.checksums.get("adler32"), row.created_at)


def _container(connection: Connection, identifier: UUID, engine: Engine) -> Held | None:
    stored = tape_containers.find(connection, identifier)
    if stored is None:
        return None
    container = stored.container
    if (container.size, container.adler32) != (stored.size, stored.adler32):
        log.error("container %s is no longer what was promised to the tape system", identifier)
        return None

    def parts(store: Store, start: int, end: int) -> Iterator[bytes]:
        for part, first, last in container.ranged(start, end):
            if isinstance(part, bytes):
                yield part[first:last]
            else:
                yield from _member(store, stored.objects[part.package], part, first, last, engine)

    return Held(identifier, None, None, stored.size, stored.adler32, container.created_at, parts)


def _member(store: Store, ref: ObjectRef, member: Member, first: int, last: int, engine: Engine) -> Iterator[bytes]:
    """The bytes of one AIP of a container. One that is damaged breaks the stream off before its last byte is given, and
    is read again by `verify`: FTS only learns that the transfer failed, not by which of the AIPs."""
    value, held = 1, b""
    for chunk in store.stream(ref, first, last - first):
        if held:
            yield held
        held = bytes(chunk)
        value = adler32(held, value)
    if last - first == member.size and f"{value:08x}" != member.adler32:
        log.error("the AIP %s in the store is damaged: ADLER32 %08x, not %s", member.package, value, member.adler32)
        suspect(engine, member.package)
        raise StoreUnavailable("an AIP of the container is damaged")
    yield held


def _answer(request: Request, path: str, services: Services, find: Find) -> tuple[str | None, Response, Held | None]:
    settings = services.settings
    secret = settings.tape_gateway_secret.get_secret_value() if settings.tape_gateway_secret else ""
    if not secret or path.startswith("/.well-known/"):
        return None, _refusal(404), None
    dn = _certificate_dn(request, settings)
    robot = dn if dn is not None and dn in settings.tape_gateway_dns.splitlines() else None
    if request.method == "POST" and request.mimetype == "application/macaroon-request":
        return dn, _token(request, path, secret, dn, robot), None
    if request.method not in READING:
        return dn, _refusal(405, {"Allow": ", ".join(READING)}), None
    token = request.headers.get("Authorization", "")
    if not token and dn is None:
        return None, _refusal(401, {"WWW-Authenticate": "Bearer"}), None
    who = robot if not token else _bearer(token, path, request.method, secret)
    if who is None:
        return dn, _refusal(403), None
    match = PATH.match(path)
    held = find(match[1], UUID(match[2])) if match else None
    if held is None:
        return who, _refusal(404), None
    if request.method == "PROPFIND":
        return who, _properties(path, held), held
    if request.method == "HEAD":
        return who, Response(status=200, headers=_described(request, held) | {"Content-Length": str(held.size)}), held
    return who, _content(request, services, held), held


def _bearer(header: str, path: str, method: str, secret: str) -> str | None:
    """The subject of a token that opens this path for this method, else None."""
    scheme, _, token = header.partition(" ")
    claim = read(secret, token.strip(), time.time()) if scheme.lower() == "bearer" else None
    if claim is None or claim.path != path or method not in claim.methods:
        return None
    return claim.subject


def _token(request: Request, path: str, secret: str, dn: str | None, robot: str | None) -> Response:
    """Answer a macaroon request: a token to read this one path, whatever else was asked for."""
    if dn is None:
        return _refusal(401)
    if robot is None:
        return _refusal(403)
    try:
        wanted = json.loads(request.stream.read(BODY_LIMIT))
        match = DURATION.match(wanted.get("validity", "PT180M"))
        hours, minutes, seconds = (int(part or 0) for part in match.groups())  # type: ignore[union-attr]
        caveats = [str(caveat) for caveat in wanted.get("caveats", [])]
    except (ValueError, TypeError, AttributeError):
        return _refusal(400)
    if caveats and not any("DOWNLOAD" in caveat or "LIST" in caveat for caveat in caveats):
        return _refusal(403)
    lasts = min(hours * 3600 + minutes * 60 + seconds, LONGEST_TOKEN)
    body = {"macaroon": mint(secret, path, READING, int(time.time()) + lasts, robot), "expires_in": lasts}
    return Response(json.dumps(body), status=200, mimetype="application/json")


def _certificate_dn(request: Request, settings: Settings) -> str | None:
    """The holder of the client certificate that the TLS front end verified and forwards in its header."""
    name = settings.tape_gateway_certificate_header
    value = request.headers.get(name, "") if name else ""
    if not value or len(value) > HEADER_LIMIT:
        return None
    match = re.search(r'(?:Chain|Cert)="?([^";,]+)', value)
    pem = unquote(match[1] if match else value)
    try:
        return holder_dn(x509.load_pem_x509_certificates(pem.encode()))
    except (ValueError, IndexError):
        log.warning("the certificate header holds no certificate")
        return None


def _described(request: Request, held: Held) -> dict[str, str]:
    headers = {"Last-Modified": _http_date(held.created_at), "Accept-Ranges": "bytes"}
    if held.adler32 and "adler32" in request.headers.get("Want-Digest", "").lower():
        headers["Digest"] = f"adler32={held.adler32}"
    return headers


def _content(request: Request, services: Services, held: Held) -> Response:
    headers = _described(request, held)
    if held.ref is not None and not services.settings.tape_gateway_proxy:
        seconds = min(LONGEST_SIGNATURE, 3600 + held.size // SLOWEST)
        headers |= {"Location": services.store.presigned_get(held.ref, seconds), "Content-Length": "0"}
        return Response(status=307, headers=headers)
    start, end, status = 0, held.size, 200
    match = RANGE.match(request.headers.get("Range", ""))
    if match and any(match.groups()):
        first, last = match.groups()
        start = int(first) if first else max(0, held.size - int(last))
        end = min(held.size, int(last) + 1) if first and last else held.size
        if start >= end:
            return _refusal(416, {"Content-Range": f"bytes */{held.size}"})
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{held.size}"

    headers["Content-Length"] = str(end - start)
    body = held.chunks(services.store, start, end)
    return Response(body, status=status, headers=headers, mimetype="application/x-tar")


def _properties(path: str, held: Held) -> Response:
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:"><D:response>'
        f"<D:href>{escape(path)}</D:href><D:propstat><D:prop><D:getcontentlength>{held.size}</D:getcontentlength>"
        f"<D:getlastmodified>{_http_date(held.created_at)}</D:getlastmodified><D:resourcetype/>"
        "</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n"
    )
    return Response(body, status=207, mimetype="text/xml")


def _http_date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def _refusal(status: int, headers: dict[str, str] | None = None) -> Response:
    response = Response(status=status, headers=headers)
    response.set_data(f"{response.status}\n")
    return response
