"""The demo repository over HTTP: InvenioRDM's routes for records and files, landing pages with Signposting."""

from __future__ import annotations

import html
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from perdura.local.upstream.records import (
    Record,
    StoredFile,
    files_json,
    link_header,
    linkset_json,
    record_json,
    records,
    versions_of,
)

_RECORD = re.compile(r"/api/records/(?P<id>[a-z0-9-]+)(?P<rest>/.*)?")
_LANDING = re.compile(r"/records/(?P<id>[a-z0-9-]+)(?:/files/(?P<key>.+))?")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>{body}</body></html>
"""


class RepositoryHandler(BaseHTTPRequestHandler):
    """Answers as InvenioRDM does: MD5 as ETag, `Range` ignored, errors as JSON (harvesting.md 1.1)."""

    protocol_version = "HTTP/1.1"
    server_version = "PerduraDemoRepository"
    sys_version = ""
    # Head and body are two writes: without this each answer waits for the client's delayed acknowledgement.
    disable_nagle_algorithm = True

    @property
    def base(self) -> str:
        """Scheme and authority under which the client reached us: links in answers start with it."""
        host = self.headers.get("Host", "")
        if not _HOST.fullmatch(host):
            host = f"127.0.0.1:{self.connection.getsockname()[1]}"
        return f"http://{host}"

    def do_GET(self) -> None:
        """Answer a read."""
        parts = urlsplit(self.path)
        path = parts.path
        if path in ("/", "/health"):
            return self._home()
        if path == "/api/records":
            return self._search(parse_qs(parts.query))
        if match := _RECORD.fullmatch(unquote(path)):
            return self._api(match["id"], match["rest"] or "")
        if match := _LANDING.fullmatch(unquote(path)):
            return self._landing(match["id"], match["key"])
        return self._error(404, "The requested URL was not found on the server.")

    do_HEAD = do_GET

    def _api(self, record_id: str, rest: str) -> None:
        record = records().get(record_id)
        if record is None:
            versions = versions_of(record_id)
            if versions and not rest:
                return self._redirect(302, f"/api/records/{versions[-1].id}")
            return self._error(404, "The persistent identifier does not exist.")
        if rest == "":
            if self.headers.get("Accept", "").startswith("application/linkset+json"):
                return self._json(linkset_json(record, self.base), kind="application/linkset+json")
            link = f'<{self.base}/api/records/{record.id}> ; rel="linkset" ; type="application/linkset+json"'
            return self._json(record_json(record, self.base), headers={"ETag": f'"{record.revision}"', "Link": link})
        if rest == "/files":
            return self._json(files_json(record, self.base))
        if rest == "/versions/latest":
            return self._redirect(301, f"/api/records/{versions_of(record.parent)[-1].id}")
        if rest == "/versions":
            hits = [record_json(version, self.base) for version in reversed(versions_of(record.parent))]
            return self._json({"hits": {"hits": hits, "total": len(hits)}})
        if rest.startswith("/files/") and rest.endswith("/content"):
            return self._content(record, rest.removeprefix("/files/").removesuffix("/content"))
        return self._error(404, "The requested URL was not found on the server.")

    def _landing(self, record_id: str, key: str | None) -> None:
        record = records().get(record_id)
        if record is None:
            versions = versions_of(record_id)
            if versions and key is None:
                return self._redirect(302, f"/records/{versions[-1].id}")
            return self._error(404, "The page you are looking for does not exist.")
        if key is not None:
            return self._content(record, key)
        title = html.escape(str(record.metadata["title"]))
        items = "".join(
            f'<li><a href="/records/{record.id}/files/{html.escape(file.key)}">{html.escape(file.key)}</a></li>'
            for file in record.files.values()
        )
        page = PAGE.format(title=title, body=f"{record.metadata['description']}<ul>{items}</ul>")
        return self._send(
            200, page.encode(), {"Content-Type": "text/html; charset=utf-8", "Link": link_header(record, self.base)}
        )

    def _home(self) -> None:
        items = "".join(
            f'<li><a href="/records/{r.id}">{html.escape(str(r.metadata["title"]))}</a> (version {r.index})</li>'
            for r in records().values()
        )
        page = PAGE.format(title="Demo repository", body=f"<ul>{items}</ul>")
        self._send(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def _search(self, query: dict[str, list[str]]) -> None:
        words = query.get("q", [""])[0].lower().split()
        all_versions = query.get("allversions", ["false"])[0] == "true"
        page, size = _number(query, "page", 1), _number(query, "size", 10)
        if page * size > 10_000:
            return self._error(400, "Maximum number of results have been reached.")
        found = [
            record
            for record in records().values()
            if (record.latest or all_versions) and all(word in str(record.metadata).lower() for word in words)
        ]
        found.sort(key=lambda record: record.updated)
        hits = [record_json(record, self.base) for record in found[(page - 1) * size : page * size]]
        return self._json({"hits": {"hits": hits, "total": len(found)}, "links": {}, "sortBy": "updated-asc"})

    def _content(self, record: Record, key: str) -> None:
        file: StoredFile | None = record.files.get(key)
        if file is None:
            return self._error(404, f'Record "{record.id}" has no file "{key}".')
        tag = f'"md5:{file.md5}"'
        if self.headers.get("If-None-Match") == tag:
            return self._send(304, b"", {"ETag": tag})
        return self._send(
            200,
            file.data,
            {
                "Content-Type": file.mimetype,
                "ETag": tag,
                "Content-MD5": file.md5,
                "Content-Disposition": "inline",
                "X-Content-Type-Options": "nosniff",
            },
        )

    def _redirect(self, status: int, location: str) -> None:
        self._send(status, b"", {"Location": location})

    def _error(self, status: int, message: str) -> None:
        self._json({"status": status, "message": message[:300]}, status=status)

    def _json(
        self,
        value: Any,
        *,
        status: int = 200,
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": kind, **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the launcher's log is for what goes wrong."""


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    value = query.get(name, [""])[0]
    return max(1, int(value)) if value.isdecimal() and len(value) < 6 else default


class RepositoryServer(ThreadingHTTPServer):
    """The demo repository, listening on the loopback interface only."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), RepositoryHandler)
