"""The landing page as a WARC file (WARC 1.1, ISO 28500:2017): what a reader of the record saw, request and answer."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from perdura import __version__
from perdura.clients.http import Answer, HttpClient, recorded, redacted

PAGE_BYTES = 16 * 2**20
"""Largest landing page in bytes."""

_NAMESPACE = UUID("3c1b6a52-2a5e-5b0e-9d5b-0f6f8a2a7c11")
_HOP = frozenset({"transfer-encoding", "content-encoding", "content-length", "connection", "keep-alive"})


def landing_page(client: HttpClient, url: str) -> tuple[Answer, bytes]:
    """Read a page and give it as a WARC file; raises UpstreamUnavailable, UpstreamRefused, DestinationRefused."""
    answer = client.get(url, headers={"Accept": "text/html, */*;q=0.5"}, body_bytes=PAGE_BYTES)
    return answer, warc(answer)


def warc(answer: Answer) -> bytes:
    """A WARC file of three records: warcinfo, request and response.

    The page stands as it was decoded, so headers of its transport are left out and its length is put in; secrets are
    left out as everywhere.
    """
    url = redacted(answer.url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/html, */*;q=0.5\r\n\r\n".encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in recorded(answer.headers) if name not in _HOP)
    reason = HTTPStatus(answer.status).phrase if answer.status in HTTPStatus._value2member_map_ else ""
    head = f"HTTP/1.1 {answer.status} {reason}\r\n{headers}Content-Length: {len(answer.body)}\r\n\r\n"
    response = head.encode() + answer.body
    information = f"software: perdura/{__version__}\r\nformat: WARC File Format 1.1\r\n".encode()
    at, seed = answer.at, f"{url} {answer.at.isoformat()}"
    answered = _identity(seed, "response")
    return b"".join(
        (
            _record("warcinfo", _identity(seed, "warcinfo"), at, "application/warc-fields", information),
            _record(
                "response", answered, at, "application/http; msgtype=response", response, url=url, payload=answer.body
            ),
            _record(
                "request",
                _identity(seed, "request"),
                at,
                "application/http; msgtype=request",
                request,
                url=url,
                concurrent=answered,
            ),
        )
    )


def _identity(seed: str, kind: str) -> str:
    return f"<urn:uuid:{uuid5(_NAMESPACE, f'{kind} {seed}')}>"


def _record(
    kind: str,
    identity: str,
    at: datetime,
    content_type: str,
    block: bytes,
    *,
    url: str | None = None,
    payload: bytes | None = None,
    concurrent: str | None = None,
) -> bytes:
    fields = [
        ("WARC-Type", kind),
        ("WARC-Record-ID", identity),
        ("WARC-Date", at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
        ("WARC-Target-URI", url),
        ("WARC-Concurrent-To", concurrent),
        ("WARC-Block-Digest", _digest(block)),
        ("WARC-Payload-Digest", None if payload is None else _digest(payload)),
        ("Content-Type", content_type),
        ("Content-Length", str(len(block))),
    ]
    head = "WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields if value) + "\r\n"
    return head.encode() + block + b"\r\n\r\n"


def _digest(data: bytes) -> str:
    return "sha256:" + base64.b32encode(hashlib.sha256(data).digest()).decode()
