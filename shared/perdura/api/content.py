"""Bytes out of the object store as an HTTP answer: by range, conditional, harmless to the browser that shows them."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from urllib.parse import quote

from flask import Request, Response
from werkzeug.http import parse_date, unquote_etag

from perdura.storage.store import ObjectRef, Store

INERT = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; sandbox"
"""Content-Security-Policy of everything that came from outside: it may be looked at, and run nothing."""

PDF_SHOWN = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; object-src 'self'; frame-ancestors 'self'"
)
"""The same for a PDF: browsers show none in a sandbox, and run nothing of it outside their viewer."""

OCTETS = "application/octet-stream"
VIEWABLE = frozenset(
    {
        "application/json",
        "application/pdf",
        "audio/mpeg",
        "audio/ogg",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
        "video/mp4",
        "video/webm",
    }
)
"""Media types that a browser may show by itself; anything else is offered for saving."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes that does not change: where it lies, what it is called, and the digest that names it."""

    ref: ObjectRef
    offset: int
    size: int
    name: str
    media_type: str | None = None
    sha256: str | None = None
    modified: datetime | None = None


def serve(request: Request, store: Store, extent: Extent, *, view: bool = False) -> Response:
    """The bytes of an extent (RFC 9110 §13 and §14): HEAD, what is asked under a condition, one Range, 416.

    `view` shows types that are harmless in the browser, everything else is sent as an attachment.
    Raises NotStored, ObjectChanged or StoreUnavailable before anything is sent.
    """
    tag = extent.sha256 or extent.ref.etag
    response = Response(status=200)
    _describe(response, extent, tag, view=view)
    if (status := precondition(request, tag, extent.modified)) is not None:
        response.status_code = status
        return response
    span = span_of(request, extent.size, tag, extent.modified)
    if span is None:
        start, stop = 0, extent.size
    elif isinstance(span, tuple):
        start, stop = span
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{extent.size}"
    else:
        response.status_code = 416
        response.headers["Content-Range"] = f"bytes */{extent.size}"
        response.content_length = 0
        return response
    response.content_length = stop - start
    if request.method != "HEAD" and stop > start:
        response.response = _begun(store.stream(extent.ref, extent.offset + start, stop - start))
        response.direct_passthrough = True
    return response


def _describe(response: Response, extent: Extent, tag: str | None, *, view: bool) -> None:
    media_type = (extent.media_type or OCTETS).split(";")[0].strip().lower()
    shown = view and media_type in VIEWABLE
    if shown and media_type.startswith("text/"):
        response.headers["Content-Type"] = "text/plain; charset=utf-8"
    else:
        response.headers["Content-Type"] = media_type if "/" in media_type else OCTETS
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Content-Disposition"] = disposition("inline" if shown else "attachment", extent.name)
    if shown and media_type == "application/pdf":
        response.headers["Content-Security-Policy"] = PDF_SHOWN
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
    else:
        response.headers["Content-Security-Policy"] = INERT
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "private, no-cache"
    if tag is not None:
        response.set_etag(tag)
    if extent.sha256 is not None:
        response.headers["Repr-Digest"] = repr_digest(extent.sha256)
    if extent.modified is not None:
        response.last_modified = extent.modified


def repr_digest(sha256: str) -> str:
    """The Repr-Digest header (RFC 9530) of a SHA-256 in hexadecimal."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition (RFC 6266) for any name: a harmless ASCII form, and the exact one in UTF-8."""
    base = posixpath.basename(name) or "file"
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in base)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(base, safe='')}"


def precondition(request: Request, tag: str | None, modified: datetime | None) -> int | None:
    """The status that a condition of the request comes to, 412 or 304; None when it is to be answered.

    In the order of RFC 9110 §13.2.2. If-Modified-Since is not looked at: a version of an AIP that is chosen again is
    older than the one that it takes the place of.
    """
    until = request.if_unmodified_since
    if "If-Match" in request.headers:
        if not (request.if_match.star_tag or (tag is not None and request.if_match.contains(tag))):
            return 412
    elif modified is not None and until is not None and modified.replace(microsecond=0) > until:
        return 412
    known = request.if_none_match
    return 304 if known.star_tag or (tag is not None and known.contains_weak(tag)) else None


def span_of(request: Request, size: int, tag: str | None, modified: datetime | None) -> tuple[int, int] | bool | None:
    """(start, stop) of the one range asked for of `size` bytes; None for everything; False when it lies outside.

    If-Range holds only for our own strong entity tag, or the exact date of last change (RFC 9110 §13.1.5).
    """
    if (
        request.method != "GET"
        or request.range is None
        or request.range.units != "bytes"
        or len(request.range.ranges) != 1
    ):
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and not _unchanged(condition, tag, modified):
        return None
    (asked,) = request.range.ranges
    if size and asked[0] < -size:
        # The end of what is shorter than that is all of it (RFC 9110 §14.1.2).
        return 0, size
    span = request.range.range_for_length(size)
    return span if span is not None else False


def _unchanged(condition: str, tag: str | None, modified: datetime | None) -> bool:
    value, weak = unquote_etag(condition)
    if value is not None and condition.strip().startswith('"'):
        return not weak and value == tag
    date = parse_date(condition)
    return date is not None and modified is not None and date == modified.replace(microsecond=0)


def _begun(chunks: Iterator[memoryview]) -> Iterable[bytes]:
    """The chunks as bytes, the first already read: what is not there is told before the headers are sent."""
    first = bytes(next(chunks, memoryview(b"")))
    return chain((first,), (bytes(chunk) for chunk in chunks))
