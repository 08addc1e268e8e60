"""Reading and writing other storages over HTTP: what a third-party copy does at its active end (fts-cta.md 7.4)."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urljoin, urlsplit

REDIRECTS = 5
TIMEOUT = 30.0
CHUNK = 1 << 20


class RemoteFailure(Exception):
    """The other storage did not do what it was asked; `status` is its HTTP status, 0 when there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def redacted(url: str) -> str:
    """The URL without its query: it may be presigned."""
    head, mark, _ = url.partition("?")
    return head + ("?<redacted>" if mark else "")


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    body: bytes | Iterator[bytes] | None = None,
) -> http.client.HTTPResponse:
    """One request to `http(s)://` or `dav(s)://`; redirects are followed, credentials stay with their host.

    The answer is open: read it to its end or close it. Raises RemoteFailure when there is none.
    """
    headers = dict(headers or {})
    for _ in range(REDIRECTS):
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "davs")
        if parts.scheme not in ("http", "https", "dav", "davs") or not parts.hostname:
            raise RemoteFailure(f"Protocol not supported or path/url invalid: {redacted(url)}")
        connection: http.client.HTTPConnection
        if secure:
            connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=TIMEOUT, context=tls)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT)
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body, {"User-Agent": "perdura-tape", "Connection": "close", **headers})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise RemoteFailure(f"{method} failed: {type(error).__name__}: {error}") from error
        if answer.status not in (301, 302, 303, 307, 308) or not answer.headers.get("Location"):
            return answer
        answer.close()
        there = urljoin(url.replace("davs://", "https://", 1), answer.headers["Location"])
        if urlsplit(there).netloc != parts.netloc:
            headers.pop("Authorization", None)
        url = there
    raise RemoteFailure("too many redirects")


def content(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body of an answer in chunks; raises RemoteFailure when it breaks off."""
    expected = answer.length
    done = 0
    try:
        while data := answer.read(CHUNK):
            done += len(data)
            yield data
    except (OSError, http.client.HTTPException) as error:
        raise RemoteFailure(f"the connection broke after {done} bytes") from error
    if expected is not None and done != expected:
        raise RemoteFailure(f"the connection broke after {done} of {expected} bytes")
