"""Recorded answers of upstreams behind our own client: everything of it but the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from perdura.clients.connections import Exchange
from perdura.clients.http import HttpClient
from perdura.settings import Settings
from perdura.sources.catalogue import Recognised


class Recorded:
    """Answers requests out of a recording; what is not in it is 404. Requests are kept in `asked`."""

    def __init__(self, answers: Iterable[Mapping[str, Any]]) -> None:
        self._answers = {(a.get("method", "GET"), _plain(a["url"])): a for a in answers}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        self.asked.append((method, url))
        self.headers.append({name.lower(): value for name, value in headers.items()})
        answer = self._answers.get((method, _plain(url)))
        if answer is None:
            return exchange(404, b"not recorded")
        return exchange(answer["status"], body_of(answer), answer.get("headers") or {})

    def close(self) -> None:
        return


def exchange(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Exchange:
    """An answer that was not sent by anybody."""
    named = tuple((name.lower(), value) for name, value in (headers or {}).items())
    return Exchange(status, named, iter([body] if body else []), lambda: None)


def _plain(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.replace('//', '/')}"


def body_of(answer: Mapping[str, Any]) -> bytes:
    """The body of a recorded answer, however it was written down."""
    if "body_base64" in answer:
        return base64.b64decode(answer["body_base64"])
    body = answer.get("body", b"")
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def client(record: Recognised, recording: Recorded, settings: Settings, **more: Any) -> HttpClient:
    """A client of this record's source that speaks to a recording."""
    reach = record.profile.reach(record.base_url, settings)
    return HttpClient(reach, user_agent="perdura-tests", network=recording, sleep=lambda _: None, **more)
