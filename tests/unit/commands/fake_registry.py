"""A registry and an object store in one small server: answers what a test put in, remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeRegistry:
    """Answers `method path` with a queued answer (status, document or bytes); the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                registry.requests.append((self.command, self.path, dict(self.headers), body))
                queue = registry.answers.get(f"{self.command} {path}", [(404, {"title": "Not Found"})])
                status, document = queue.pop(0) if len(queue) > 1 else queue[0]
                content = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, request: str, *answers: tuple[int, Any]) -> None:
        """Queue answers for `METHOD /path`; a path without `/api/v1` is of the object store."""
        self.answers[request] = list(answers)

    def sent(self, method: str, path: str) -> list[bytes]:
        """Bodies that were sent there."""
        return [body for verb, where, _, body in self.requests if (verb, where.partition("?")[0]) == (method, path)]

    @contextmanager
    def running(self) -> Iterator[FakeRegistry]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def archive(state: str, **more: Any) -> dict[str, Any]:
    """An Archive as the API shows it."""
    pipeline = [{"name": name, "state": None, "attempt": None} for name in ("ingest", "preserve")]
    shown = {"id": "a1", "title": "T", "state": state, "packages": [], "copies": [], "publication": None}
    return {**shown, "pipeline": pipeline, **more}


def step(name: str, state: str, **more: Any) -> dict[str, Any]:
    """A step as the API shows it."""
    moment = "2026-11-24T10:00:00Z"
    shown = {"id": f"{name}-1", "name": name, "state": state, "attempt": 1, "started": moment, "finished": None}
    return {**shown, "error": None, "findings": [], "progress": None, **more}
