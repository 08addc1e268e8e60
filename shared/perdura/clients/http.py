"""The one outgoing HTTP client: guarded destinations, bounded time, size and redirects, nothing secret recorded.

Statuses are decided by number, never by text (harvesting.md 2.1). Only safe methods are tried again here, and only
after failures of the connection or of the server; a server that asks to wait (429, 503 with `Retry-After`) is not
waited for: the work goes back with a delay (harvesting.md 6.4).
"""

from __future__ import annotations

import json
import random
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from perdura import tracing
from perdura.clients.addresses import joined
from perdura.clients.connections import FAILURES, Connections, Exchange, Headers, Network
from perdura.clients.reach import Lookup, Reach, look_up
from perdura.errors import Rejected, UpstreamUnavailable

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed later."""

BUSY_SECONDS = 60.0
"""How long to leave a server alone that says 429 and not for how long."""

_MEANINGS = {
    401: ("upstream-closed", "asks for credentials"),
    403: ("upstream-closed", "refuses access"),
    404: ("upstream-not-found", "has nothing there"),
    410: ("upstream-deleted", "has deleted the record"),
}

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_SECRET_PARAMETER = re.compile(
    r"(?:.*[-_.])?(?:\w*token|\w*key|\w*secret|pass\w*|pwd|signature|sig|credentials?|auth|authorization|\w*session\w*"
    r"|sid|jwt|ticket|samlresponse|assertion)",
    re.IGNORECASE,
)
_PARAMETERS = re.compile(r"(?P<before>[;&?#])(?P<name>[^=;&?#/]+)=(?P<value>[^;&?#/]*)")
_SECRET_HEADERS = frozenset({"set-cookie", "set-cookie2", "cookie", "authorization", "proxy-authorization"})
_SECRET_HEADER = re.compile(r"(?:.*-)?(?:token|secret|session|session-id|password|api-key|apikey)")
_WITH_ADDRESSES = frozenset({"location", "content-location", "link", "refresh"})
_ADDRESS = re.compile(r"[^<>\s\"',]*[?;#@][^<>\s\"',]*")


class UpstreamRefused(Rejected):
    """The upstream answered with a status or body that trying again will not change."""

    code = "upstream-refused"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request: seconds, bytes of a body read whole, redirects, attempts of a safe request."""

    connect_seconds: float = 10
    read_seconds: float = 30
    total_seconds: float = 120
    body_bytes: int = 32 * 2**20
    redirects: int = 5
    attempts: int = 3


class Budget(Protocol):
    """Decides whether a host may be asked now, and learns from its answers."""

    def take(self, host: str) -> None:
        """Take one request and one connection; raises UpstreamUnavailable with `retry_after` when none is left."""
        ...

    def give(self, host: str) -> None:
        """Give the connection back."""
        ...

    def learn(self, host: str, status: int, headers: Headers) -> None:
        """Note the rate headers of an answer."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read whole. `url` is the address that answered, after redirects; header names in lower case."""

    url: str
    status: int
    headers: Headers
    body: bytes
    at: datetime

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return first(self.headers, name)

    def json(self) -> Any:
        """The body as JSON; raises UpstreamRefused when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise UpstreamRefused(
                f"{redacted(self.url)} answered {self.status} with something that is not JSON.",
                code="upstream-not-json",
            ) from error


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is read as it comes. `chunks` may be iterated once and raises UpstreamUnavailable."""

    url: str
    status: int
    headers: Headers
    chunks: Iterator[bytes] = field(repr=False)

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return first(self.headers, name)


def first(headers: Headers, name: str) -> str | None:
    """The first value of a header."""
    for key, value in headers:
        if key == name:
            return value
    return None


def retry_after(headers: Headers, now: datetime | None = None) -> float | None:
    """Seconds to wait by `Retry-After` (RFC 9110 §10.2.3: seconds or a date); None when absent or unreadable."""
    value = (first(headers, "retry-after") or "").strip()
    if value.isdecimal():
        return min(float(value), 86_400.0)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return min(max(0.0, (then - (now or datetime.now(UTC))).total_seconds()), 86_400.0)


def redacted(url: str) -> str:
    """The URL without user information and without the values of parameters that name a secret."""
    if not any(mark in url for mark in "?@;#") and url.isascii() and url.isprintable():
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.rpartition("@")[2].partition("?")[0]
    host = parts.netloc.rpartition("@")[2]
    query = parts.query
    pairs = parse_qsl(query, keep_blank_values=True)
    if any(_is_secret(name) for name, _ in pairs):
        query = urlencode([(name, "REDACTED" if _is_secret(name) else value) for name, value in pairs])
    elif ";" in query:
        query = _without_secrets(query)
    return urlunsplit((parts.scheme, host, _without_secrets(parts.path), query, _without_secrets(parts.fragment)))


def _without_secrets(text: str) -> str:
    """A path or fragment without the values of parameters that name a secret (`;jsessionid=…`, `#access_token=…`)."""

    def told(match: re.Match[str]) -> str:
        value = "REDACTED" if _is_secret(match["name"]) else match["value"]
        return f"{match['before']}{match['name']}={value}"

    return _PARAMETERS.sub(told, f"#{text}")[1:] if "=" in text else text


def _is_secret(name: str) -> bool:
    return _SECRET_PARAMETER.fullmatch(name) is not None


def recorded(headers: Headers) -> Headers:
    """Headers fit to be kept: cookies, tokens and credentials are left out, addresses are redacted."""
    kept = [(name, value) for name, value in headers if name not in _SECRET_HEADERS]
    kept = [(name, value) for name, value in kept if not _SECRET_HEADER.fullmatch(name)]
    return tuple(
        (name, _ADDRESS.sub(lambda found: redacted(found[0]), value) if name in _WITH_ADDRESSES else value)
        for name, value in kept
    )


def status_error(status: int, headers: Headers, url: str) -> Exception:
    """The error that a status means: UpstreamUnavailable for what may pass, UpstreamRefused for what will not."""
    where = redacted(url)
    if status in TRANSIENT:
        wait = retry_after(headers) if status in (429, 503) else None
        if status == 429 and wait is None:
            wait = BUSY_SECONDS
        return UpstreamUnavailable(f"{where} answered {status}.", retry_after=wait)
    code, said = _MEANINGS.get(status, ("upstream-refused", "answered"))
    return UpstreamRefused(f"{where}: the repository {said} ({status}).", code=code)


class HttpClient:
    """HTTP to the hosts of one `Reach`. Safe to use from several threads; close it, or use it as a context.

    `credentials` are headers (`Authorization`, `Cookie`) that go to `credentials_origin` alone: scheme, host and
    port must be the same, so that no redirect and no file on another host ever sees them. `network` replaces the
    connections, for recorded answers.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        user_agent: str,
        limits: Limits | None = None,
        credentials: Mapping[str, str] | None = None,
        credentials_origin: str | None = None,
        budget: Budget | None = None,
        connections: int = 8,
        lookup: Lookup = look_up,
        sleep: Callable[[float], None] = time.sleep,
        network: Network | None = None,
    ) -> None:
        self.reach = reach
        self.limits = limits or Limits()
        self._credentials = dict(credentials or {})
        self._credentials_origin = _origin(credentials_origin) if credentials_origin else None
        self._budget = budget
        self._sleep = sleep
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}
        timeouts = (self.limits.connect_seconds, self.limits.read_seconds)
        self._network = network or Connections(reach, timeouts, kept=connections, lookup=lookup)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._network.close()

    @property
    def authenticated(self) -> bool:
        """Whether credentials are sent to the source."""
        return bool(self._credentials)

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body_bytes: int | None = None,
        follow: bool = True,
    ) -> Answer:
        """Read an answer whole, whatever its status; a safe request, tried again after transient failures.

        Raises UpstreamUnavailable when the last attempt ended in a transient status or without an answer,
        UpstreamRefused when the body exceeds the limit, DestinationRefused. `follow=False` gives a redirect itself.
        """
        return self.read("GET", url, headers=headers, body_bytes=body_bytes, follow=follow)

    def read(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        body_bytes: int | None = None,
        idempotent: bool | None = None,
        follow: bool = True,
    ) -> Answer:
        """Like `get` for any method. Only GET, HEAD and what is called `idempotent` are tried again."""
        repeatable = method in ("GET", "HEAD") if idempotent is None else idempotent
        attempts = self.limits.attempts if repeatable else 1
        for attempt in range(1, attempts + 1):
            try:
                answer = self._read_once(method, url, headers, content, body_bytes or self.limits.body_bytes, follow)
            except UpstreamUnavailable:
                if attempt == attempts:
                    raise
            else:
                if answer.status not in TRANSIENT:
                    return answer
                error = status_error(answer.status, answer.headers, answer.url)
                if attempt == attempts or getattr(error, "retry_after", None) is not None:
                    raise error
            self._sleep(random.uniform(0.5, 1.0) * 0.25 * 2**attempt)  # noqa: S311 - jitter, not a secret
        raise AssertionError("unreachable")

    def _read_once(
        self, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None, limit: int, follow: bool
    ) -> Answer:
        with self.stream(url, method=method, headers=headers, content=content, follow=follow) as stream:
            body = bytearray()
            for chunk in stream.chunks:
                body += chunk
                if len(body) > limit:
                    raise UpstreamRefused(
                        f"{redacted(stream.url)} answered with more than {limit} bytes.", code="upstream-too-large"
                    )
            return Answer(stream.url, stream.status, stream.headers, bytes(body), datetime.now(UTC))

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
        follow: bool = True,
    ) -> Iterator[Stream]:
        """Open an answer and read its body as it comes; one attempt, any status.

        Redirects are followed inside the `Reach`, never from https to http. `decode=False` gives the bytes as they
        were on the wire. Raises UpstreamUnavailable, DestinationRefused, UpstreamRefused.
        """
        until = time.monotonic() + (total_seconds or self.limits.total_seconds)
        exchange, where = self._open(method, url, headers, content, until, self.limits.redirects if follow else 0)
        try:
            chunks = _timed(exchange.chunks, until, where)
            encoding = (first(exchange.headers, "content-encoding") or "identity").strip().lower()
            if decode and encoding != "identity" and method != "HEAD":
                chunks = decoded(chunks, encoding, where)
            yield Stream(where, exchange.status, exchange.headers, chunks)
        finally:
            exchange.close()

    def _open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        until: float,
        redirects: int,
    ) -> tuple[Exchange, str]:
        for _ in range(redirects + 1):
            exchange = self._send(method, url, headers, content)
            location = first(exchange.headers, "location")
            if exchange.status not in REDIRECTS or not location or redirects == 0:
                return exchange, url
            exchange.close()
            target = joined(url, location)
            self.reach.check(target)
            if url.startswith("https:") and not target.startswith("https:"):
                raise UpstreamRefused(f"{redacted(url)} redirects from https to http.", code="upstream-redirect")
            if method not in ("GET", "HEAD"):
                raise UpstreamRefused(f"{redacted(url)} redirects a {method}.", code="upstream-redirect")
            if time.monotonic() > until:
                raise UpstreamUnavailable(f"{redacted(url)} took too long.")
            url = target
        raise UpstreamRefused(f"{redacted(url)} redirects too often.", code="upstream-redirect")

    def _send(self, method: str, url: str, headers: Mapping[str, str] | None, content: bytes | None) -> Exchange:
        self.reach.check(url)
        host = urlsplit(url).hostname or ""
        if self._budget is not None:
            self._budget.take(host)
        sent = {**self._headers, **(headers or {})}
        if self._credentials and _origin(url) == self._credentials_origin:
            sent |= self._credentials
        try:
            with tracing.http(method, url):
                exchange = self._network.send(method, url, sent, content)
            if self._budget is not None:
                exchange = _giving_back(exchange, self._budget, host)
                self._budget.learn(host, exchange.status, exchange.headers)
        except BaseException as error:
            if self._budget is not None:
                self._budget.give(host)
            if isinstance(error, FAILURES):
                raise UpstreamUnavailable(f"{host} could not be reached ({_said(error)}).") from error
            if isinstance(error, UnicodeError):
                raise UpstreamRefused("The address is not a valid URL.", code="destination-refused") from error
            raise
        return exchange


def _giving_back(exchange: Exchange, budget: Budget, host: str) -> Exchange:
    """The exchange, at whose end the connection is given back once."""
    left = [host]

    def close() -> None:
        exchange.close()
        if left:
            budget.give(left.pop())

    return replace(exchange, close=close)


def _said(error: BaseException) -> str:
    """What kind of failure it was, without what a server may have put into its text."""
    return getattr(error, "verify_message", None) or type(error).__name__


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def _timed(chunks: Iterator[bytes], until: float, url: str) -> Iterator[bytes]:
    """The chunks, as long as the time lasts; failures of the connection as UpstreamUnavailable."""
    try:
        for chunk in chunks:
            if time.monotonic() > until:
                raise UpstreamUnavailable(f"{redacted(url)} took too long.")
            yield chunk
    except FAILURES as error:
        raise UpstreamUnavailable(f"{redacted(url)} broke off ({_said(error)}).") from error


def decoded(chunks: Iterator[bytes], encoding: str, url: str) -> Iterator[bytes]:
    """The chunks with their content coding undone (a server may compress although asked not to).

    Several members of gzip make one body (RFC 1952 §2.2). Raises UpstreamRefused for codings other than gzip and
    deflate, for broken data, and for anything behind their end: nothing of a body is dropped without a word.
    """
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamRefused(f"{redacted(url)} uses the content coding {encoding!r}.", code="upstream-encoding")
    # 32: zlib recognises both headers by itself.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        for chunk in chunks:
            left = chunk
            while left:
                if inflater.eof:
                    if encoding == "deflate":
                        raise zlib.error
                    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
                data = inflater.decompress(left, 1 << 20)
                if data:
                    yield data
                left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    except zlib.error as error:
        raise UpstreamRefused(f"{redacted(url)} sent broken {encoding} data.", code="upstream-encoding") from error
    if not inflater.eof:
        raise UpstreamUnavailable(f"{redacted(url)} broke off in the middle of {encoding} data.")
