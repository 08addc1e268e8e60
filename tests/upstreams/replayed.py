"""Every recorded source on one loopback server: the first part of a path names the host that is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from perdura.clients.connections import Connections, Exchange
from perdura.clients.reach import Reach
from tests.upstreams.recorded import body_of
from tests.upstreams.server import Reply, Upstream

_DETAIL = re.compile(r"detail=\w+")


class Replayed:
    """Serves recorded answers on `upstream`, and is the network that leads there whatever host is asked."""

    def __init__(self, upstream: Upstream, answers: Iterable[Mapping[str, Any]]) -> None:
        self._answers = {_place(answer["url"]): answer for answer in answers if answer.get("method", "GET") == "GET"}
        self._base = upstream.base
        reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
        self._connections = Connections(reach, (5, 10))
        upstream.fallback = self._answer

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        """Send a request to the server that stands for all hosts."""
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return self._connections.send(method, f"{self._base}/{parts.netloc}{parts.path}{query}", headers, content)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _answer(self, path: str) -> Reply | None:
        found = self._answers.get(_place(f"https:/{path}"))
        if found is None:
            return None
        return Reply(body_of(found), found["status"], dict(found.get("headers") or {}))


def _place(url: str) -> str:
    """Host, path and query in one spelling; levels of detail of Indico are one recording."""
    _, _, rest = url.partition("://")
    return _DETAIL.sub("detail=", rest.replace("//", "/"))
