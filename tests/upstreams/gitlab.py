"""A GitLab with one project, whose export it makes when asked and puts where it is told (harvesting.md 1.2)."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.upstreams.server import Reply, Upstream

JSON = {"Content-Type": "application/json"}
PROJECT = "/api/v4/projects/105"


def put(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Upload as GitLab's WebUploadStrategy does; the status that came back."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=20)
    try:
        connection.request("PUT", f"{parts.path}?{parts.query}", body, dict(headers))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _blob(data: bytes) -> str:
    """The name Git gives to a file's content."""
    return hashlib.sha1(b"blob %d\x00" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class GitLab:
    """Answers requests for the project. An export takes `polls` looks at its status to be made.

    `upload` sends it where it was asked to go; `files` are the project's; `seen_bodies` what it was sent.
    """

    upstream: Upstream
    files: Mapping[str, bytes]
    export: bytes
    upload: Callable[[str, Mapping[str, str], bytes], int] = put
    polls: int = 2
    asked: list[Mapping[str, str]] = field(default_factory=list)
    uploaded: list[int] = field(default_factory=list)
    status: str = "none"
    _left: int = 0

    def __post_init__(self) -> None:
        self.upstream.fallback = self.answer
        self.upstream.posted = self.posted

    def answer(self, path: str) -> Reply | None:
        """Answer a GET."""
        plain = urlsplit(path).path
        if plain == PROJECT:
            project = {
                "path": "proj",
                "name_with_namespace": "g / proj",
                "default_branch": "main",
                "visibility": "private",
                "last_activity_at": "2026-01-01T00:00:00Z",
                "runners_token": "glrt-secret-of-the-runners",
            }
            return Reply(json.dumps(project).encode(), headers=JSON)
        if plain == f"{PROJECT}/repository/tree":
            entries = [
                {"id": _blob(data), "name": name, "type": "blob", "path": name} for name, data in self.files.items()
            ]
            headers = {**JSON, "X-Total": str(len(entries)), "X-Next-Page": ""}
            return Reply(json.dumps(entries).encode(), headers=headers)
        if plain == f"{PROJECT}/export":
            return Reply(json.dumps({"export_status": self._made()}).encode(), headers=JSON)
        if plain == f"{PROJECT}/export/download" and self.status == "finished":
            return Reply(self.export, headers={"Content-Type": "application/gzip"})
        for name, data in self.files.items():
            if plain == f"{PROJECT}/repository/files/{name}/raw":
                return Reply(data, headers={"Content-Type": "application/octet-stream"})
        return None

    def posted(self, path: str, body: bytes) -> Reply | None:
        """Answer a POST: an export is begun."""
        if path != f"{PROJECT}/export":
            return None
        self.asked.append({name: values[0] for name, values in parse_qs(body.decode()).items()})
        self.status, self._left = "started", self.polls
        return Reply(b'{"message": "202 Accepted"}', 202, JSON)

    def _made(self) -> str:
        if self.status == "started":
            self._left -= 1
            if self._left <= 0:
                self._finish()
        return self.status

    def _finish(self) -> None:
        """Keep the export for a download, or upload it: then the file is removed where that went well."""
        url = self.asked[-1].get("upload[url]")
        self.status = "finished"
        if url is not None:
            self.uploaded.append(self.upload(url, {"Content-Type": "application/gzip"}, self.export))
            if self.uploaded[-1] < 300:
                self.status = "none"
