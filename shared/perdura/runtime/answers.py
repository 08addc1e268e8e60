"""What a function answers: codes that every broker understands, bodies of at most 512 bytes (serverless.md 3.1)."""

from __future__ import annotations

import importlib
import json
from enum import IntEnum

from werkzeug.wrappers import Request, Response

from perdura.runtime.readiness import readiness

LIVENESS_PATHS = frozenset({"/healthz", "/_/health"})
READINESS_PATHS = frozenset({"/readyz", "/_/ready"})
HEALTH_PATHS = LIVENESS_PATHS | READINESS_PATHS
"""Those of Knative, and those of OpenFaaS."""


class Answer(IntEnum):
    """Outcome of one CloudEvent, in the order in which they prevail in a batch."""

    DONE = 204
    BUSY = 409
    OVERLOADED = 429
    BROKEN = 500
    UNAVAILABLE = 503


def problem(status: int, title: str, detail: str = "") -> Response:
    """A problem document (RFC 9457) that echoes nothing of the request."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail[:300]})
    return Response(body, status, content_type="application/problem+json")


def answer(result: Answer, retry_after: float | None = None) -> Response:
    """An empty answer; one that asks for another try says when."""
    response = Response(status=int(result))
    if result is not Answer.DONE:
        response.headers["Retry-After"] = str(max(1, round(retry_after or 1)))
    return response


def consent(request: Request) -> Response:
    """The answer to a webhook validation request (CloudEvents webhook 4.2)."""
    response = Response(status=200)
    response.headers["Allow"] = "POST, OPTIONS"
    if "WebHook-Request-Origin" in request.headers:
        response.headers["WebHook-Allowed-Origin"] = "*"
        response.headers["WebHook-Allowed-Rate"] = "*"
    return response


def probe(request: Request, *, then_import: str | None = None) -> Response:
    """The answer to a probe; afterwards a module that only real requests need is imported.

    So a cold start does not wait for it, and the first real request rarely does. A process is alive when it answers; it
    is ready when the database has its schema (`readiness`).
    """
    if request.method not in {"GET", "HEAD"}:
        return problem(405, "Method not allowed")
    well = request.path in LIVENESS_PATHS or readiness().ready()
    response = Response("ok\n" if well else "not ready\n", 200 if well else 503, headers={"Cache-Control": "no-store"})
    if then_import is not None:
        response.call_on_close(lambda: importlib.import_module(then_import))
    return response


def without_event(request: Request) -> Response | None:
    """The answer to a request that carries no event (health, HEAD, OPTIONS); None for a POST."""
    if request.method == "OPTIONS":
        return consent(request)
    if request.method == "HEAD":
        return Response(status=200)
    if request.method == "GET":
        return probe(request) if request.path in HEALTH_PATHS else problem(404, "Not found")
    if request.method != "POST":
        response = problem(405, "Method not allowed")
        response.headers["Allow"] = "POST, OPTIONS"
        return response
    return None
