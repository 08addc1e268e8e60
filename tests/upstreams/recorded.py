"""Recorded answers of upstreams behind our own client: everything of it but the network."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from perdura.clients.http import HttpClient
from perdura.settings import Settings
from perdura.sources.catalogue import Recognised


class Recorded(httpx.BaseTransport):
    """Answers requests out of a recording; what is not in it is 404. Requests are kept in `asked`."""

    def __init__(self, answers: Iterable[Mapping[str, Any]]) -> None:
        self._answers = {(a.get("method", "GET"), _plain(a["url"])): a for a in answers}
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, str(request.url)))
        self.headers.append(dict(request.headers))
        answer = self._answers.get((request.method, _plain(str(request.url))))
        if answer is None:
            return httpx.Response(404, stream=httpx.ByteStream(b"not recorded"))
        return httpx.Response(
            answer["status"], headers=answer.get("headers") or {}, stream=httpx.ByteStream(_body(answer))
        )


def _plain(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.replace('//', '/')}"


def _body(answer: Mapping[str, Any]) -> bytes:
    if "body_base64" in answer:
        return base64.b64decode(answer["body_base64"])
    body = answer.get("body", b"")
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def client(record: Recognised, recording: Recorded, settings: Settings, **more: Any) -> HttpClient:
    """A client of this record's source that speaks to a recording."""
    reach = record.profile.reach(record.base_url, settings)
    return HttpClient(reach, user_agent="perdura-tests", transport=recording, sleep=lambda _: None, **more)
