"""One POST to a receiver of notifications: what its answer means, the same for all kinds of them.

Redirects that keep the method (307, 308) are followed inside the same origin and with the same body, once; everything
else that redirects is refused, so that no token goes elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx

from perdura import __version__
from perdura.clients.http import TRANSIENT, redacted, retry_after
from perdura.errors import Broken, Rejected, UpstreamUnavailable

SHOWN = 500
_KEEP_METHOD = frozenset({307, 308})


class ReceiverRefused(Rejected):
    """The receiver will not take this notification, however often it is sent."""

    code = "receiver-refused"


class ReceiverForbids(Broken):
    """The receiver does not know us, or our token lacks a right."""

    code = "receiver-forbids"


class ReceiverUnavailable(UpstreamUnavailable):
    """The receiver did not answer, or asks to come back later."""

    code = "receiver-unavailable"


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a receiver took a notification. `repeated` says that it had it already."""

    status: int
    said: str
    location: str | None = None
    repeated: bool = False


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    repeated: frozenset[int] = frozenset(),
    transport: httpx.BaseTransport | None = None,
) -> Receipt:
    """Send a notification; statuses in `repeated` mean that it was received before.

    Raises ReceiverRefused, ReceiverForbids or ReceiverUnavailable.
    """
    timeout = httpx.Timeout(30.0, connect=10.0)
    sent = {"User-Agent": f"perdura/{__version__}", **headers}
    with httpx.Client(timeout=timeout, trust_env=False, transport=transport) as client:
        answer = _send(client, url, body, sent)
        if answer.status_code in _KEEP_METHOD:
            target = urljoin(url, answer.headers.get("Location", ""))
            if urlsplit(target)[:2] != urlsplit(url)[:2]:
                raise ReceiverRefused(f"{redacted(url)} redirects to another host.")
            answer = _send(client, target, body, sent)
    return _judged(answer, url, repeated)


def _send(client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
    try:
        return client.post(url, content=body, headers=dict(headers))
    except httpx.HTTPError as error:
        raise ReceiverUnavailable(f"{redacted(url)} gave no answer ({type(error).__name__}).") from error


def _judged(answer: httpx.Response, url: str, repeated: frozenset[int]) -> Receipt:
    status, said = answer.status_code, " ".join(answer.text[:SHOWN].split())
    words = f"{redacted(url)} answered {status}: {said}"
    if 200 <= status < 300 or status in repeated:
        return Receipt(status, said, answer.headers.get("Location"), repeated=status in repeated)
    if status in (401, 403):
        raise ReceiverForbids(words)
    if status in TRANSIENT:
        headers = tuple((name.lower(), value) for name, value in answer.headers.items())
        raise ReceiverUnavailable(words, retry_after=retry_after(headers) if status in (429, 503) else None)
    raise ReceiverRefused(words)
