"""The registry as one HTTP function: the API below `/api/`, static files, and pages for everything else."""

from __future__ import annotations

import json
from collections.abc import Callable

from flask import Request, Response

from perdura.api import dispatch, documentation, openapi
from perdura.api.headers import allow_origin, secure
from perdura.api.problems import Problem, method_not_allowed, problem_of, respond_with
from perdura.api.services import Services
from perdura.runtime.environment import environment
from perdura.web import pages, static

_READ = frozenset({"GET", "HEAD"})


def respond(request: Request, services: Services | None = None) -> Response:
    """Answer any request to the registry. Never raises; `services` replaces the process's own, for tests."""
    services = services or environment()
    try:
        response = _route(request)(request, services)
    except Exception as error:
        response = _refuse(request, problem_of(error), services)
    secure(response, services.settings)
    allow_origin(request, response, services.settings)
    if request.method == "HEAD" and not response.direct_passthrough:
        response.response = []
    return response


def _route(request: Request) -> Callable[[Request, Services], Response]:
    path = request.path
    if path == "/api/openapi.json":
        return _openapi
    if path.rstrip("/") == "/api/docs":
        return documentation.page
    if path.startswith("/api/"):
        return dispatch.dispatch
    if path.startswith("/assets/"):
        return static.respond
    return pages.respond


def _refuse(request: Request, problem: Problem, services: Services) -> Response:
    if request.path.startswith(("/api/", "/assets/")):
        return respond_with(problem)
    return pages.refuse(request, problem, services)


def _openapi(request: Request, _services: Services) -> Response:
    _reading(request)
    response = Response(json.dumps(openapi.document(), ensure_ascii=False), mimetype="application/json")
    response.add_etag()
    response.make_conditional(request)
    return response


def _reading(request: Request) -> None:
    if request.method not in _READ:
        raise method_not_allowed(_READ)
